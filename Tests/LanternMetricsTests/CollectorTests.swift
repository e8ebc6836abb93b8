import Glibc
import LanternMetrics
import LanternMetricsTesting
import Synchronization
import Testing

/// Holds whoever waits until it is opened; half a minute at most, so that a test that fails also ends.
private final class Gate: Sendable {
    private let isOpened = Atomic<Bool>(false)

    var isOpen: Bool { self.isOpened.load(ordering: .acquiring) }

    func open() { self.isOpened.store(true, ordering: .releasing) }

    /// Blocks the thread.
    func wait() {
        let deadline = ContinuousClock.now + .seconds(30)
        while !self.isOpen, ContinuousClock.now < deadline { usleep(1_000) }
    }
}

@Suite("Collectors")
struct CollectorTests {
    private static let failures = "lantern_metrics_collector_failures_total"

    private static func registry(timeout: Duration) -> MetricsRegistry {
        var configuration = MetricsConfiguration()
        configuration.collectorTimeout = timeout
        return MetricsRegistry(configuration)
    }

    /// Waits until something is so, half a minute at most.
    private static func wait(_ what: String, until condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while try await !condition() {
            try #require(ContinuousClock.now < deadline, "waited for: \(what)")
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    /// The sample lines of a scrape that have a word in them.
    private static func lines(_ registry: MetricsRegistry, _ word: String) async -> [String] {
        MetricsRegistry.lines(await registry.exposition()).filter { $0.contains(word) && !$0.hasPrefix("#") }
    }

    @Test("one that blocks does not hold the scrape, is not started twice, and comes back", .timeLimit(.minutes(2)))
    func blocked() async throws {
        let registry = Self.registry(timeout: .milliseconds(50))
        let gate = Gate()
        defer { gate.open() }
        let runs = SharedCount()
        registry.collect("slow") { sink in
            runs.add()
            gate.wait()
            sink.add("slow_value", .gauge, value: 1)
        }
        // That this ends, and the gate is closed still, is what is tested.
        let first = try await MetricsSnapshot(registry)
        #expect(!gate.isOpen)
        try first.expectNone("slow_value")
        try first.expectCounter(Self.failures, ["collector": "slow"], 1)
        try await Self.wait("the collector to begin") { runs.value == 1 }

        let second = try await MetricsSnapshot(registry)
        try second.expectNone("slow_value")
        try second.expectCounter(Self.failures, ["collector": "slow"], 2)
        #expect(runs.value == 1)

        gate.open()
        try await Self.wait("its sample") { try await !MetricsSnapshot(registry).samples("slow_value").isEmpty }
        #expect(runs.value > 1)
    }

    @Test("one that blocks takes nothing from the others", .timeLimit(.minutes(2)))
    func others() async throws {
        let registry = Self.registry(timeout: .milliseconds(500))
        let gate = Gate()
        defer { gate.open() }
        registry.collect("slow") { _ in gate.wait() }
        registry.collect("quick") { sink in sink.add("quick_value", .gauge, value: 1) }
        try await Self.wait("the quick one") { try await !MetricsSnapshot(registry).samples("quick_value").isEmpty }
        #expect(!gate.isOpen)
    }

    @Test("two scrapes at once, as of two Prometheus servers, both have its samples", .timeLimit(.minutes(2)))
    func twice() async throws {
        let registry = Self.registry(timeout: .seconds(20))
        let gate = Gate()
        defer { gate.open() }
        let runs = SharedCount()
        registry.collect("slow") { sink in
            runs.add()
            gate.wait()
            sink.add("slow_value", .gauge, value: 1)
        }
        async let first = MetricsSnapshot(registry)
        try await Self.wait("the collector to begin") { runs.value == 1 }
        async let second = MetricsSnapshot(registry)
        // A second scrape has time to begin; where it has not, it finds the collector at rest.
        for _ in 0..<1_000 { await Task.yield() }
        gate.open()
        for snapshot in try await [first, second] {
            try snapshot.expectGauge("slow_value", [:], 1)
            try snapshot.expectNone(Self.failures, ["collector": "slow"])
        }
    }

    @Test("samples stand in the order of their collectors, each time")
    func order() async throws {
        let registry = Self.registry(timeout: .seconds(20))
        for collector in 0..<8 {
            registry.collect("collector \(collector)") { sink in
                // Who is last in order is first to end.
                usleep(UInt32(8 - collector) * 1_000)
                for number in 0..<3 {
                    sink.add("lag", .gauge, labels: [("n", "\(collector).\(number)")], value: Double(collector))
                }
            }
        }
        let expected = (0..<8).flatMap { collector in
            (0..<3).map { number in "lag{n=\"\(collector).\(number)\"} \(collector)" }
        }
        for _ in 0..<5 {
            let lines = await Self.lines(registry, "lag")
            #expect(lines == expected)
        }
    }

    @Test("one cannot change the type of a metric: neither of a recorder's nor of another collector's")
    func types() async throws {
        let registry = Self.registry(timeout: .seconds(20))
        let jobs = try registry.counter("jobs", "Jobs.", labels: Label<String>("queue"))
        jobs.with("a").increment(by: 3)
        registry.collect("first") { sink in
            sink.add("jobs_total", .gauge, value: 7)
            sink.add("drops", .counter, value: 2)
        }
        registry.collect("second") { sink in
            sink.add("drops_total", .gauge, value: 9)
            sink.add("drops_total", .counter, labels: [("topic", "t")], value: 4)
        }
        registry.collect("third") { sink in
            sink.add("drops_total", .counter, labels: [("topic", "u")], value: 5)
        }
        let snapshot = try await MetricsSnapshot(registry)
        #expect(snapshot.types["jobs_total"] == "counter")
        #expect(snapshot.samples("jobs_total").map(\.value) == [3])
        #expect(snapshot.types["drops_total"] == "counter")
        #expect(snapshot.samples("drops_total").map(\.value) == [2, 5])
    }

    @Test("names and labels of samples are made valid, as those of recorders are")
    func names() async {
        let registry = Self.registry(timeout: .seconds(20))
        registry.collect("lag") { sink in
            sink.add("consumer.lag", .counter, labels: [("topic.name", "a\"b"), ("empty", "")], value: 2.5)
        }
        let lines = await Self.lines(registry, "consumer")
        #expect(lines == [#"consumer_lag_total{topic_name="a\"b"} 2.5"#])
    }
}
