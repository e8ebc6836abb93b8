import Foundation
import LanternTracing
import Tracing

/// A list of spans to make, in order.
///
/// ```json
/// [{"name": "work", "kind": "server", "parent": {"traceparent": "00-…-01", "tracestate": "a=1"}, "start": 1, "end": 2,
///   "attributes": [["key", "int64[]", [1, 2]], ["share", "double", "3fe0000000000000"]],
///   "events": [{"name": "sent", "time": 1, "attributes": []}], "status": {"code": "error", "message": "no"}},
///  {"name": "beside", "parent": 0, "links": [{"span": 0, "attributes": []}], "limits": {"attribute_length": 5}}]
/// ```
struct SpanDocument: Decodable, Sendable {
    var spans: [FixtureSpan]

    init(path: String) throws {
        guard let json = FileManager.default.contents(atPath: path) else {
            throw FixtureError("the document \(path) cannot be read")
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            self = try decoder.decode(SpanDocument.self, from: json)
        } catch let error as DecodingError {
            throw FixtureError(error)
        }
        for (index, span) in self.spans.enumerated() {
            let others = (span.links ?? []).map(\.span) + [span.parent?.span].compactMap { $0 }
            if let wrong = others.first(where: { !(0..<index).contains($0) }) {
                throw FixtureError("document[\(index)]: \(wrong) is no earlier span")
            }
        }
    }

    init(from decoder: any Decoder) throws { self.spans = try [FixtureSpan](from: decoder) }

    /// Begins all spans, then ends them, in the order of the list.
    func make(with processor: any SpanProcessor, _ tell: (LanternSpan, Int) -> Void) {
        var made: [LanternSpan] = []
        for span in self.spans {
            let limits = span.limits?.limits ?? SpanLimits()
            let tracer = LanternTracer(sampler: .parentBased(root: .alwaysOn), processor: processor, limits: limits)
            made.append(span.begin(tracer, made))
        }
        for (index, (span, listed)) in zip(made, self.spans).enumerated() {
            tell(span, index)
            if let end = listed.end { span.end(at: FixtureTime(end)) } else { span.end() }
        }
    }
}

/// One span. What is left out has no value, or the tracer's own.
struct FixtureSpan: Decodable, Sendable {
    enum Kind: String, Decodable {
        case `internal`, server, client, producer, consumer
    }

    struct Event: Decodable {
        var name: String
        var time: UInt64?
        var attributes: [FixtureAttribute]?
    }

    struct Link: Decodable {
        var span: Int
        var attributes: [FixtureAttribute]?
    }

    struct Status: Decodable {
        enum Code: String, Decodable { case ok, error }
        var code: Code
        var message: String?
    }

    struct Limits: Decodable {
        var attributes: Int?
        var events: Int?
        var links: Int?
        var attributesPerEvent: Int?
        var attributesPerLink: Int?
        var attributeLength: Int?

        var limits: SpanLimits {
            var limits = SpanLimits()
            limits.attributes = self.attributes ?? limits.attributes
            limits.events = self.events ?? limits.events
            limits.links = self.links ?? limits.links
            limits.attributesPerEvent = self.attributesPerEvent ?? limits.attributesPerEvent
            limits.attributesPerLink = self.attributesPerLink ?? limits.attributesPerLink
            limits.attributeLength = self.attributeLength
            return limits
        }
    }

    /// The index of an earlier span, or what a request's headers would say.
    enum Parent: Decodable {
        case local(Int)
        case remote([String: String])

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let index = try? container.decode(Int.self) {
                self = .local(index)
            } else {
                self = .remote(try container.decode([String: String].self))
            }
        }

        var span: Int? {
            if case .local(let index) = self { return index }
            return nil
        }
    }

    var name: String
    var kind: Kind?
    var parent: Parent?
    /// Nanoseconds since the epoch, as all times here.
    var start: UInt64?
    var end: UInt64?
    /// Set one after the other.
    var attributes: [FixtureAttribute]?
    var events: [Event]?
    var links: [Link]?
    var status: Status?
    var limits: Limits?

    func begin(_ tracer: LanternTracer, _ earlier: [LanternSpan]) -> LanternSpan {
        var context = InstrumentationContext.topLevel
        switch self.parent {
        case .local(let index): context = earlier[index].context
        case .remote(let headers): tracer.extract(headers, into: &context, using: DictionaryCarrier())
        case nil: break
        }
        let span =
            if let start {
                tracer.startSpan(self.name, context: context, ofKind: self.spanKind, at: FixtureTime(start))
            } else {
                tracer.startSpan(self.name, context: context, ofKind: self.spanKind)
            }
        for attribute in self.attributes ?? [] { span.attributes.set(attribute.key, value: attribute.value) }
        for event in self.events ?? [] {
            let attributes = SpanAttributes(event.attributes)
            if let time = event.time {
                span.addEvent(SpanEvent(name: event.name, at: FixtureTime(time), attributes: attributes))
            } else {
                span.addEvent(SpanEvent(name: event.name, attributes: attributes))
            }
        }
        for link in self.links ?? [] {
            span.addLink(SpanLink(context: earlier[link.span].context, attributes: SpanAttributes(link.attributes)))
        }
        if let status {
            span.setStatus(SpanStatus(code: status.code == .ok ? .ok : .error, message: status.message))
        }
        return span
    }

    private var spanKind: SpanKind {
        switch self.kind {
        case .internal, nil: .internal
        case .server: .server
        case .client: .client
        case .producer: .producer
        case .consumer: .consumer
        }
    }
}

/// `[key, type, value]`. A `double` is written as the hexadecimal digits of its bits: JSON has no word for some.
struct FixtureAttribute: Decodable, Sendable {
    var key: String
    var value: SpanAttribute

    init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        self.key = try container.decode(String.self)
        let type = try container.decode(String.self)
        switch type {
        case "int32": self.value = .int32(try container.decode(Int32.self))
        case "int64": self.value = .int64(try container.decode(Int64.self))
        case "double": self.value = .double(try container.decode(FixtureDouble.self).value)
        case "bool": self.value = .bool(try container.decode(Bool.self))
        case "string": self.value = .string(try container.decode(String.self))
        case "described": self.value = .stringConvertible(try container.decode(Described.self))
        case "int32[]": self.value = .int32Array(try container.decode([Int32].self))
        case "int64[]": self.value = .int64Array(try container.decode([Int64].self))
        case "double[]": self.value = .doubleArray(try container.decode([FixtureDouble].self).map(\.value))
        case "bool[]": self.value = .boolArray(try container.decode([Bool].self))
        case "string[]": self.value = .stringArray(try container.decode([String].self))
        case "described[]": self.value = .stringConvertibleArray(try container.decode([Described].self))
        default:
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "\"\(type)\" is no type of attribute"
            )
        }
    }

    /// A value of the caller's own type, which describes itself.
    private struct Described: Decodable, CustomStringConvertible, Sendable {
        let description: String

        init(from decoder: any Decoder) throws {
            self.description = try decoder.singleValueContainer().decode(String.self)
        }
    }

    private struct FixtureDouble: Decodable {
        let value: Double

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            let digits = try container.decode(String.self)
            guard digits.utf8.count == 16, let bits = UInt64(digits, radix: 16) else {
                throw DecodingError.dataCorruptedError(
                    in: container, debugDescription: "\"\(digits)\" is not the 16 digits of a double's bits"
                )
            }
            self.value = Double(bitPattern: bits)
        }
    }
}

/// A time that the document says.
private struct FixtureTime: TracerInstant {
    let nanosecondsSinceEpoch: UInt64

    init(_ nanoseconds: UInt64) { self.nanosecondsSinceEpoch = nanoseconds }

    static func < (left: FixtureTime, right: FixtureTime) -> Bool {
        left.nanosecondsSinceEpoch < right.nanosecondsSinceEpoch
    }
}

extension SpanAttributes {
    fileprivate init(_ attributes: [FixtureAttribute]?) {
        self.init()
        for attribute in attributes ?? [] { self.set(attribute.key, value: attribute.value) }
    }
}

extension FixtureError {
    /// Where the document is wrong, and how.
    fileprivate init(_ error: DecodingError) {
        switch error {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
            .dataCorrupted(let context):
            let keys = context.codingPath.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }
            self.init("document\(keys.joined()): \(context.debugDescription)")
        @unknown default:
            self.init("the document cannot be read: \(error)")
        }
    }
}
