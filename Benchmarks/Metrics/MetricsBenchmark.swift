import BenchmarkSupport
import CoreMetrics
import LanternMetrics

@main
struct MetricsBenchmark {
    static let elevenBuckets: [Double] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    static let dimensions = [
        ("http_request_method", "GET"), ("http_route", "/v1/orders/{id}"), ("http_response_status_code", "200"),
        ("url_scheme", "http"),
    ]

    static func registry() -> MetricsRegistry {
        var configuration = MetricsConfiguration()
        configuration.seriesLimit = .max
        configuration.totalSeriesLimit = .max
        let registry = MetricsRegistry(configuration)
        registry.declare([MetricDeclaration("bench_seconds", .histogram, "A timer.", buckets: Self.elevenBuckets)])
        return registry
    }

    static func main() async {
        // First, while the process is small.
        await self.exploding()
        await self.recording()
        await self.recordingMore()
        self.lookingUp()
        self.registering()
        await self.scraping()
        await self.growing()
        await self.pausing()
    }

    // MARK: Recording

    static func recording() async {
        let ours = self.registry()
        let baseline = BaselineRegistry()
        let count = 10_000_000
        let factories: [any MetricsFactory] = [ours, baseline]
        let counters = factories.map { Counter(label: "bench", dimensions: self.dimensions, factory: $0) }
        let one = counters.map { counter in nanoseconds(count) { for _ in 0..<$0 { counter.increment() } } }
        Comparison(name: "counter-1-thread", ours: one[0], baseline: one[1], unit: "ns", what: "mutex").report()
        var two: [Double] = []
        for counter in counters {
            let counter = UncheckedBox(counter)
            two.append(await nanoseconds(threads: 2, count) { for _ in 0..<$0 { counter.value.increment() } })
        }
        Comparison(name: "counter-2-threads", ours: two[0], baseline: two[1], unit: "ns", what: "mutex").report()

        let timers = factories.map { Timer(label: "bench_seconds", dimensions: self.dimensions, factory: $0) }
        @Sendable func record(_ timer: Timer, _ count: Int) {
            var duration: Int64 = 1
            for _ in 0..<count {
                // Values of all buckets in no order that a branch predictor could learn.
                duration = (duration &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407)
                timer.recordNanoseconds((duration >> 1) & 0x3_FFFF_FFFF)
            }
        }
        let oneTimer = timers.map { timer in nanoseconds(count / 4) { record(timer, $0) } }
        Comparison(
            name: "timer-1-thread", ours: oneTimer[0], baseline: oneTimer[1], unit: "ns", what: "mutex, Duration"
        ).report()
        var twoTimers: [Double] = []
        for timer in timers {
            let timer = UncheckedBox(timer)
            twoTimers.append(await nanoseconds(threads: 2, count / 4) { record(timer.value, $0) })
        }
        Comparison(
            name: "timer-2-threads", ours: twoTimers[0], baseline: twoTimers[1], unit: "ns", what: "mutex, Duration"
        ).report()
    }

    // MARK: Looking up and registering

    static func lookingUp() {
        let ours = self.registry()
        let baseline = BaselineRegistry()
        for (name, label) in [
            ("lookup-4-labels", "http_server_requests"), ("lookup-dotted-name", "http.server.requests"),
        ] {
            let dimensions =
                name == "lookup-dotted-name"
                ? self.dimensions.map { ($0.0.split(separator: "_").joined(separator: "."), $0.1) } : self.dimensions
            let factories: [any MetricsFactory] = [ours, baseline]
            let times = factories.map { factory in
                nanoseconds(200_000) {
                    for _ in 0..<$0 { Counter(label: label, dimensions: dimensions, factory: factory).increment() }
                }
            }
            Comparison(name: name, ours: times[0], baseline: times[1], unit: "ns", what: "mutex and dictionary")
                .report()
        }
    }

    static func registering() {
        for count in [10_000, 100_000] {
            let labels = (0..<count).map { [("id", "user-\($0)"), ("kind", "a")] }
            func time(_ make: () -> any MetricsFactory) -> Double {
                var best = Double.infinity
                for _ in 0..<3 {
                    let factory = make()
                    let duration = ContinuousClock().measure {
                        for dimensions in labels { _ = factory.makeCounter(label: "bench", dimensions: dimensions) }
                    }
                    best = min(best, duration.inNanoseconds / 1_000_000)
                }
                return best
            }
            Comparison(
                name: "register-\(count)", ours: time { self.registry() }, baseline: time { BaselineRegistry() },
                unit: "ms",
                what: "mutex and dictionary"
            ).report()
        }
    }

    // MARK: Scraping

    static func scraping() async {
        for (name, count, isTimer) in [
            ("scrape-10000-counters", 10_000, false), ("scrape-100000-counters", 100_000, false),
            ("scrape-10000-histograms", 10_000, true),
        ] {
            let ours = self.registry()
            let baseline = BaselineRegistry()
            for factory in [ours, baseline] as [any MetricsFactory] {
                for index in 0..<count {
                    let labels = [("id", "user-\(index)"), ("kind", "a")]
                    if isTimer {
                        Timer(label: "bench_seconds", dimensions: labels, factory: factory)
                            .recordNanoseconds(Int64(index) * 100_000)
                    } else {
                        Counter(label: "bench", dimensions: labels, factory: factory).increment(by: index)
                    }
                }
            }
            var best = Double.infinity
            var size = 0
            for _ in 0..<10 {
                let start = ContinuousClock.now
                let exposition = await ours.scrape(.text)
                size = 0
                while let piece = exposition.next() { size += piece.count }
                best = min(best, start.duration(to: .now).inNanoseconds / 1_000_000)
            }
            var bytes = 0
            let other = nanoseconds(1, rounds: 5) { _ in bytes = baseline.exposition().count } / 1_000_000
            Comparison(
                name: name, ours: best, baseline: other, unit: "ms",
                what: "string interpolation; \(size / 1_024) KiB, theirs \(bytes / 1_024)"
            ).report()
        }
    }

    /// What one series costs at a scrape, few against many.
    static func growing() async {
        var costs: [Double] = []
        for count in [1_000, 1_000_000] {
            let registry = self.registry()
            let before = ProcessMemory.resident()
            for index in 0..<count {
                registry.makeCounter(label: "bench", dimensions: [("id", "user-\(index)"), ("kind", "a")]).increment(
                    by: 1)
            }
            let memory = Double(ProcessMemory.resident() - before) / Double(count)
            var best = Double.infinity
            for _ in 0..<5 {
                let start = ContinuousClock.now
                let exposition = await registry.scrape(.text)
                while exposition.next() != nil {}
                best = min(best, start.duration(to: .now).inNanoseconds / Double(count))
            }
            costs.append(best)
            print("series-\(count): \(Int(best)) ns each at a scrape, \(Int(memory)) bytes of memory each")
        }
        Comparison(
            name: "scrape-cost-1M-vs-1k", ours: costs[1], baseline: costs[0], unit: "ns",
            what: "the same with 1,000 series"
        ).report()
    }
}

/// A swift-metrics object in two tasks: its handler is safe from any thread, the class is not marked so.
struct UncheckedBox<Value>: @unchecked Sendable {
    var value: Value

    init(_ value: Value) { self.value = value }
}
