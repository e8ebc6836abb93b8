import Synchronization
public import Tracing

/// A swift-distributed-tracing backend: makes spans, hands the finished ones to a processor, and carries their context
/// across processes by W3C Trace Context.
///
/// Bind it with `withTracer`; nothing global is needed. Safe from any thread.
public final class LanternTracer: Tracer {
    public typealias Span = LanternSpan

    private let sampler: Sampler
    private let processor: any SpanProcessor
    private let limits: SpanLimits
    private let generator: Mutex<FastGenerator>

    /// - Parameters:
    ///   - processor: Receives each sampled span when it ends, on the thread that ends it.
    public init(sampler: Sampler, processor: any SpanProcessor, limits: SpanLimits = SpanLimits()) {
        self.sampler = sampler
        self.processor = processor
        self.limits = limits
        self.generator = Mutex(FastGenerator())
    }

    public func startSpan<Instant: TracerInstant>(
        _ operationName: String,
        context: @autoclosure () -> InstrumentationContext,
        ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant,
        function: String,
        file fileID: String,
        line: UInt
    ) -> LanternSpan {
        var context = context()
        let parent = context.spanContext
        let (traceID, spanID) = self.generator.withLock { generator in
            (parent?.traceID ?? TraceID(nonZero: &generator), SpanID(nonZero: &generator))
        }
        let sampled = self.sampler.samples(traceID, parent: parent)
        let own = SpanContext(
            traceID: traceID,
            spanID: spanID,
            // Our ids are random in all bits (level 2); a trace that others began keeps what they said of theirs.
            flags: (sampled ? 1 : 0) | (parent.map { $0.flags & 0b10 } ?? 0b10),
            traceState: parent?.traceState ?? ""
        )
        context.spanContext = own
        return LanternSpan(
            name: operationName,
            kind: kind,
            context: context,
            spanContext: own,
            parent: parent,
            start: instant().nanosecondsSinceEpoch,
            limits: self.limits,
            processor: sampled ? self.processor : nil
        )
    }

    public func activeSpan(identifiedBy context: InstrumentationContext) -> LanternSpan? { nil }

    @available(*, deprecated)
    public func forceFlush() {}

    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        guard let traceparent = extractor.extract(key: "traceparent", from: carrier) else { return }
        context.spanContext = TraceContext.parse(
            traceparent: traceparent, tracestate: extractor.extract(key: "tracestate", from: carrier)
        )
    }

    public func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        guard let spanContext = context.spanContext else { return }
        injector.inject(TraceContext.traceparent(spanContext), forKey: "traceparent", into: &carrier)
        if !spanContext.traceState.isEmpty {
            injector.inject(spanContext.traceState, forKey: "tracestate", into: &carrier)
        }
    }
}

/// xoshiro256** (Blackman, Vigna), seeded from the system's cryptographic generator: ids must be unique, not secret.
struct FastGenerator: RandomNumberGenerator {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    init() {
        var system = SystemRandomNumberGenerator()
        self.state = (system.next(), system.next(), system.next(), system.next() | 1)
    }

    mutating func next() -> UInt64 {
        func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }
        let result = rotate(self.state.1 &* 5, 7) &* 9
        let shifted = self.state.1 << 17
        self.state.2 ^= self.state.0
        self.state.3 ^= self.state.1
        self.state.1 ^= self.state.2
        self.state.0 ^= self.state.3
        self.state.2 ^= shifted
        self.state.3 = rotate(self.state.3, 45)
        return result
    }
}
