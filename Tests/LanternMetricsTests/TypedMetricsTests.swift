import LanternMetrics
import LanternMetricsTesting
import Testing

private enum Method: String, LabelValue {
    case get = "GET"
    case post = "POST"
}

/// A label value with a text of its own.
private enum Outcome: LabelValue {
    case done
    case failed(code: Int)

    var labelValue: String {
        switch self {
        case .done: "done"
        case .failed(let code): "failed_\(code)"
        }
    }
}

@Suite("Typed metrics")
struct TypedMetricsTests {
    private static func snapshot(_ registry: MetricsRegistry) throws -> MetricsSnapshot {
        try MetricsSnapshot(text: String(decoding: registry.written(), as: UTF8.self))
    }

    // MARK: Labels

    @Test("labels have the type of their values, in the order in which they were declared")
    func labels() throws {
        let registry = MetricsRegistry()
        let requests = try registry.counter(
            "requests", "Requests.", labels: Label<Method>("method"), Label<Int>("code"), Label<Bool>("cached")
        )
        requests.with(.get, 200, true).increment()
        requests.with(.get, 200, true).increment(by: 4)
        requests.with(.post, 503, false).increment(by: 0.5)
        let snapshot = try Self.snapshot(registry)
        try snapshot.expectCounter("requests_total", ["method": "GET", "code": "200", "cached": "true"], 5)
        try snapshot.expectCounter("requests_total", ["method": "POST", "code": "503", "cached": "false"], 0.5)
        #expect(snapshot.samples("requests_total").count == 2)
    }

    @Test("a value that is not there is no label; a type may write its own values")
    func optional() throws {
        let registry = MetricsRegistry()
        let work = try registry.histogram(
            "work_seconds", "Work.", buckets: [1], labels: Label<Outcome>("outcome"), Label<String?>("queue")
        )
        work.with(.done, nil).observe(0.5)
        work.with(.failed(code: 3), "a").observe(.milliseconds(1_500))
        let snapshot = try Self.snapshot(registry)
        try snapshot.expectHistogram("work_seconds", ["outcome": "done"], count: 1, sum: 0.5...0.5)
        try snapshot.expectHistogram("work_seconds", ["outcome": "failed_3", "queue": "a"], count: 1, sum: 1.5...1.5)
        #expect(snapshot.samples("work_seconds_count").first?.labels == ["outcome": "done"])
    }

    @Test("a gauge goes where it is set, and up and down from there")
    func gauge() throws {
        let registry = MetricsRegistry()
        let depth = try registry.gauge("depth", "Depth.", labels: Label<String>("queue"))
        let queue = depth.with("a")
        queue.set(10)
        queue.increment(by: 2.5)
        queue.increment()
        queue.decrement(by: 4)
        queue.decrement()
        try Self.snapshot(registry).expectGauge("depth", ["queue": "a"], 8.5)
        queue.set(Int.max)
        try Self.snapshot(registry).expectGauge("depth", ["queue": "a"], Double(Int.max))
    }

    @Test("a counter takes no step that is negative, or no number")
    func counter() throws {
        let registry = MetricsRegistry()
        let jobs: Counter = try registry.counter("jobs_total", "Jobs.")
        jobs.increment(by: 5)
        jobs.increment(by: -3)
        for step in [-0.5, .nan, .infinity, 0.25] as [Double] { jobs.increment(by: step) }
        try Self.snapshot(registry).expectCounter("jobs_total", [:], 5.25)
    }

    // MARK: Declarations

    @Test("the same declaration twice is the same metric")
    func again() throws {
        let registry = MetricsRegistry()
        for _ in 0..<2 {
            let jobs = try registry.counter("jobs", "Jobs.", labels: Label<String>("queue"))
            jobs.with("a").increment()
            let depth: Gauge = try registry.gauge("depth", "Depth.")
            depth.increment()
            let work: Histogram = try registry.histogram("work_seconds", "Work.", buckets: [1])
            work.observe(1)
        }
        let snapshot = try Self.snapshot(registry)
        try snapshot.expectCounter("jobs_total", ["queue": "a"], 2)
        try snapshot.expectGauge("depth", [:], 2)
        try snapshot.expectHistogram("work_seconds", count: 2, sum: 2...2)
    }

    /// What an error says it is.
    private func code(_ body: () throws -> Void) -> MetricsError.Code? {
        do {
            try body()
            return nil
        } catch {
            return (error as? MetricsError)?.code
        }
    }

    @Test("a name that Prometheus does not take is told at once", arguments: ["", "2xx", "a b", "a.b", "é", "a-b"])
    func names(name: String) {
        let registry = MetricsRegistry()
        #expect(self.code { let _: Counter = try registry.counter(name, "") } == .invalidName)
        #expect(self.code { let _: Gauge = try registry.gauge(name, "") } == .invalidName)
        #expect(self.code { let _: Histogram = try registry.histogram(name, "") } == .invalidName)
        #expect(self.code { _ = try registry.gauge("depth", "", labels: Label<String>(name)) } == .invalidLabel)
    }

    @Test("labels that have no name, a reserved one, or another's, are told at once")
    func labelNames() {
        let registry = MetricsRegistry()
        #expect(self.code { _ = try registry.gauge("a", "", labels: Label<Int>("b:c")) } == .invalidLabel)
        #expect(self.code { _ = try registry.gauge("a", "", labels: Label<Int>("__name__")) } == .invalidLabel)
        #expect(
            self.code { _ = try registry.gauge("a", "", labels: Label<Int>("b"), Label<Bool>("b")) } == .invalidLabel
        )
        #expect(self.code { _ = try registry.histogram("a", "", labels: Label<Int>("le")) } == .invalidLabel)
        #expect(self.code { _ = try registry.gauge("a", "", labels: Label<Int>("le")) } == nil)
    }

    @Test("bounds that are not finite, do not ascend or are too many are told at once")
    func bounds() {
        let registry = MetricsRegistry()
        var table: [[Double]] = [[1, 1], [2, 1], [.nan], [0, .infinity], [-.infinity, 0]]
        table.append((0..<257).map { Double($0) })
        for bounds in table {
            let code = self.code { let _: Histogram = try registry.histogram("work", "", buckets: bounds) }
            #expect(code == .invalidBuckets, "\(bounds)")
        }
    }

    @Test("bounds may be none, or as many as 256")
    func manyBounds() throws {
        let registry = MetricsRegistry()
        for (name, count) in [("none", 0), ("most", 256)] {
            let work: Histogram = try registry.histogram(name, "", buckets: (0..<count).map { Double($0) })
            work.observe(1_000)
            let snapshot = try Self.snapshot(registry)
            try snapshot.expectHistogram(name, count: 1)
            #expect(snapshot.samples(name + "_bucket").count == count + 1)
        }
    }

    @Test("another metric of the same name is told at once")
    func clash() throws {
        let registry = MetricsRegistry()
        _ = try registry.counter("jobs", "", labels: Label<String>("queue"))
        _ = try registry.histogram("work", "", buckets: [1, 2], labels: Label<String>("queue"))
        let others: [() throws -> Void] = [
            { let _: Counter = try registry.counter("jobs", "") },
            { _ = try registry.counter("jobs", "", labels: Label<String>("other")) },
            { let _: Gauge = try registry.gauge("jobs_total", "") },
            { _ = try registry.gauge("work", "", labels: Label<String>("queue")) },
            { _ = try registry.histogram("work", "", buckets: [1, 3], labels: Label<String>("queue")) },
            {
                _ = try registry.histogram("work", "", buckets: [1, 2], isNative: true, labels: Label<String>("queue"))
            },
        ]
        for other in others { #expect(self.code(other) == .clash) }
    }

    @Test("a metric whose name another one's samples bear is told at once, whichever comes first")
    func sampleNames() throws {
        for suffix in ["_count", "_sum", "_bucket", "_created"] {
            let first = MetricsRegistry()
            let _: Histogram = try first.histogram("work", "")
            #expect(self.code { let _: Gauge = try first.gauge("work" + suffix, "") } == .clash)
            let second = MetricsRegistry()
            let _: Gauge = try second.gauge("work" + suffix, "")
            #expect(self.code { let _: Histogram = try second.histogram("work", "") } == .clash)
        }
    }

    @Test("what was refused leaves nothing behind")
    func refused() throws {
        let registry = MetricsRegistry()
        let _: Gauge = try registry.gauge("work_count", "Count.")
        #expect(self.code { let _: Histogram = try registry.histogram("work", "Work.") } == .clash)
        #expect(!registry.declarations.contains { $0.name == "work" })
        #expect(self.code { let _: Gauge = try registry.gauge("work", "Work.") } == nil)
    }

    // MARK: Time

    private struct Refusal: Error {}

    @Test("a duration is observed when the work is done, also where it throws")
    func time() async throws {
        let registry = MetricsRegistry()
        let work: Histogram = try registry.histogram("work_seconds", "Work.")
        let answer = await work.time {
            await Task.yield()
            return 42
        }
        #expect(answer == 42)
        await #expect(throws: Refusal.self) {
            try await work.time { () async throws -> Void in throw Refusal() }
        }
        try Self.snapshot(registry).expectHistogram("work_seconds", count: 2, sum: 0...60)
    }

    @Test("a duration below zero, from a clock that was set back, counts as none; one of centuries does no harm")
    func extremes() async throws {
        let registry = MetricsRegistry()
        let work: Histogram = try registry.histogram("work_seconds", "Work.", buckets: [1])
        work.observe(.seconds(-5))
        work.observe(-5)
        work.observe(.nan)
        try Self.snapshot(registry).expectHistogram("work_seconds", count: 2, sum: 0...0)
        await #expect(processExitsWith: .success) {
            // The seconds fit into nanoseconds; with the rest they do not.
            let centuries = Duration(
                secondsComponent: 9_223_372_036, attosecondsComponent: 999_999_999_000_000_000
            )
            let work: Histogram = try MetricsRegistry().histogram("work_seconds", "Work.")
            work.observe(centuries)
        }
    }
}
