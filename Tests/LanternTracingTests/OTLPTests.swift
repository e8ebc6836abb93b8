import SwiftProtobuf
import Testing
import Tracing

@testable import LanternTracing

@Suite("Spans as OTLP messages")
struct OTLPTests {
    private let processor = InMemorySpanProcessor()

    private func tracer(limits: SpanLimits = SpanLimits()) -> LanternTracer {
        LanternTracer(sampler: .alwaysOn, processor: self.processor, limits: limits)
    }

    /// What a collector reads of the spans that ended.
    private func received() throws -> [ReceivedSpan] {
        var encoder = OTLPEncoder(resource: [("service.name", "order"), ("service.version", "1")])
        return try OTLPReceiver.spans(in: encoder.encode(self.processor.spans[...]).body)
    }

    /// The message of the only span that ended.
    private func message() throws -> OTLPSpan {
        var encoder = OTLPEncoder(resource: [])
        let request = try OTLPExportTraceServiceRequest(
            serializedBytes: encoder.encode(self.processor.spans[...]).body
        )
        let spans = request.resourceSpans.flatMap(\.scopeSpans).flatMap(\.spans)
        #expect(spans.count == 1)
        return try #require(spans.first)
    }

    private func instant(_ nanoseconds: UInt64) -> DefaultTracerClock.Timestamp {
        DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: nanoseconds)
    }

    @Test("a collector reads name, ids, parent, service and times as they were")
    func identity() throws {
        let tracer = self.tracer()
        let root = tracer.startSpan("root", context: .topLevel, at: self.instant(1_000))
        let child = tracer.startSpan("child", context: root.context, at: self.instant(2_000))
        child.end(at: self.instant(3_000))
        root.end(at: self.instant(4_000))
        let spans = try self.received()
        #expect(spans.map(\.name) == ["child", "root"])
        let first = try #require(spans.first)
        let last = try #require(spans.last)
        #expect(first.traceID == root.spanContext.traceID.description)
        #expect(first.spanID == child.spanContext.spanID.description)
        #expect(first.parentSpanID == root.spanContext.spanID.description)
        #expect(first.service == "order")
        #expect(first.start == 2_000)
        #expect(first.end == 3_000)
        #expect(last.traceID == first.traceID)
        #expect(last.spanID == root.spanContext.spanID.description)
        #expect(last.parentSpanID == nil)
    }

    @Test(
        "a collector reads the kind",
        arguments: [
            (.internal, "internal"), (.server, "server"), (.client, "client"), (.producer, "producer"),
            (.consumer, "consumer"),
        ] as [(SpanKind, String)]
    )
    func kinds(kind: SpanKind, expected: String) throws {
        self.tracer().startSpan("work", context: .topLevel, ofKind: kind).end()
        #expect(try self.received().map(\.kind) == [expected])
    }

    @Test("a collector reads attributes of every type")
    func attributes() throws {
        let span = self.tracer().startSpan("work", context: .topLevel)
        span.updateAttributes { attributes in
            attributes["text"] = "a \u{0} 🏮"
            attributes["number"] = Int.min
            attributes["small"] = Int32(-7)
            attributes["ratio"] = 0.25
            attributes["flag"] = true
            attributes["texts"] = ["a", "b"]
            attributes["numbers"] = [1, 2]
            attributes["ratios"] = [0.5, 1.5]
            attributes["flags"] = [true, false]
        }
        span.end()
        let received = try #require(self.received().first)
        #expect(
            received.attributes == [
                "text": "a \u{0} 🏮", "number": "-9223372036854775808", "small": "-7", "ratio": "0.25", "flag": "true",
                "texts": "a, b", "numbers": "1, 2", "ratios": "0.5, 1.5", "flags": "true, false",
            ]
        )
    }

    @Test("a collector reads links")
    func links() throws {
        let tracer = self.tracer()
        let others = (0..<2).map { _ in tracer.startSpan("other", context: .topLevel) }
        let span = tracer.startSpan("batch", context: .topLevel, ofKind: .consumer)
        for other in others { span.addLink(other) }
        // A link to no span is none.
        span.addLink(SpanLink(context: .topLevel, attributes: [:]))
        span.end()
        let received = try #require(self.received().first)
        let expected = others.map { other in
            ReceivedSpan.Link(
                traceID: other.spanContext.traceID.description, spanID: other.spanContext.spanID.description
            )
        }
        #expect(received.links == expected)
    }

    @Test(
        "a collector reads whether it failed",
        arguments: [(nil, false), (.ok, false), (.error, true)] as [(SpanStatus.Code?, Bool)]
    )
    func errors(code: SpanStatus.Code?, isError: Bool) throws {
        let span = self.tracer().startSpan("work", context: .topLevel)
        if let code { span.setStatus(SpanStatus(code: code, message: "told")) }
        span.end()
        #expect(try self.received().map(\.isError) == [isError])
    }

    @Test("text beyond the length limit is cut, in lists and events too; all else is not")
    func attributeLength() throws {
        var limits = SpanLimits()
        limits.attributeLength = 5
        let span = self.tracer(limits: limits).startSpan("a name is no attribute", context: .topLevel)
        span.attributes["long"] = "abcdefgh"
        span.attributes["short"] = "abcde"
        span.attributes["wide"] = "ééééééé"
        span.attributes["list"] = ["abcdefgh", "x"]
        span.attributes["number"] = 123_456_789
        span.addEvent(SpanEvent(name: "long event", attributes: ["long": "abcdefgh"]))
        span.end()
        let received = try #require(self.received().first)
        #expect(received.name == "a name is no attribute")
        #expect(
            received.attributes == [
                "long": "abcde", "short": "abcde", "wide": "ééééé", "list": "abcde, x", "number": "123456789",
            ]
        )
        let event = try #require(self.message().events.first)
        #expect(event.name == "long event")
        #expect(event.attributes.map(\.value.stringValue) == ["abcde"])
    }

    @Test("without a limit, text is whole")
    func noAttributeLength() throws {
        let text = String(repeating: "x", count: 100_000)
        let span = self.tracer().startSpan("work", context: .topLevel)
        span.attributes["long"] = text
        span.end()
        #expect(try self.received().first?.attributes["long"] == text)
    }

    @Test("attributes, events and links beyond the limits are counted")
    func dropped() throws {
        var limits = SpanLimits()
        limits.attributes = 2
        limits.events = 1
        limits.links = 1
        limits.attributesPerEvent = 2
        limits.attributesPerLink = 2
        let span = self.tracer(limits: limits).startSpan("work", context: .topLevel)
        for number in 0..<5 {
            span.attributes["key \(number)"] = number
            span.addEvent(SpanEvent(name: "event", attributes: ["a": 1, "b": 2, "c": 3]))
            span.addLink(SpanLink(context: span.context, attributes: ["a": 1, "b": 2, "c": 3]))
        }
        span.end()
        let message = try self.message()
        #expect(message.attributes.count == 2)
        #expect(message.droppedAttributesCount == 3)
        #expect(message.events.count == 1)
        #expect(message.droppedEventsCount == 4)
        #expect(message.links.count == 1)
        #expect(message.droppedLinksCount == 4)
        #expect(message.events.first?.attributes.count == 2)
        #expect(message.events.first?.droppedAttributesCount == 1)
        #expect(message.links.first?.droppedAttributesCount == 1)
    }

    @Test("the flags say whether the parent is remote, and keep the W3C flags", arguments: [false, true])
    func flags(remote: Bool) throws {
        var parent = try #require(
            TraceContext.parse(
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", tracestate: "foo=1")
        )
        parent.isRemote = remote
        var context = InstrumentationContext.topLevel
        context.spanContext = parent
        self.tracer().startSpan("work", context: context).end()
        let message = try self.message()
        let expected: UInt32 = remote ? 0x303 : 0x103
        #expect(message.flags == expected)
        #expect(message.traceState == "foo=1")
    }

    @Test("no spans are a request without spans")
    func empty() throws {
        #expect(try self.received().isEmpty)
    }

    @Test(
        "a body that is no request is refused",
        arguments: [[0xFF, 0xFF], Array("{\"resourceSpans\":[]}".utf8)] as [[UInt8]])
    func garbage(body: [UInt8]) {
        #expect(throws: (any Error).self) { try OTLPReceiver.spans(in: body) }
    }
}
