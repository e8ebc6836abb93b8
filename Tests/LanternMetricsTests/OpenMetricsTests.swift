import Foundation
import Synchronization
import Testing

@testable import LanternMetrics

extension MetricsRegistry {
    /// A whole scrape without collectors.
    func written(_ format: ExpositionFormat = .text) -> [UInt8] {
        let exposition = Exposition(registry: self, format: format, collected: SampleSink())
        var bytes: [UInt8] = []
        while let piece = exposition.next() { bytes += piece }
        return bytes
    }

    /// The lines of such a scrape that have a word in them.
    func exposed(_ word: String, as format: ExpositionFormat = .text) -> [String] {
        Self.lines(self.written(format)).filter { $0.contains(word) }
    }

    /// Lines end at a newline byte, wherever characters end.
    static func lines(_ bytes: [UInt8]) -> [String] {
        bytes.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    }
}

@Suite("OpenMetrics")
struct OpenMetricsTests {
    /// Without times of creation, so that a text is the same each time.
    private static var timeless: MetricsConfiguration {
        var configuration = MetricsConfiguration()
        configuration.showsCreated = false
        return configuration
    }

    @Test("an exposition ends with # EOF, and the older format knows none")
    func end() async {
        let registry = MetricsRegistry()
        let text = String(decoding: await registry.exposition(.openMetrics), as: UTF8.self)
        #expect(text.hasSuffix("\n# EOF\n"))
        #expect(text.components(separatedBy: "# EOF").count == 2)
        let older = String(decoding: await registry.exposition(.text), as: UTF8.self)
        #expect(!older.contains("# EOF"))
        #expect(older.hasSuffix("\n"))
    }

    @Test("a counter's family has no _total, its samples have; quotes in help are escaped here only")
    func counter() throws {
        let registry = MetricsRegistry(Self.timeless)
        let jobs = try registry.counter("jobs", "a\\b\n\"c\"", labels: Label<String>("queue"))
        jobs.with("a").increment(by: 3)
        jobs.with("b").increment(by: 0.5)
        #expect(
            registry.exposed("jobs", as: .openMetrics) == [
                #"# HELP jobs a\\b\n\"c\""#, "# TYPE jobs counter", #"jobs_total{queue="a"} 3"#,
                #"jobs_total{queue="b"} 0.5"#,
            ]
        )
        #expect(
            registry.exposed("jobs") == [
                #"# HELP jobs_total a\\b\n"c""#, "# TYPE jobs_total counter", #"jobs_total{queue="a"} 3"#,
                #"jobs_total{queue="b"} 0.5"#,
            ]
        )
    }

    @Test("a histogram says its unit")
    func histogram() throws {
        let registry = MetricsRegistry(Self.timeless)
        let work: Histogram = try registry.histogram("work_seconds", "Time of work.", buckets: [0.5, 1])
        work.observe(0.5)
        work.observe(.seconds(2))
        let samples = [
            #"work_seconds_bucket{le="0.5"} 1"#, #"work_seconds_bucket{le="1.0"} 1"#,
            #"work_seconds_bucket{le="+Inf"} 2"#, "work_seconds_sum 2.5", "work_seconds_count 2",
        ]
        let comments = ["# HELP work_seconds Time of work.", "# TYPE work_seconds histogram"]
        #expect(registry.exposed("work", as: .openMetrics) == comments + ["# UNIT work_seconds seconds"] + samples)
        #expect(registry.exposed("work") == comments + samples)
    }

    @Test(
        "a unit is what a name ends in, if it is one",
        arguments: [
            ("work_seconds", "seconds"), ("read_bytes_total", "bytes"), ("hit_ratio", "ratio"), ("jobs_total", nil),
            ("seconds", nil), ("seconds_left", nil), ("http.duration.seconds", nil),
        ] as [(String, String?)]
    )
    func unit(name: String, expected: String?) {
        let kind: MetricKind = name.hasSuffix("_total") ? .counter : .gauge
        #expect(MetricDeclaration(name, kind, "").unit == expected)
    }

    @Test("an information metric has the type info, and a gauge's in the older format")
    func info() async {
        var configuration = MetricsConfiguration()
        configuration.collectorTimeout = .seconds(30)
        let registry = MetricsRegistry(configuration)
        registry.collectInfo("target_info", help: "What runs.", labels: [("service.name", "order")])
        let sample = #"target_info{service_name="order"} 1"#
        let lines = MetricsRegistry.lines(await registry.exposition(.openMetrics)).filter { $0.contains("target") }
        #expect(lines == ["# HELP target What runs.", "# TYPE target info", sample])
        let older = MetricsRegistry.lines(await registry.exposition(.text)).filter { $0.contains("target") }
        #expect(older == ["# HELP target_info What runs.", "# TYPE target_info gauge", sample])
    }

    @Test("a counter and a histogram say when they began; a gauge does not, nor does the older format")
    func created() throws {
        let registry = MetricsRegistry()
        let before = WallClock.now()
        let jobs: Counter = try registry.counter("jobs", "Jobs.")
        let work: Histogram = try registry.histogram("work_seconds", "Time of work.")
        let depth: Gauge = try registry.gauge("depth", "Jobs that wait.")
        jobs.increment()
        work.observe(1)
        depth.set(1)
        let after = WallClock.now()
        for name in ["jobs_created", "work_seconds_created"] {
            let line = try #require(registry.exposed(name, as: .openMetrics).first)
            let began = try #require(Double(line.dropFirst(name.count + 1)), "\(line)")
            #expect(began >= before && began <= after)
        }
        #expect(registry.exposed("depth_created", as: .openMetrics).isEmpty)
        #expect(registry.exposed("_created").isEmpty)
    }

    @Test("times of creation can be left out")
    func uncreated() throws {
        let registry = MetricsRegistry(Self.timeless)
        let jobs: Counter = try registry.counter("jobs", "Jobs.")
        jobs.increment()
        #expect(registry.exposed("_created", as: .openMetrics).isEmpty)
    }

    @Test("with bounds below zero a sum can fall, so neither it nor the count is shown")
    func negativeBounds() throws {
        let registry = MetricsRegistry(Self.timeless)
        let drift: Histogram = try registry.histogram("drift", "Drift of clocks.", buckets: [-1, 0, 1])
        drift.observe(-2)
        drift.observe(0.5)
        let buckets = [
            #"drift_bucket{le="-1.0"} 1"#, #"drift_bucket{le="0.0"} 1"#, #"drift_bucket{le="1.0"} 2"#,
            #"drift_bucket{le="+Inf"} 2"#,
        ]
        // "If and only if a Sum Value is present" there is a _count (OpenMetrics 1.0, "Histogram").
        #expect(registry.exposed("drift_", as: .openMetrics) == buckets)
        #expect(registry.exposed("drift_") == buckets + ["drift_sum -1.5", "drift_count 2"])
    }

    @Test("a bound has one text, whatever the format: a series keeps its name")
    func bounds() throws {
        let registry = MetricsRegistry(Self.timeless)
        let work: Histogram = try registry.histogram("work", "Work.", buckets: [1e-9, 0.005, 1, 2.5, 10, 1e6, 1e20])
        work.observe(1)
        let expected = ["1e-09", "0.005", "1.0", "2.5", "10.0", "1000000.0", "1e+20", "+Inf"]
        for format in [ExpositionFormat.text, .openMetrics] {
            let bounds = registry.exposed("le=", as: format).compactMap { line in
                line.components(separatedBy: "le=\"").last.map { String($0.prefix { $0 != "\"" }) }
            }
            #expect(bounds == expected)
        }
    }

    @Test("numbers are written so that both formats read them back")
    func numbers() throws {
        let registry = MetricsRegistry(Self.timeless)
        let depth: Gauge = try registry.gauge("depth", "Depth.")
        let table: [(Double, String)] = [
            (.nan, "NaN"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (-0.0, "0"), (0.1, "0.1"), (-2.5, "-2.5"),
            (9_007_199_254_740_991, "9007199254740991"), (-9_007_199_254_740_991, "-9007199254740991"),
            (1e300, "1e+300"), (.leastNonzeroMagnitude, "5e-324"), (.leastNormalMagnitude, "2.2250738585072014e-308"),
            (.greatestFiniteMagnitude, "1.7976931348623157e+308"),
        ]
        for (value, text) in table {
            depth.set(value)
            #expect(registry.exposed("depth", as: .openMetrics).last == "depth \(text)")
            #expect(registry.exposed("depth").last == "depth \(text)")
        }
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<1_000 {
            let value = Double(bitPattern: generator.next())
            guard value.isFinite else { continue }
            depth.set(value)
            let line = try #require(registry.exposed("depth").last)
            #expect(Double(line.dropFirst("depth ".count)) == value)
        }
    }
}

@Suite("Exemplars")
struct ExemplarTests {
    private static let context = ExemplarContext(
        traceID: "4bf92f3577b34da6a3ce929d0e0e4736", spanID: "00f067aa0ba902b7"
    )

    /// The exemplar behind a line, without its time, which must be now.
    private func exemplar(_ line: String) throws -> String? {
        let halves = line.components(separatedBy: " # ")
        guard halves.count == 2, let blank = halves[1].lastIndex(of: " ") else { return nil }
        let time = try #require(Double(halves[1][blank...].dropFirst()), "\(line)")
        #expect(abs(time - WallClock.now()) < 60)
        return String(halves[1][..<blank])
    }

    @Test("buckets and counters name the span of an observation, with its value and time")
    func shown() throws {
        let registry = MetricsRegistry()
        registry.takeExemplars { Self.context }
        let jobs: Counter = try registry.counter("jobs", "Jobs.")
        let work: Histogram = try registry.histogram("work_seconds", "Time of work.", buckets: [0.5, 1])
        jobs.increment(by: 3)
        work.observe(0.25)
        work.observe(.milliseconds(750))
        work.observe(9)
        let span = #"{span_id="00f067aa0ba902b7",trace_id="4bf92f3577b34da6a3ce929d0e0e4736"}"#
        let counters = try registry.exposed("jobs_total", as: .openMetrics).map(self.exemplar)
        #expect(counters == ["\(span) 3"])
        let buckets = try registry.exposed("work_seconds_bucket", as: .openMetrics).map(self.exemplar)
        #expect(buckets == ["\(span) 0.25", "\(span) 0.75", "\(span) 9"])
        #expect(registry.exposed("trace_id").isEmpty)
    }

    @Test(
        "one exemplar is taken in an interval, and another one after it",
        arguments: [(.zero, 3), (.seconds(3_600), 1)] as [(Duration, Int)]
    )
    func interval(interval: Duration, second: Int) throws {
        var configuration = MetricsConfiguration()
        configuration.exemplarInterval = interval
        let registry = MetricsRegistry(configuration)
        registry.takeExemplars { Self.context }
        let jobs: Counter = try registry.counter("jobs", "Jobs.")
        func shown() throws -> String? {
            let line = registry.exposed("jobs_total", as: .openMetrics).first
            return try line.flatMap(self.exemplar)?.components(separatedBy: " ").last
        }
        jobs.increment(by: 1)
        jobs.increment(by: 2)
        #expect(try shown() == "1")
        jobs.increment(by: 3)
        #expect(try shown() == "\(second)")
    }

    @Test("an observation outside of a sampled span has none, and leaves the place to one inside")
    func unsampled() throws {
        let registry = MetricsRegistry()
        let isSampled = Atomic<Bool>(false)
        registry.takeExemplars { isSampled.load(ordering: .relaxed) ? Self.context : nil }
        let jobs: Counter = try registry.counter("jobs", "Jobs.")
        jobs.increment(by: 1)
        #expect(registry.exposed(" # ", as: .openMetrics).isEmpty)
        isSampled.store(true, ordering: .relaxed)
        jobs.increment(by: 2)
        let line = try #require(registry.exposed("jobs_total", as: .openMetrics).first)
        #expect(try self.exemplar(line)?.hasSuffix(" 2") == true)
    }
}
