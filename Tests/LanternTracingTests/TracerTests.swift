import Testing
import Tracing

@testable import LanternTracing

private struct CardRefused: Error, CustomStringConvertible {
    var description: String { "card 4242 of ada@example.org" }
}

private func instant(_ nanoseconds: UInt64) -> DefaultTracerClock.Timestamp {
    DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: nanoseconds)
}

@Suite("The tracer")
struct TracerTests {
    private let processor = InMemorySpanProcessor()

    private func tracer(_ sampler: Sampler = .alwaysOn, limits: SpanLimits = SpanLimits()) -> LanternTracer {
        LanternTracer(sampler: sampler, processor: self.processor, limits: limits)
    }

    /// The only span that ended.
    private func finished() throws -> FinishedSpan {
        let spans = self.processor.spans
        #expect(spans.count == 1)
        return try #require(spans.first)
    }

    /// The context of a request that brought these headers.
    private func context(_ headers: [String: String]) -> InstrumentationContext {
        var context = InstrumentationContext.topLevel
        self.tracer().extract(headers, into: &context, using: DictionaryCarrier())
        return context
    }

    private func headers(_ context: InstrumentationContext) -> [String: String] {
        var headers: [String: String] = [:]
        self.tracer().inject(context, into: &headers, using: DictionaryCarrier())
        return headers
    }

    @Test("a span without a parent begins a trace of random ids")
    func root() throws {
        let span = self.tracer().startSpan("root", context: .topLevel, ofKind: .server, at: instant(1_000))
        span.end(at: instant(3_000))
        let finished = try self.finished()
        #expect(finished.name == "root")
        #expect(finished.kind == .server)
        #expect(finished.parent == nil)
        #expect(finished.context == span.spanContext)
        #expect(span.context.spanContext == span.spanContext)
        #expect(finished.start == 1_000)
        #expect(finished.end == 3_000)
        // Sampled, and random as Level 2 means it.
        #expect(finished.context.flags == 0b11)
        #expect(!finished.context.isRemote)
    }

    @Test("a child keeps the trace, has an id of its own and knows its parent")
    func child() throws {
        let tracer = self.tracer()
        let root = tracer.startSpan("root", context: .topLevel)
        let child = tracer.startSpan("child", context: root.context)
        child.end()
        let finished = try self.finished()
        #expect(finished.context.traceID == root.spanContext.traceID)
        #expect(finished.context.spanID != root.spanContext.spanID)
        #expect(finished.parent == root.spanContext)
    }

    @Test("a remote parent is continued, with its tracestate and its random flag")
    func remoteParent() throws {
        let context = self.context([
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "foo=1, bar=2",
        ])
        self.tracer(.parentBased(root: .alwaysOff)).startSpan("server", context: context, ofKind: .server).end()
        let finished = try self.finished()
        #expect(finished.context.traceID.description == "0af7651916cd43dd8448eb211c80319c")
        #expect(finished.context.traceState == "foo=1,bar=2")
        #expect(finished.context.flags == 0b01)
        #expect(finished.parent?.spanID.description == "b7ad6b7169203331")
        #expect(finished.parent?.isRemote == true)
    }

    @Test("a span of an unsampled trace is not recorded, but the trace goes on")
    func unsampled() throws {
        let context = self.context([
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "tracestate": "foo=1",
        ])
        let span = self.tracer(.parentBased(root: .alwaysOn)).startSpan("server", context: context, ofKind: .server)
        #expect(!span.isRecording)
        span.attributes["order"] = "7"
        span.addEvent(SpanEvent(name: "placed"))
        span.recordError(CardRefused())
        let headers = self.headers(span.context)
        span.end()
        #expect(self.processor.spans.isEmpty)
        #expect(
            headers["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-\(span.spanContext.spanID)-00"
        )
        #expect(span.spanContext.spanID.description != "b7ad6b7169203331")
        #expect(headers["tracestate"] == "foo=1")
    }

    @Test("a trace that the sampler refuses has ids all the same, and its children are refused too")
    func refusedRoot() {
        let tracer = self.tracer(.parentBased(root: .alwaysOff))
        let root = tracer.startSpan("root", context: .topLevel)
        let child = tracer.startSpan("child", context: root.context)
        child.end()
        root.end()
        #expect(self.processor.spans.isEmpty)
        #expect(child.spanContext.traceID == root.spanContext.traceID)
        #expect(!child.spanContext.isSampled)
    }

    @Test("a span ends once")
    func endsOnce() throws {
        let span = self.tracer().startSpan("work", context: .topLevel)
        #expect(span.isRecording)
        span.end()
        span.end()
        #expect(!span.isRecording)
        #expect(self.processor.spans.count == 1)
    }

    @Test("eight tasks that end one span end it once")
    func endsOnceConcurrently() async {
        let span = self.tracer().startSpan("work", context: .topLevel)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { span.end() } }
        }
        #expect(self.processor.spans.count == 1)
    }

    @Test("what is set after the end is ignored")
    func lateChanges() throws {
        let span = self.tracer().startSpan("work", context: .topLevel)
        span.attributes["early"] = 1
        span.end()
        span.attributes["late"] = 2
        span.operationName = "late"
        span.addEvent(SpanEvent(name: "late"))
        span.addLink(SpanLink(context: span.context, attributes: [:]))
        span.setStatus(SpanStatus(code: .error))
        span.recordError(CardRefused())
        #expect(span.attributes.get("late") == nil)
        #expect(span.operationName == "work")
        let finished = try self.finished()
        #expect(finished.attributes.get("early") == SpanAttribute.int64(1))
        #expect(finished.attributes.count == 1)
        #expect(finished.events.isEmpty)
        #expect(finished.links.isEmpty)
        #expect(finished.status == nil)
    }

    @Test("a span does not end before it began, though the wall clock steps back")
    func clockStepsBack() throws {
        let span = self.tracer().startSpan("work", context: .topLevel, at: instant(2_000))
        span.end(at: instant(1_000))
        let finished = try self.finished()
        #expect(finished.start == 2_000)
        #expect(finished.end == 2_000)
    }

    @Test("an error sets the status and leaves its type, not its text")
    func recordError() throws {
        let span = self.tracer().startSpan("pay", context: .topLevel)
        span.recordError(CardRefused(), attributes: ["attempt": 2])
        span.end()
        let finished = try self.finished()
        #expect(finished.status == SpanStatus(code: .error))
        let event = try #require(finished.events.first)
        #expect(finished.events.count == 1)
        #expect(event.name == "exception")
        #expect(event.attributes.get("attempt") == SpanAttribute.int64(2))
        var texts: [String] = []
        event.attributes.forEach { _, value in texts.append("\(value)") }
        #expect(texts.contains { $0.contains("CardRefused") })
        #expect(!texts.contains { $0.contains("4242") })
    }

    @Test("an error does not change a status that was set")
    func statusStays() throws {
        let span = self.tracer().startSpan("pay", context: .topLevel)
        span.setStatus(SpanStatus(code: .ok))
        span.recordError(CardRefused())
        span.end()
        #expect(try self.finished().status == SpanStatus(code: .ok))
    }

    @Test("events and links beyond the limits are counted, not kept; the first stay")
    func limits() throws {
        var limits = SpanLimits()
        limits.events = 2
        limits.links = 1
        let tracer = self.tracer(limits: limits)
        let others = (0..<3).map { _ in tracer.startSpan("other", context: .topLevel) }
        let span = tracer.startSpan("work", context: .topLevel)
        for number in 0..<5 { span.addEvent(SpanEvent(name: "event \(number)")) }
        for other in others { span.addLink(other) }
        span.end()
        let finished = try self.finished()
        #expect(finished.events.map(\.name) == ["event 0", "event 1"])
        #expect(finished.droppedEvents == 3)
        #expect(finished.linkedContexts == others.prefix(1).map(\.spanContext))
        #expect(finished.droppedLinks == 2)
    }

    @Test("a context crosses a process and comes back as it was, but remote")
    func roundTrip() throws {
        let span = self.tracer().startSpan("client", context: .topLevel, ofKind: .client)
        let headers = self.headers(span.context)
        #expect(Set(headers.keys) == ["traceparent"])
        let received = try #require(self.context(headers).spanContext)
        var expected = span.spanContext
        expected.isRemote = true
        #expect(received == expected)
    }

    @Test("a context without a span is not injected")
    func nothingToInject() {
        #expect(self.headers(.topLevel).isEmpty)
    }

    @Test("a malformed traceparent begins a new trace, and its tracestate is not believed")
    func malformed() throws {
        let context = self.context(["traceparent": "00-0-0-00", "tracestate": "foo=1"])
        #expect(context.spanContext == nil)
        let span = self.tracer().startSpan("server", context: context)
        #expect(span.spanContext.traceState.isEmpty)
    }

    @Test("without a traceparent, a tracestate is nothing")
    func tracestateAlone() {
        #expect(self.context(["tracestate": "foo=1"]).spanContext == nil)
    }

    @Test("ten thousand spans have ten thousand ids")
    func uniqueIDs() {
        let tracer = self.tracer()
        let spans = (0..<10_000).map { _ in tracer.startSpan("root", context: .topLevel).spanContext }
        #expect(Set(spans.map(\.traceID)).count == spans.count)
        #expect(Set(spans.map(\.spanID)).count == spans.count)
        #expect(spans.allSatisfy { $0.spanID.value != 0 && $0.traceID.low != 0 })
    }
}

@Suite("The processor in memory")
struct InMemorySpanProcessorTests {
    @Test("it keeps spans in the order they ended, up to its limit")
    func bounded() {
        let processor = InMemorySpanProcessor(limit: 2)
        let tracer = LanternTracer(sampler: .alwaysOn, processor: processor)
        let spans = ["first", "second", "third"].map { tracer.startSpan($0, context: .topLevel) }
        for span in spans.reversed() { span.end() }
        #expect(processor.spans.map(\.name) == ["third", "second"])
    }
}

@Suite("The processor for people")
struct ConsoleSpanProcessorTests {
    @Test("it writes one line for a span, with its ids and its duration")
    func line() async {
        await confirmation { written in
            let tracer = LanternTracer(
                sampler: .alwaysOn,
                processor: ConsoleSpanProcessor { line in
                    #expect(line.hasSuffix("client \"GET /\" 2.5 ms"))
                    written()
                }
            )
            let span = tracer.startSpan("GET /", context: .topLevel, ofKind: .client, at: instant(1_000_000))
            span.end(at: instant(3_500_000))
        }
    }
}
