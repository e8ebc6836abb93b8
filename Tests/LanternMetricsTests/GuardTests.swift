import CoreMetrics
import LanternMetricsTesting
import Logging
import Synchronization
import Testing

@testable import LanternMetrics

/// What a registry told its logger.
private final class Notices: Sendable {
    private let kept = Mutex<[[String: String]]>([])

    /// The metadata of each line, as texts.
    var all: [[String: String]] { self.kept.withLock { $0 } }

    var logger: Logger { Logger(label: "test") { _ in Handler(notices: self) } }

    private struct Handler: LogHandler {
        let notices: Notices
        var metadata: Logger.Metadata = [:]
        var metadataProvider: Logger.MetadataProvider?
        var logLevel: Logger.Level = .trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let texts = (event.metadata ?? [:]).mapValues { "\($0)" }
            self.notices.kept.withLock { $0.append(texts) }
        }
    }
}

extension MetricsRegistry {
    fileprivate func snapshot() throws -> MetricsSnapshot {
        try MetricsSnapshot(text: String(decoding: self.written(), as: UTF8.self))
    }

    fileprivate func count(_ name: String, _ label: String, _ value: String, by amount: Int64 = 1) {
        self.makeCounter(label: name, dimensions: [(label, value)]).increment(by: amount)
    }
}

@Suite("What keeps a registry small")
struct GuardTests {
    private static func configuration(_ change: (inout MetricsConfiguration) -> Void) -> MetricsConfiguration {
        var configuration = MetricsConfiguration()
        change(&configuration)
        return configuration
    }

    @Test("an overflow names the metric and the label with the most values, once")
    func notice() {
        let notices = Notices()
        let registry = MetricsRegistry(Self.configuration { $0.seriesLimit = 6 }, logger: notices.logger)
        for number in 0..<20 {
            let dimensions = [("method", number % 2 == 0 ? "GET" : "POST"), ("path", "/\(number)"), ("zone", "eu")]
            registry.makeCounter(label: "hits", dimensions: dimensions).increment(by: 1)
        }
        #expect(notices.all == [["metric": "hits_total", "label": "path", "limit": "6"]])
    }

    @Test("a declaration may set its own limit")
    func declaredLimit() throws {
        let registry = MetricsRegistry(Self.configuration { $0.seriesLimit = 3 })
        registry.declare([
            MetricDeclaration("few_total", .counter, "Few.", labels: ["n"], seriesLimit: 2),
            MetricDeclaration("many_total", .counter, "Many.", labels: ["n"], seriesLimit: 50),
        ])
        for name in ["few", "many", "other"] {
            for number in 0..<50 { registry.count(name, "n", "\(number)") }
        }
        let snapshot = try registry.snapshot()
        #expect(snapshot.samples("few_total").count == 2 + 1)
        #expect(snapshot.samples("many_total").count == 50)
        #expect(snapshot.samples("other_total").count == 3 + 1)
        try snapshot.expectCounter("few_total", ["overflow": "true"], 48)
        try snapshot.expectCounter("other_total", ["overflow": "true"], 47)
        try snapshot.expectNone("many_total", ["overflow": "true"])
    }

    @Test("the limit of all metrics together holds, and what comes beyond it is counted in overflow series")
    func totalLimit() throws {
        let registry = MetricsRegistry(Self.configuration { $0.totalSeriesLimit = 20 })
        for name in ["a", "b", "c"] {
            for number in 0..<15 { registry.count(name, "n", "\(number)") }
        }
        let snapshot = try registry.snapshot()
        for name in ["a_total", "b_total", "c_total"] {
            #expect(snapshot.samples(name).map(\.value).reduce(0, +) == 15)
        }
        try snapshot.expectNone("a_total", ["overflow": "true"])
        // The registry's own two, 15 of the first metric and 3 of the second one.
        try snapshot.expectCounter("b_total", ["overflow": "true"], 12)
        try snapshot.expectCounter("c_total", ["overflow": "true"], 15)
        // Each metric that overflows has two more: that series, and the count of what went into it.
        #expect(registry.seriesCount == 20 + 2 * 2)
    }

    @Test("two hundred thousand values of one label stay a few thousand series", .timeLimit(.minutes(2)))
    func explosion() throws {
        let registry = MetricsRegistry()
        for number in 0..<10_000 { registry.count("hits", "path", "/\(number)") }
        let (series, bytes) = (registry.seriesCount, registry.cellBytes)
        // The registry's own two, the limit, the overflow series and its count.
        #expect(series == 2 + 2_000 + 2)
        for number in 10_000..<200_000 { registry.count("hits", "path", "/\(number)") }
        #expect(registry.seriesCount == series)
        // Pages of a second thread that this test moved to are all that may come.
        #expect(registry.cellBytes <= bytes * 2)
        try registry.snapshot().expectCounter("hits_total", ["overflow": "true"], 198_000)
    }

    // MARK: Idle series

    private static let forgetful = GuardTests.configuration {
        $0.idleLifetime = .seconds(60)
        $0.seriesLimit = 5_000
    }

    /// Sweeps as scrapes would, after each of so many lifetimes.
    private func pass(
        _ lifetimes: ClosedRange<Int>, _ registry: MetricsRegistry, since start: ContinuousClock.Instant
    ) {
        for lifetime in lifetimes { registry.sweep(now: start + .seconds(61 * lifetime)) }
    }

    @Test("a series that nobody holds or asks for is dropped, and comes back at 0")
    func idle() throws {
        let registry = MetricsRegistry(Self.forgetful)
        let start = ContinuousClock.now
        let held = registry.makeCounter(label: "hits", dimensions: [("path", "/held")])
        held.increment(by: 1)
        registry.count("hits", "path", "/asked")
        registry.count("hits", "path", "/idle", by: 5)
        let series = registry.seriesCount
        self.pass(1...1, registry, since: start)
        #expect(registry.seriesCount == series)
        registry.count("hits", "path", "/asked")
        self.pass(2...2, registry, since: start)
        held.increment(by: 1)
        let snapshot = try registry.snapshot()
        try snapshot.expectCounter("hits_total", ["path": "/held"], 2)
        try snapshot.expectCounter("hits_total", ["path": "/asked"], 2)
        try snapshot.expectNone("hits_total", ["path": "/idle"])
        registry.count("hits", "path", "/idle")
        try registry.snapshot().expectCounter("hits_total", ["path": "/idle"], 1)
    }

    @Test("a series is kept while it is held by another spelling of its labels, or as a typed metric")
    func heldOtherwise() throws {
        let registry = MetricsRegistry(Self.forgetful)
        let start = ContinuousClock.now
        let dimensions = [("a", "1"), ("b", "2")]
        registry.makeCounter(label: "hits", dimensions: dimensions).increment(by: 1)
        let held = registry.makeCounter(label: "hits_total", dimensions: dimensions.reversed())
        let typed = try registry.gauge("depth", "Depth.", labels: Label<String>("queue")).with("a")
        self.pass(1...4, registry, since: start)
        held.increment(by: 1)
        typed.set(3)
        try registry.snapshot().expectCounter("hits_total", ["a": "1", "b": "2"], 2)
        try registry.snapshot().expectGauge("depth", ["queue": "a"], 3)
    }

    @Test("a series is kept while it is held by a spelling of its labels that is one too many to be remembered")
    func heldUnremembered() throws {
        let registry = MetricsRegistry(
            Self.configuration {
                $0.idleLifetime = .seconds(60)
                $0.totalSeriesLimit = 4
            }
        )
        let start = ContinuousClock.now
        // All of them become a_b.
        for byte in UInt8(1)...40 { registry.count("hits", "a\(Unicode.Scalar(byte))b", "1") }
        let held = registry.makeCounter(label: "hits", dimensions: [("a~b", "1")])
        self.pass(1...3, registry, since: start)
        held.increment(by: 7)
        try registry.snapshot().expectCounter("hits_total", ["a_b": "1"], 47)
    }

    @Test("a series that was recorded into lately outlives its recorder, or its last steps were never seen")
    func recordedLately() throws {
        let registry = MetricsRegistry(Self.forgetful)
        let start = ContinuousClock.now
        do {
            let held = registry.makeCounter(label: "hits", dimensions: [])
            self.pass(1...3, registry, since: start)
            held.increment(by: 7)
        }
        self.pass(4...4, registry, since: start)
        try registry.snapshot().expectCounter("hits_total", [:], 7)
    }

    @Test("a scraper that does not read on cannot make the memory of dropped series grow")
    func stalledScraper() throws {
        let registry = MetricsRegistry(Self.forgetful)
        let start = ContinuousClock.now
        /// New series in each of so many lifetimes, of which those of earlier ones are idle.
        func churn(_ lifetimes: ClosedRange<Int>) {
            for lifetime in lifetimes {
                for index in 0..<1_000 { registry.count("hits", "path", "/\(lifetime)/\(index)") }
                self.pass(lifetime...lifetime, registry, since: start)
            }
        }
        let stalled = Exposition(registry: registry, format: .text, collected: SampleSink())
        churn(1...50)
        let series = registry.seriesCount
        let bytes = registry.cellBytes
        churn(51...150)
        #expect(registry.seriesCount == series)
        // Pages of a second thread that this test moved to are all that may come.
        #expect(registry.cellBytes <= bytes * 2)
        #expect(stalled.next() != nil)
        #expect(!registry.exposed("overflow=\"true\"").isEmpty)
    }

    @Test("buckets that are declared too late, because somebody records already, are told at once")
    func lateBuckets() throws {
        let registry = MetricsRegistry()
        registry.makeTimer(label: "work_seconds", dimensions: []).recordNanoseconds(1)
        #expect(throws: MetricsError.self) {
            _ = try registry.histogram("work_seconds", "Work.", buckets: [1], labels: Label<String>("queue"))
        }
        registry.makeMeter(label: "depth", dimensions: []).set(Int64(1))
        _ = try registry.gauge("depth", "Depth.", labels: Label<String>("queue"))
    }

    @Test("the registry's own counters stay: an alert on their increase needs them before the first one")
    func own() throws {
        let registry = MetricsRegistry(Self.forgetful)
        self.pass(1...3, registry, since: .now)
        let snapshot = try registry.snapshot()
        try snapshot.expectCounter("lantern_metrics_overflow_total", [:], 0)
        try snapshot.expectCounter("lantern_metrics_collector_failures_total", [:], 0)
    }

    @Test("without a lifetime nothing is dropped")
    func forever() throws {
        let registry = MetricsRegistry()
        registry.count("hits", "path", "/")
        self.pass(1...9, registry, since: .now)
        try registry.snapshot().expectCounter("hits_total", ["path": "/"], 1)
    }

    @Test("a scrape that runs shows what is dropped meanwhile as it was; then its cells are clean and used again")
    func runningScrape() throws {
        let registry = MetricsRegistry(Self.forgetful)
        let start = ContinuousClock.now
        let padding = String(repeating: "x", count: 100)
        for number in 0..<2_000 { registry.count("old", "n", "\(padding)\(number)", by: 7) }
        do {
            let scrape = Exposition(registry: registry, format: .text, collected: SampleSink())
            let unread = Exposition(registry: registry, format: .text, collected: SampleSink())
            // The first piece ends in the middle of the metric.
            var text = try #require(scrape.next())
            self.pass(1...2, registry, since: start)
            try registry.snapshot().expectNone("old_total")
            for number in 0..<500 { registry.count("new", "n", "\(number)", by: 1_000) }
            while let piece = scrape.next() { text += piece }
            let seen = try MetricsSnapshot(text: String(decoding: text, as: UTF8.self)).samples("old_total")
            #expect(seen.count == 2_000)
            #expect(seen.allSatisfy { $0.value == 7 })
            // One that had not begun with the metric may leave it out, and shows no other's numbers.
            var rest: [UInt8] = []
            while let piece = unread.next() { rest += piece }
            let late = try MetricsSnapshot(text: String(decoding: rest, as: UTF8.self)).samples("old_total")
            #expect(late.allSatisfy { $0.value == 7 })
        }
        let grown = registry.cellBytes
        for number in 0..<2_000 { _ = registry.makeCounter(label: "next", dimensions: [("n", "\(number)")]) }
        let next = try registry.snapshot().samples("next_total")
        #expect(next.count == 2_000)
        #expect(next.allSatisfy { $0.value == 0 })
        #expect(registry.cellBytes == grown)
    }
}
