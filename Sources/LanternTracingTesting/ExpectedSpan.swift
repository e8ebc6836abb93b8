import LanternTracing
import Tracing

/// A span that a trace should hold, with spans that should be below it.
///
/// In names and string attributes `…` stands for any text: `client("INSERT …")`.
public struct ExpectedSpan: Sendable {
    var kind: SpanKind
    var name: String
    var attributes: [(key: String, value: String)] = []
    var isError: Bool?
    var links: [String] = []
    var children: [ExpectedSpan]

    init(_ kind: SpanKind, _ name: String, _ children: [ExpectedSpan]) {
        self.kind = kind
        self.name = name
        self.children = children
    }

    /// The same, with an attribute; numbers and booleans as they are printed.
    public func with(_ key: String, _ value: some CustomStringConvertible) -> ExpectedSpan {
        var copy = self
        copy.attributes.append((key, value.description))
        return copy
    }

    /// The same, with or without an error.
    public func failed(_ isError: Bool = true) -> ExpectedSpan {
        var copy = self
        copy.isError = isError
        return copy
    }

    /// The same, with a link to a span of this name, in this trace or in another one.
    public func linked(to name: String) -> ExpectedSpan {
        var copy = self
        copy.links.append(name)
        return copy
    }

    var title: String {
        var title = "\(self.kind) \"\(self.name)\""
        for (key, value) in self.attributes { title += " \(key)=\(value)" }
        if let isError { title += isError ? " failed" : " not failed" }
        for link in self.links { title += " linked to \"\(link)\"" }
        return title
    }

    func matches(_ span: FinishedSpan, named names: [SpanID: String]) -> Bool {
        guard span.kind == self.kind, Pattern.matches(self.name, span.name) else { return false }
        if let isError, isError != (span.status?.code == .error) { return false }
        let texts = SpanTexts(span.attributes)
        guard self.attributes.allSatisfy({ Pattern.matches($0.value, texts[$0.key] ?? "") && texts[$0.key] != nil })
        else { return false }
        let linked = span.linkedContexts.compactMap { names[$0.spanID] }
        return self.links.allSatisfy { link in linked.contains { Pattern.matches(link, $0) } }
    }
}

/// Puts expectations below each other, in the order in which the spans should begin.
@resultBuilder
public enum TraceBuilder {
    public static func buildBlock(_ spans: [ExpectedSpan]...) -> [ExpectedSpan] { spans.flatMap { $0 } }
    public static func buildExpression(_ span: ExpectedSpan) -> [ExpectedSpan] { [span] }
    public static func buildOptional(_ spans: [ExpectedSpan]?) -> [ExpectedSpan] { spans ?? [] }
    public static func buildEither(first spans: [ExpectedSpan]) -> [ExpectedSpan] { spans }
    public static func buildEither(second spans: [ExpectedSpan]) -> [ExpectedSpan] { spans }
    public static func buildArray(_ spans: [[ExpectedSpan]]) -> [ExpectedSpan] { spans.flatMap { $0 } }
}

public func server(_ name: String, @TraceBuilder _ children: () -> [ExpectedSpan] = { [] }) -> ExpectedSpan {
    ExpectedSpan(.server, name, children())
}

public func client(_ name: String, @TraceBuilder _ children: () -> [ExpectedSpan] = { [] }) -> ExpectedSpan {
    ExpectedSpan(.client, name, children())
}

public func producer(_ name: String, @TraceBuilder _ children: () -> [ExpectedSpan] = { [] }) -> ExpectedSpan {
    ExpectedSpan(.producer, name, children())
}

public func consumer(_ name: String, @TraceBuilder _ children: () -> [ExpectedSpan] = { [] }) -> ExpectedSpan {
    ExpectedSpan(.consumer, name, children())
}

/// A span of the kind `internal`.
public func span(_ name: String, @TraceBuilder _ children: () -> [ExpectedSpan] = { [] }) -> ExpectedSpan {
    ExpectedSpan(.internal, name, children())
}

/// Text in which `…` stands for any text.
enum Pattern {
    static func matches(_ pattern: String, _ text: String) -> Bool {
        var parts = pattern.split(separator: "…", omittingEmptySubsequences: false).map { String($0) }
        guard parts.count > 1 else { return pattern == text }
        let last = parts.removeLast()
        var rest = text[...]
        guard rest.hasPrefix(parts[0]) else { return false }
        rest = rest.dropFirst(parts.removeFirst().count)
        for part in parts where !part.isEmpty {
            guard let range = rest.firstRange(of: part) else { return false }
            rest = rest[range.upperBound...]
        }
        return rest.hasSuffix(last)
    }
}

/// Attributes as they are printed.
struct SpanTexts {
    private var texts: [String: String] = [:]

    init(_ attributes: SpanAttributes) {
        attributes.forEach { key, value in
            switch value {
            case .string(let text): self.texts[key] = text
            case .int32(let number): self.texts[key] = "\(number)"
            case .int64(let number): self.texts[key] = "\(number)"
            case .double(let number): self.texts[key] = "\(number)"
            case .bool(let flag): self.texts[key] = "\(flag)"
            case .stringConvertible(let value): self.texts[key] = value.description
            default: self.texts[key] = "\(value)"
            }
        }
    }

    subscript(key: String) -> String? { self.texts[key] }
}
