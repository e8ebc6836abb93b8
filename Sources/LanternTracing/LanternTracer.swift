import Synchronization
public import Tracing

/// A swift-distributed-tracing backend: makes spans, hands the finished ones to a processor, and carries their context
/// across processes.
///
/// Bind it with `withTracer`, or bootstrap it; nothing global is needed. Safe from any thread.
///
/// A value with one reference, because swift-distributed-tracing casts its tracer for each span, and takes twice as long to
/// do so where it is a class.
public struct LanternTracer: Tracer {
    public typealias Span = LanternSpan

    private final class Parts: Sendable {
        let sampler: Sampler
        let processor: any SpanProcessor
        let limits: SpanLimits
        let tailKeep: TailKeep?
        let budget: TailBudget
        let propagation: Propagation
        let generator: Mutex<FastGenerator>

        init(
            _ sampler: Sampler, _ processor: any SpanProcessor, _ limits: SpanLimits, _ tailKeep: TailKeep?,
            _ propagation: Propagation
        ) {
            self.sampler = sampler
            self.processor = processor
            self.limits = limits
            self.tailKeep = tailKeep
            self.budget = TailBudget(tailKeep?.spans ?? TailKeep(slow: .zero).spans)
            self.propagation = propagation
            self.generator = Mutex(FastGenerator())
        }
    }

    private let parts: Parts

    /// - Parameters:
    ///   - processor: Receives each sampled span when it ends, on the thread that ends it.
    ///   - tailKeep: Which spans of other traces it receives as well.
    ///   - propagation: How context travels: W3C Trace Context and Baggage by default.
    public init(
        sampler: Sampler, processor: any SpanProcessor, limits: SpanLimits = SpanLimits(), tailKeep: TailKeep? = nil,
        propagation: Propagation = Propagation()
    ) {
        self.parts = Parts(sampler, processor, limits, tailKeep, propagation)
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
        let parts = self.parts
        let surrounding = context()
        let active = surrounding.activeSpan
        let parent = active?.spanContext
        let (traceID, spanID) = parts.generator.withLock { generator in
            (parent?.traceID ?? TraceID(nonZero: &generator), SpanID(nonZero: &generator))
        }
        var localParent: SpanRecording?
        var parentTail: TailBuffer?
        var isUndecided = false
        var isLocalRoot = true
        switch active {
        case .local(let span):
            localParent = span.recording
            parentTail = span.tail
            isLocalRoot = false
        case .remote(let remote): isUndecided = remote.isUndecided
        case nil: break
        }
        let isSampled = parts.sampler.samples(traceID, parent: isUndecided ? nil : parent)
        let own = SpanContext(
            traceID: traceID,
            spanID: spanID,
            // Our ids are random in all bits (level 2); a trace that others began keeps what they said of theirs.
            flags: (isSampled ? 1 : 0) | (parent.map { $0.flags & 0b10 } ?? 0b10),
            traceState: parent?.traceState ?? ""
        )
        var tail: TailBuffer?
        if !isSampled {
            guard let tailKeep = parts.tailKeep else { return LanternSpan(own, in: surrounding, nil) }
            tail =
                parentTail
                ?? TailBuffer(tailKeep, .unsampled, processor: parts.processor, budget: parts.budget)
        } else if let parentTail {
            tail = parentTail
        } else if active == nil, !surrounding.isEmpty, surrounding.isQuiet {
            tail = TailBuffer(TailKeep(slow: .seconds(1)), .quiet, processor: parts.processor, budget: parts.budget)
        }
        let clock = localParent?.clock ?? TraceClock()
        let recording = SpanRecording(
            name: operationName, kind: kind, parent: parent, start: clock.time(instant().nanosecondsSinceEpoch),
            clock: clock, limits: parts.limits, processor: parts.processor,
            // The first of a trace that is not sampled, where its parent is, is a root of its own.
            isLocalRoot: isLocalRoot || (tail != nil && parentTail == nil)
        )
        return LanternSpan(own, in: surrounding, recording, tail: tail)
    }

    public func activeSpan(identifiedBy context: InstrumentationContext) -> LanternSpan? {
        if case .local(let span) = context.activeSpan { return span }
        return nil
    }

    @available(*, deprecated)
    public func forceFlush() {}

    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        self.parts.propagation.extract(carrier, into: &context, using: extractor)
    }

    public func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        self.parts.propagation.inject(context, into: &carrier, using: injector)
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
