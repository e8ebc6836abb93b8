public import LanternTracing
import Tracing

/// Finished spans of a region of code, or of several services, as the trees that they are.
///
/// ```swift
/// let spans = await CollectedSpans.during { await placeOrder() }
/// try spans.expectTrace {
///     server("POST /v1/orders") {
///         client("INSERT …")
///         producer("create order.events.v1") { consumer("process order.events.v1") }
///     }
///     client("send order.events.v1").linked(to: "create order.events.v1")
/// }
/// ```
public struct CollectedSpans: Sendable {
    public let spans: [FinishedSpan]
    private let children: [SpanID: [FinishedSpan]]
    /// Spans whose parent is not among them, in the order in which they began.
    private let roots: [FinishedSpan]
    private let names: [SpanID: String]

    public init(_ spans: [FinishedSpan]) {
        self.init(spans, names: [:])
    }

    /// - Parameter names: Of other spans, which links may name.
    private init(_ spans: [FinishedSpan], names: [SpanID: String]) {
        self.spans = spans
        let ids = Set(spans.map(\.context.spanID))
        let sorted = spans.sorted { ($0.start, $0.end) < ($1.start, $1.end) }
        self.roots = sorted.filter { $0.parent.map { !ids.contains($0.spanID) } ?? true }
        self.children = Dictionary(
            grouping: sorted.filter { $0.parent.map { ids.contains($0.spanID) } ?? false },
            by: { $0.parent?.spanID ?? $0.context.spanID }
        )
        self.names = names.merging(spans.map { ($0.context.spanID, $0.name) }) { $1 }
    }

    /// The spans that end while `body` runs, of whatever is traced through the task-local tracer in it.
    public static func during(_ body: nonisolated(nonsending) () async throws -> Void) async rethrows -> CollectedSpans
    {
        let processor = InMemorySpanProcessor()
        try await withTracer(LanternTracer(sampler: .alwaysOn, processor: processor)) { try await body() }
        return CollectedSpans(processor.spans)
    }

    /// Only those of one trace.
    public func inTrace(_ traceID: TraceID) -> CollectedSpans {
        CollectedSpans(self.spans.filter { $0.context.traceID == traceID }, names: self.names)
    }

    /// Says that these trees are among the spans. Beside what is expected there may be more; siblings must have begun in the
    /// order in which they are expected.
    /// - Throws: ``TraceMismatch``, which shows what is missing and what there is.
    public func expectTrace(@TraceBuilder _ expected: () -> [ExpectedSpan]) throws(TraceMismatch) {
        let expected = expected()
        let failures = expected.map { root in self.roots.map { self.missing(root, $0) } }
        // Each has a root of its own; which one, is found by letting others make room (Kuhn's algorithm).
        var taken: [Int: Int] = [:]
        func place(_ index: Int, _ tried: inout Set<Int>) -> Bool {
            for root in self.roots.indices where failures[index][root].isEmpty && tried.insert(root).inserted {
                if let other = taken[root], !place(other, &tried) { continue }
                taken[root] = index
                return true
            }
            return false
        }
        var missing: [String] = []
        for index in expected.indices {
            var tried: Set<Int> = []
            if place(index, &tried) { continue }
            // That of the tree that comes closest says most.
            let title = expected[index].title
            let closest = failures[index].filter { !$0.isEmpty && $0.first != title }.min { $0.count < $1.count }
            missing += closest ?? [title]
        }
        guard missing.isEmpty else { throw TraceMismatch(missing: missing, found: self.description) }
    }

    /// Lines for what of an expected tree is not in a tree; empty if all is there.
    private func missing(_ expected: ExpectedSpan, _ span: FinishedSpan) -> [String] {
        guard expected.matches(span, named: self.names) else { return [expected.title] }
        var rest = (self.children[span.context.spanID] ?? [])[...]
        var missing: [String] = []
        for child in expected.children {
            if let index = rest.firstIndex(where: { self.missing(child, $0).isEmpty }) {
                rest = rest[(index + 1)...]
            } else {
                let closest = rest.map { self.missing(child, $0) }.filter { $0.first != child.title }
                missing += (closest.min { $0.count < $1.count } ?? [child.title]).map { "\(expected.title) > \($0)" }
            }
        }
        return missing
    }
}

extension CollectedSpans: CustomStringConvertible {
    /// The trees, a line for each span.
    public var description: String {
        self.roots.map { self.tree($0, indent: "") }.joined()
    }

    private func tree(_ span: FinishedSpan, indent: String) -> String {
        let error = span.status?.code == .error ? " failed" : ""
        let links = span.linkedContexts.map { " linked to \"\(self.names[$0.spanID] ?? $0.spanID.description)\"" }
            .joined()
        let milliseconds = Double(span.end - span.start) / 1_000_000
        return "\(indent)\(span.kind) \"\(span.name)\"\(error)\(links) \(milliseconds) ms\n"
            + (self.children[span.context.spanID] ?? []).map { self.tree($0, indent: indent + "  ") }.joined()
    }
}

/// What a trace lacks.
public struct TraceMismatch: Error, Sendable, CustomStringConvertible {
    /// The way to each span that is not there.
    public var missing: [String]
    /// The trees that are.
    public var found: String

    public var description: String {
        "not there:\n" + self.missing.map { "  \($0)\n" }.joined() + "there is:\n" + self.found
    }
}
