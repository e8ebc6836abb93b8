import BenchmarkSupport
import CoreMetrics
import LanternMetrics

/// Stands for the current span: a task-local value with a flag.
private enum CurrentSpan {
    struct Context: Sendable {
        var isSampled: Bool
    }

    @TaskLocal static var context: Context?
}

extension MetricsBenchmark {
    /// What exemplars and exponential buckets add to an observation.
    static func recordingMore() async {
        let count = 5_000_000
        func time(_ registry: MetricsRegistry, _ name: String) -> Double {
            let timer = Timer(label: name, dimensions: self.dimensions, factory: registry)
            return nanoseconds(count) { for index in 0..<$0 { timer.recordNanoseconds(Int64(index & 0xFFFF) << 12) } }
        }
        let plain = time(self.registry(), "bench_seconds")

        let withExemplars = self.registry()
        withExemplars.takeExemplars {
            guard let context = CurrentSpan.context, context.isSampled else { return nil }
            return ExemplarContext(
                traceID: String(repeating: "a", count: 32), spanID: String(repeating: "b", count: 16)
            )
        }
        let unsampled = CurrentSpan.$context.withValue(.init(isSampled: false)) { time(withExemplars, "bench_seconds") }
        Comparison(
            name: "exemplar-unsampled", ours: unsampled, baseline: plain, unit: "ns", what: "no exemplars; bar: 15 more"
        ).report()
        let sampled = CurrentSpan.$context.withValue(.init(isSampled: true)) { time(withExemplars, "bench_seconds") }
        Comparison(name: "exemplar-sampled", ours: sampled, baseline: plain, unit: "ns", what: "no exemplars").report()

        let native = self.registry()
        native.declare([
            MetricDeclaration("native_seconds", .histogram, "A timer.", buckets: self.elevenBuckets, isNative: true)
        ])
        Comparison(
            name: "native-histogram", ours: time(native, "native_seconds"), baseline: plain, unit: "ns",
            what: "classic buckets only"
        ).report()
    }

    /// The longest time between two increments of a thread that does nothing else, while another scrapes a million series
    /// without a pause.
    static func pausing() async {
        let registry = self.registry()
        for index in 0..<1_000_000 {
            registry.makeCounter(label: "bench", dimensions: [("id", "user-\(index)"), ("kind", "a")]).increment(by: 1)
        }
        func longest(while scraping: Bool) async -> Double {
            let scrapes = Task {
                while scraping, !Task.isCancelled {
                    let exposition = await registry.scrape(.text)
                    while exposition.next() != nil {}
                }
            }
            let recording = Task {
                let held = registry.makeCounter(label: "bench", dimensions: [("id", "user-0"), ("kind", "a")])
                let end = ContinuousClock.now + .seconds(2)
                var last = ContinuousClock.now
                var longest = Duration.zero
                var index = 0
                while last < end {
                    held.increment(by: 1)
                    // Every other by its name, which is where a lock could be waited for.
                    if index & 1 == 0 {
                        registry.makeCounter(label: "bench", dimensions: [("id", "user-7"), ("kind", "a")])
                            .increment(by: 1)
                    }
                    index += 1
                    let now = ContinuousClock.now
                    longest = max(longest, last.duration(to: now))
                    last = now
                }
                return longest.inNanoseconds / 1_000_000
            }
            let value = await recording.value
            scrapes.cancel()
            await scrapes.value
            return value
        }
        let alone = await longest(while: false)
        let scraped = await longest(while: true)
        Comparison(
            name: "longest-pause", ours: scraped, baseline: alone, unit: "ms",
            what: "the same without scrapes; bar: 10 ms"
        ).report()
    }

    /// A million label values thrown at one metric of a registry with its ordinary limits, and the memory of scrapes.
    static func exploding() async {
        let guarded = MetricsRegistry()
        let before = ProcessMemory.resident()
        let time = nanoseconds(1_000_000, rounds: 1) { count in
            for index in 0..<count {
                guarded.makeCounter(label: "bench", dimensions: [("user", "user-\(index)")]).increment(by: 1)
            }
        }
        let grown = (ProcessMemory.resident() - before) / 1_024
        print("explosion-1000000: \(guarded.seriesCount) series, \(grown) KiB more, \(Int(time)) ns each")

        let registry = self.registry()
        for index in 0..<100_000 {
            registry.makeCounter(label: "bench", dimensions: [("id", "user-\(index)"), ("kind", "a")]).increment(by: 1)
        }
        for format in [ExpositionFormat.text, .openMetrics, .protobuf] {
            let peak = ProcessMemory.peak()
            let exposition = await registry.scrape(format)
            var bytes = 0
            var largest = 0
            while let piece = exposition.next() {
                bytes += piece.count
                largest = max(largest, piece.count)
            }
            print(
                "scrape-memory \(format.kind): \(bytes / 1_024) KiB in pieces of at most \(largest / 1_024) KiB,"
                    + " the process grew by \((ProcessMemory.peak() - peak) / 1_024) KiB"
            )
        }
    }
}
