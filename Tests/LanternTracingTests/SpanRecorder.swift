import LanternTracing
import LanternTracingTesting
import Testing
import Tracing

/// Makes spans with times of their own, in whole milliseconds.
struct SpanRecorder {
    private let processor = InMemorySpanProcessor()
    private let tracer: LanternTracer

    init() { self.tracer = LanternTracer(sampler: .alwaysOn, processor: self.processor) }

    var spans: CollectedSpans { CollectedSpans(self.processor.spans) }

    /// A span that has ended; others can be put below it all the same.
    @discardableResult
    func add(
        _ kind: SpanKind, _ name: String, below parent: LanternSpan? = nil, at start: UInt64 = 1,
        takes duration: UInt64 = 1, _ change: (LanternSpan) -> Void = { _ in }
    ) -> LanternSpan {
        let span = self.tracer.startSpan(
            name, context: parent?.context ?? .topLevel, ofKind: kind, at: Self.instant(start)
        )
        change(span)
        span.end(at: Self.instant(start + duration))
        return span
    }

    private static func instant(_ milliseconds: UInt64) -> DefaultTracerClock.Timestamp {
        DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: milliseconds * 1_000_000)
    }
}

/// What a mismatch says, where there must be one.
func mismatch(
    _ spans: CollectedSpans, sourceLocation: SourceLocation = #_sourceLocation,
    @TraceBuilder _ expected: () -> [ExpectedSpan]
) throws -> TraceMismatch {
    try #require(throws: TraceMismatch.self, sourceLocation: sourceLocation) { try spans.expectTrace(expected) }
}
