import Testing
import Tracing

@testable import LanternTracing

private func instant(_ nanoseconds: UInt64) -> DefaultTracerClock.Timestamp {
    DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: nanoseconds)
}

@Suite("The time of a trace")
struct TraceClockTests {
    private let processor = InMemorySpanProcessor()

    private var tracer: LanternTracer { LanternTracer(sampler: .alwaysOn, processor: self.processor) }

    private static let hour: UInt64 = 3_600_000_000_000

    /// Times that somebody means: long ago, an hour around now, and as late as can be said.
    static let explicitTable: [(start: UInt64, end: UInt64)] = {
        let now = DefaultTracerClock.now.nanosecondsSinceEpoch
        return [
            (1, 2), (1_000, 1_000), (1_000_000_000_000_000_000, 1_000_000_000_000_000_001),
            (now - hour, now - hour + 1),
            (now - hour, now + hour), (now + hour, now + 2 * hour), (UInt64(Int64.max), UInt64(Int64.max) + 1),
            (.max - 1, .max),
        ]
    }()

    @Test(
        "a time that is said is kept to the nanosecond: start, event and end", arguments: TraceClockTests.explicitTable)
    func explicit(start: UInt64, end: UInt64) throws {
        let root = self.tracer.startSpan("root", context: .topLevel, at: instant(start))
        root.addEvent(SpanEvent(name: "event", at: instant(start)))
        let child = self.tracer.startSpan("child", context: root.context, at: instant(start))
        child.end(at: instant(end))
        root.end(at: instant(end))
        #expect(self.processor.spans.map(\.start) == [start, start])
        #expect(self.processor.spans.map(\.end) == [end, end])
        #expect(self.processor.spans.last?.events.map(\.nanosecondsSinceEpoch) == [start])
    }

    @Test("a time that is not said is now")
    func now() throws {
        let before = DefaultTracerClock.now.nanosecondsSinceEpoch
        self.tracer.startSpan("work", context: .topLevel).end()
        let after = DefaultTracerClock.now.nanosecondsSinceEpoch
        let span = try #require(self.processor.spans.first)
        // The clock of a trace was set at its beginning, which takes a moment.
        let moment: UInt64 = 1_000_000_000
        #expect((before - moment...after + moment).contains(span.start))
        #expect((before - moment...after + moment).contains(span.end))
    }

    @Test("the clock of a trace does not go back")
    func monotonic() {
        let clock = TraceClock()
        var last: UInt64 = 0
        for _ in 0..<10_000 {
            let time = clock.time(DefaultTracerClock.now.nanosecondsSinceEpoch)
            #expect(time >= last)
            last = time
        }
    }

    @Test("in a hundred traces of a hundred nested spans, no span leaves its parent's time")
    func nested() throws {
        let tracer = self.tracer
        func grow(_ name: String, in context: InstrumentationContext, _ width: [Int]) {
            let span = tracer.startSpan(name, context: context)
            for number in 0..<(width.first ?? 0) {
                grow("\(name).\(number)", in: span.context, Array(width.dropFirst()))
            }
            span.end()
        }
        for trace in 0..<100 { grow("\(trace)", in: .topLevel, [9, 10]) }

        let spans = self.processor.spans
        #expect(spans.count == 10_000)
        let byID = Dictionary(spans.map { ($0.context.spanID, $0) }, uniquingKeysWith: { $1 })
        for span in spans {
            #expect(span.start <= span.end)
            guard let id = span.parent?.spanID else { continue }
            let parent = try #require(byID[id])
            #expect(parent.start <= span.start, "\(span.name) began before \(parent.name)")
            #expect(span.end <= parent.end, "\(span.name) ended after \(parent.name)")
        }
    }

    @Test("siblings that follow each other do not overlap, and neither do events")
    func siblings() {
        let tracer = self.tracer
        let root = tracer.startSpan("root", context: .topLevel)
        for number in 0..<1_000 {
            let child = tracer.startSpan("\(number)", context: root.context)
            child.addEvent(SpanEvent(name: "first"))
            child.addEvent(SpanEvent(name: "second"))
            child.end()
        }
        root.end()
        var last: UInt64 = 0
        for child in self.processor.spans.dropLast() {
            let times = [child.start] + child.events.map(\.nanosecondsSinceEpoch) + [child.end]
            #expect(times.count == 4)
            for time in times {
                #expect(last <= time, "in span \(child.name): \(times)")
                last = time
            }
        }
    }

    @Test("a span goes on to end after its start where only its start was said")
    func mixed() throws {
        let now = DefaultTracerClock.now.nanosecondsSinceEpoch
        self.tracer.startSpan("begun an hour ago", context: .topLevel, at: instant(now - Self.hour)).end()
        self.tracer.startSpan("begins in an hour", context: .topLevel, at: instant(now + Self.hour)).end()
        let spans = self.processor.spans
        #expect(spans.map(\.start) == [now - Self.hour, now + Self.hour])
        #expect(spans[0].end >= now)
        #expect(spans[1].end == spans[1].start)
    }
}
