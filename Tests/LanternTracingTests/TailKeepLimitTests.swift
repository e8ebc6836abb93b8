import Testing
import Tracing

@testable import LanternTracing

@Suite("Tail-keep is bounded")
struct TailKeepLimitTests {
    private let processor = InMemorySpanProcessor()

    private func tracer(perTrace: Int = 64, all: Int) -> LanternTracer {
        var keep = TailKeep(slow: .seconds(3_600))
        keep.spansPerTrace = perTrace
        keep.spans = all
        return LanternTracer(sampler: .alwaysOff, processor: self.processor, tailKeep: keep)
    }

    private func endChildren(_ count: Int, _ tracer: LanternTracer, of root: LanternSpan) {
        for number in 0..<count { tracer.startSpan("\(number)", context: root.context).end() }
    }

    private func fail(_ root: LanternSpan) {
        root.setStatus(SpanStatus(code: .error))
        root.end()
    }

    @Test("of one trace the first spans to end are kept, and always the root", arguments: [1, 2, 5])
    func perTrace(limit: Int) {
        let tracer = self.tracer(perTrace: limit, all: 100)
        let root = tracer.startSpan("root", context: .topLevel)
        self.endChildren(10, tracer, of: root)
        self.fail(root)
        #expect(self.processor.spans.map(\.name) == (0..<limit - 1).map { "\($0)" } + ["root"])
    }

    @Test("all traces together hold no more than the limit; roots are kept all the same")
    func allTraces() {
        let tracer = self.tracer(all: 10)
        let roots = (0..<5).map { _ in tracer.startSpan("root", context: .topLevel) }
        for root in roots { self.endChildren(4, tracer, of: root) }
        for root in roots { self.fail(root) }
        let names = self.processor.spans.map(\.name)
        #expect(names.filter { $0 == "root" }.count == 5)
        #expect(names.filter { $0 != "root" }.count == 10)
    }

    @Test("a root gives back what its trace held, kept or not", arguments: [true, false])
    func givenBack(fails: Bool) {
        let tracer = self.tracer(all: 3)
        for _ in 0..<100 {
            let root = tracer.startSpan("root", context: .topLevel)
            self.endChildren(5, tracer, of: root)
            if fails { self.fail(root) } else { root.end() }
        }
        let last = tracer.startSpan("last", context: .topLevel)
        self.endChildren(5, tracer, of: last)
        self.fail(last)
        #expect(self.processor.spans.suffix(4).map(\.name) == ["0", "1", "2", "last"])
        #expect(self.processor.spans.count == (fails ? 404 : 4))
    }

    @Test("a root that is never ended gives back what its trace held")
    func neverEnded() {
        let tracer = self.tracer(all: 3)
        weak var recording: SpanRecording?
        do {
            let root = tracer.startSpan("forgotten", context: .topLevel)
            recording = root.recording
            self.endChildren(3, tracer, of: root)
        }
        #expect(recording == nil, "it is still in memory")
        let root = tracer.startSpan("root", context: .topLevel)
        self.endChildren(3, tracer, of: root)
        self.fail(root)
        #expect(self.processor.spans.map(\.name) == ["0", "1", "2", "root"])
    }

    @Test("eight tasks whose traces come and go hold no more than the limit, and lose nothing of it")
    func concurrent() async {
        let tracer = self.tracer(all: 16)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for round in 0..<200 {
                        let root = tracer.startSpan("root", context: .topLevel)
                        self.endChildren(3, tracer, of: root)
                        if round.isMultiple(of: 2) { self.fail(root) } else { root.end() }
                    }
                }
            }
        }
        let before = self.processor.spans.count
        let root = tracer.startSpan("last", context: .topLevel)
        self.endChildren(20, tracer, of: root)
        self.fail(root)
        #expect(self.processor.spans.count - before == 17)
    }
}
