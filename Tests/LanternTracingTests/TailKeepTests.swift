import SwiftProtobuf
import Testing
import Tracing

@testable import LanternTracing

private struct Refused: Error {}

/// Milliseconds after a moment far from now, so that they are kept as they are.
private func at(_ milliseconds: Double) -> DefaultTracerClock.Timestamp {
    DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: 1_000_000_000_000 + UInt64(milliseconds * 1_000_000))
}

@Suite("Tail-keep")
struct TailKeepTests {
    /// How a local root ends.
    enum Ending: Sendable, CaseIterable { case fine, ok, failed, error, slow, justSlow, almostSlow, okThenError }

    private let processor = InMemorySpanProcessor()

    private func tracer(
        _ keep: TailKeep? = TailKeep(slow: .milliseconds(100)), _ sampler: Sampler = .parentBased(root: .alwaysOff)
    ) -> LanternTracer {
        LanternTracer(sampler: sampler, processor: self.processor, tailKeep: keep)
    }

    private func keep(perTrace: Int = 64, all: Int = 4_096) -> TailKeep {
        var keep = TailKeep(slow: .milliseconds(100))
        keep.spansPerTrace = perTrace
        keep.spans = all
        return keep
    }

    private var names: [String] { self.processor.spans.map(\.name) }

    private func end(_ span: LanternSpan, _ ending: Ending) {
        switch ending {
        case .fine: span.end(at: at(10))
        case .slow: span.end(at: at(5_000))
        case .justSlow: span.end(at: at(100))
        case .almostSlow: span.end(at: at(99.999))
        case .ok, .failed, .error, .okThenError:
            if ending == .ok || ending == .okThenError { span.setStatus(SpanStatus(code: .ok)) }
            if ending == .failed { span.setStatus(SpanStatus(code: .error)) }
            if ending == .error || ending == .okThenError { span.recordError(Refused()) }
            span.end(at: at(10))
        }
    }

    private func root(
        _ tracer: LanternTracer, _ name: String = "root", _ context: InstrumentationContext = .topLevel
    )
        -> LanternSpan
    {
        tracer.startSpan(name, context: context, ofKind: .server, at: at(0))
    }

    private func endChild(_ tracer: LanternTracer, of parent: LanternSpan, _ name: String) {
        tracer.startSpan(name, context: parent.context, at: at(1)).end(at: at(2))
    }

    private func messages() throws -> [OTLPSpan] {
        var encoder = OTLPEncoder(resource: [])
        let request = try OTLPExportTraceServiceRequest(serializedBytes: encoder.encode(self.processor.spans[...]).body)
        return request.resourceSpans.flatMap(\.scopeSpans).flatMap(\.spans)
    }

    // MARK: What is kept

    @Test("a local root that failed or was slow is kept with its spans; another one is not", arguments: Ending.allCases)
    func decision(ending: Ending) {
        let tracer = self.tracer()
        let root = self.root(tracer)
        let child = tracer.startSpan("child", context: root.context, at: at(1))
        self.endChild(tracer, of: child, "grandchild")
        child.end(at: at(3))
        #expect(self.names.isEmpty, "nothing is known before the root ends")
        self.end(root, ending)
        let isKept = [.failed, .error, .slow, .justSlow].contains(ending)
        #expect(self.names == (isKept ? ["grandchild", "child", "root"] : []))
    }

    @Test("what became of a child alone decides nothing")
    func child() {
        let tracer = self.tracer()
        let root = self.root(tracer)
        self.end(tracer.startSpan("failed", context: root.context, at: at(0)), .error)
        self.end(tracer.startSpan("slow", context: root.context, at: at(0)), .slow)
        self.end(root, .fine)
        #expect(self.names.isEmpty)
    }

    @Test("spans that end after their root follow its decision", arguments: [Ending.error, .fine])
    func late(ending: Ending) {
        let tracer = self.tracer()
        let root = self.root(tracer)
        let open = tracer.startSpan("open", context: root.context, at: at(1))
        self.end(root, ending)
        self.end(open, .error)
        self.endChild(tracer, of: root, "begun later")
        #expect(self.names == (ending == .error ? ["root", "open", "begun later"] : []))
    }

    @Test("each trace is decided by its own root, though they are open at once")
    func twoTraces() {
        let tracer = self.tracer()
        let roots = ["fine", "bad"].map { self.root(tracer, $0) }
        for root in roots { self.endChild(tracer, of: root, "child of \(root.operationName)") }
        self.end(roots[0], .fine)
        self.end(roots[1], .error)
        #expect(self.names == ["child of bad", "bad"])
    }

    @Test("two requests of one trace are two local roots")
    func twoRequests() throws {
        let tracer = self.tracer()
        var context = InstrumentationContext.topLevel
        let headers = ["traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"]
        tracer.extract(headers, into: &context, using: DictionaryCarrier())
        let roots = ["fine", "bad"].map { self.root(tracer, $0, context) }
        for root in roots { self.endChild(tracer, of: root, "child of \(root.operationName)") }
        self.end(roots[1], .error)
        self.end(roots[0], .fine)
        #expect(self.names == ["child of bad", "bad"])
    }

    @Test("without tail-keep nothing of an unsampled trace is recorded or kept")
    func without() {
        let tracer = self.tracer(nil)
        let root = self.root(tracer)
        #expect(!root.isRecording)
        self.endChild(tracer, of: root, "child")
        self.end(root, .error)
        #expect(self.names.isEmpty)
    }

    // MARK: Sampled traces

    @Test("spans of a sampled trace are handed on as they end, unmarked, and take no room")
    func sampled() throws {
        let tracer = self.tracer(self.keep(perTrace: 1, all: 0), .parentBased(root: .alwaysOn))
        let root = self.root(tracer)
        self.endChild(tracer, of: root, "first")
        self.endChild(tracer, of: root, "second")
        #expect(self.names == ["first", "second"])
        self.end(root, .error)
        #expect(self.names == ["first", "second", "root"])
        #expect(self.processor.spans.allSatisfy { !$0.isTailKept && $0.context.isSampled })
        #expect(try self.messages().allSatisfy { $0.attributes.isEmpty })
    }

    @Test(
        "an unsampled span inside a sampled one, or one that records nothing, is a root of its own",
        arguments: [true, false])
    func inside(isSampled: Bool) {
        let outer = self.root(
            LanternTracer(sampler: isSampled ? .alwaysOn : .alwaysOff, processor: DiscardingSpanProcessor()), "outer")
        let tracer = self.tracer(self.keep(), .alwaysOff)
        for (name, ending) in [("fine", .fine), ("bad", .error)] as [(String, Ending)] {
            let root = self.root(tracer, name, outer.context)
            self.endChild(tracer, of: root, "child of \(name)")
            self.end(root, ending)
        }
        #expect(self.names == ["child of bad", "bad"])
        #expect(self.processor.spans.allSatisfy { $0.isTailKept && !$0.context.isSampled })
        #expect(self.processor.spans.last?.parent == outer.spanContext)
    }

    // MARK: What others see

    @Test("what is sent on says that the trace is not sampled, kept or not; so does the message")
    func flags() throws {
        let tracer = self.tracer()
        var context = InstrumentationContext.topLevel
        let trace = "00-0af7651916cd43dd8448eb211c80319c"
        tracer.extract(["traceparent": "\(trace)-b7ad6b7169203331-00"], into: &context, using: DictionaryCarrier())
        let root = self.root(tracer, "root", context)
        let child = tracer.startSpan("child", context: root.context, ofKind: .client, at: at(1))
        #expect(child.isRecording)
        var headers: [String: String] = [:]
        tracer.inject(child.context, into: &headers, using: DictionaryCarrier())
        #expect(headers == ["traceparent": "\(trace)-\(child.spanContext.spanID)-00"])
        child.end(at: at(2))
        self.end(root, .error)
        #expect(self.processor.spans.map(\.context.flags) == [0, 0])
        #expect(try self.messages().map { $0.flags & 0xFF } == [0, 0])
    }

    @Test("in the message each kept span is marked, though it has all the attributes it may have")
    func mark() throws {
        var limits = SpanLimits()
        limits.attributes = 1
        let tracer = LanternTracer(
            sampler: .alwaysOff, processor: self.processor, limits: limits, tailKeep: TailKeep(slow: .zero))
        let root = self.root(tracer)
        self.endChild(tracer, of: root, "child")
        root.attributes["order"] = 7
        self.end(root, .fine)
        let messages = try self.messages()
        #expect(messages.map(\.name) == ["child", "root"])
        for message in messages {
            let marks = message.attributes.filter { $0.key == "lantern.tail_kept" }
            #expect(marks.map(\.value.value) == [.boolValue(true)])
            #expect(message.droppedAttributesCount == 0)
        }
        #expect(messages.last?.attributes.count == 2)
    }
}
