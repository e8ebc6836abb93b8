import BenchmarkSupport
import LanternTracing
import Tracing

/// Spans as instrumented code makes them: `withSpan` on the task-local tracer, five attributes, beside a tracer that does
/// nothing.
@main
struct TracingBenchmark {
    static func main() async {
        let queue = Counting()
        let sampled = LanternTracer(sampler: .alwaysOn, processor: queue)
        let unsampled = LanternTracer(sampler: .parentBased(root: .alwaysOff), processor: queue)
        let tail = LanternTracer(
            sampler: .parentBased(root: .alwaysOff), processor: queue, tailKeep: TailKeep(slow: .seconds(1))
        )
        let nothing = NoOpTracer()

        // For a profiler: one of them alone.
        switch CommandLine.arguments.dropFirst().first {
        case "--profile-sampled": return withTracer(sampled) { Self.roots(5_000_000) }
        case "--profile-unsampled": return withTracer(unsampled) { Self.roots(5_000_000) }
        case "--profile-propagation": return Self.propagation(sampled)
        default: break
        }

        let count = 200_000
        func root(_ tracer: any Tracer) -> Double { withTracer(tracer) { nanoseconds(count) { Self.roots($0) } } }
        func child(_ tracer: any Tracer) -> Double { withTracer(tracer) { nanoseconds(count) { Self.children($0) } } }
        let floor = root(nothing)
        Comparison(
            name: "span-sampled-5-attributes", ours: root(sampled), baseline: floor, unit: "ns",
            what: "NoOpTracer; bar: 2.5 times as long"
        ).report()
        Comparison(
            name: "span-unsampled-5-attributes", ours: root(unsampled), baseline: floor, unit: "ns",
            what: "NoOpTracer; bar: 1.2 times as long"
        ).report()
        Comparison(
            name: "span-carrying-one-value", ours: root(CarryingTracer()), baseline: floor, unit: "ns",
            what: "NoOpTracer; the least that a tracer takes whose context holds anything"
        ).report()
        Comparison(
            name: "span-tail-held-5-attributes", ours: root(tail), baseline: floor, unit: "ns", what: "NoOpTracer"
        ).report()
        let childFloor = child(nothing)
        Comparison(
            name: "child-sampled-5-attributes", ours: child(sampled), baseline: childFloor, unit: "ns",
            what: "NoOpTracer"
        ).report()
        Comparison(
            name: "child-unsampled-5-attributes", ours: child(unsampled), baseline: childFloor, unit: "ns",
            what: "NoOpTracer"
        ).report()
        await Self.asynchronous(sampled, nothing)
        Self.propagation(sampled)
    }

    @inline(never)
    static func roots(_ count: Int) {
        for index in 0..<count {
            withSpan("SELECT product", context: .topLevel, ofKind: .client) { Self.describe($0, index) }
        }
    }

    @inline(never)
    static func children(_ count: Int) {
        withSpan("GET /v1/orders/{id}", context: .topLevel, ofKind: .server) { _ in
            for index in 0..<count { withSpan("SELECT product", ofKind: .client) { Self.describe($0, index) } }
        }
    }

    @inline(never)
    static func describe(_ span: any Span, _ index: Int) {
        span.attributes["db.system.name"] = "postgresql"
        span.attributes["db.namespace"] = "order"
        span.attributes["db.operation.name"] = "SELECT"
        span.attributes["db.collection.name"] = "product"
        span.attributes["db.response.returned_rows"] = index
    }

    static func asynchronous(_ ours: LanternTracer, _ theirs: NoOpTracer) async {
        var times: [Double] = []
        for tracer in [ours, theirs] as [any Tracer] {
            var best = Double.infinity
            for _ in 0..<5 {
                let start = ContinuousClock.now
                await withTracer(tracer) {
                    for index in 0..<200_000 {
                        await withSpan("work", context: .topLevel) { span in
                            Self.describe(span, index)
                            await Task {}.value
                        }
                    }
                }
                best = min(best, start.duration(to: .now).inNanoseconds / 200_000)
            }
            times.append(best)
        }
        Comparison(
            name: "span-async-5-attributes", ours: times[0], baseline: times[1], unit: "ns",
            what: "NoOpTracer; both with one task each"
        ).report()
    }

    static func propagation(_ tracer: LanternTracer) {
        func time<Some: Tracer>(_ tracer: Some) -> Double {
            let span = tracer.startSpan("root", context: .topLevel)
            defer { span.end() }
            let context = span.context
            let carrier = Fields()
            return nanoseconds(1_000_000) { count in
                for _ in 0..<count {
                    var fields = Fields()
                    tracer.inject(context, into: &fields, using: carrier)
                    var received = InstrumentationContext.topLevel
                    tracer.extract(fields, into: &received, using: carrier)
                }
            }
        }
        Comparison(
            name: "inject-extract", ours: time(tracer), baseline: time(CarryingTracer()), unit: "ns",
            what: "one value in and out of a context, unread; bar: 200 ns"
        ).report()
    }
}

/// Does nothing but put one value into a context: what every tracer must do that hands anything on.
struct CarryingTracer: Tracer {
    private enum Key: InstrumentationContextKey {
        typealias Value = String
    }

    func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> NoOpTracer.NoOpSpan {
        var context = context()
        context[Key.self] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        return NoOpTracer.NoOpSpan(context: context)
    }

    func activeSpan(identifiedBy context: InstrumentationContext) -> NoOpTracer.NoOpSpan? { nil }

    @available(*, deprecated)
    func forceFlush() {}

    func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        if let value = context[Key.self] { injector.inject(value, forKey: "traceparent", into: &carrier) }
    }

    func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        if let value = extractor.extract(key: "traceparent", from: carrier) { context[Key.self] = value }
    }
}

/// The fields of a message, without what a dictionary costs.
struct Fields: Injector, Extractor {
    var traceparent: String?
    var tracestate: String?

    func inject(_ value: String, forKey key: String, into carrier: inout Fields) {
        switch key {
        case "traceparent": carrier.traceparent = value
        case "tracestate": carrier.tracestate = value
        default: break
        }
    }

    func extract(key: String, from carrier: Fields) -> String? {
        switch key {
        case "traceparent": carrier.traceparent
        case "tracestate": carrier.tracestate
        default: nil
        }
    }
}

/// Takes spans as a queue would, and forgets them.
struct Counting: SpanProcessor {
    func process(_ span: FinishedSpan) {}
}
