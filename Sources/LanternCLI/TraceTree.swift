import Foundation
import LanternTracing

/// The spans of a trace, drawn as a tree, with the spans of other traces that link to it.
struct TraceTree {
    private let trace: String
    private let own: [ReceivedSpan]
    private let linking: [ReceivedSpan]

    init(trace: String, spans: [ReceivedSpan]) {
        self.trace = trace
        self.own = spans.filter { $0.traceID == trace }
        self.linking = spans.filter { $0.traceID != trace }
    }

    static func decode(_ body: Data) throws -> [ReceivedSpan] {
        try JSONDecoder().decode([ReceivedSpan].self, from: body)
    }

    /// Whether it reaches from the request to the entry: served, created, sent, processed, stored.
    var isWhole: Bool {
        self.own.contains { $0.kind == "server" } && self.own.contains { $0.name.hasPrefix("create ") }
            && self.linking.contains { $0.name.hasPrefix("send ") }
            && self.own.contains { $0.name == "store timeline entry" }
    }

    var lines: [String] {
        let ids = Set(self.own.map(\.spanID))
        let roots = self.own.filter { span in span.parentSpanID.map { !ids.contains($0) } ?? true }
        let begin = self.own.map(\.start).min() ?? 0
        return self.draw(roots, prefix: "", begin: begin)
    }

    private func draw(_ spans: [ReceivedSpan], prefix: String, begin: UInt64) -> [String] {
        let spans = spans.sorted { ($0.start, $0.spanID) < ($1.start, $1.spanID) }
        return spans.enumerated().flatMap { index, span -> [String] in
            let isLast = index == spans.count - 1
            let inner = prefix + (isLast ? "   " : "│  ")
            let links = self.linking.filter {
                $0.links.contains { $0.spanID == span.spanID && $0.traceID == self.trace }
            }
            var lines = [prefix + (isLast ? "└─ " : "├─ ") + Self.text(span, begin: begin)]
            for link in links { lines.append(inner + Terminal.styled("⇠ \(Self.text(link, begin: begin))", .cyan)) }
            return lines + self.draw(self.own.filter { $0.parentSpanID == span.spanID }, prefix: inner, begin: begin)
        }
    }

    private static func text(_ span: ReceivedSpan, begin: UInt64) -> String {
        func milliseconds(_ nanoseconds: UInt64) -> String { String(format: "%.1f", Double(nanoseconds) / 1_000_000) }
        let offset =
            span.start >= begin ? "+\(milliseconds(span.start - begin))" : "-\(milliseconds(begin - span.start))"
        return "\(span.service): \(span.name) "
            + Terminal.styled("[\(span.kind), \(offset) ms, \(milliseconds(span.end - span.start)) ms]", .dim)
    }
}
