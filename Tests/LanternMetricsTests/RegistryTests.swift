import CoreMetrics
import Foundation
import Logging
import Synchronization
import Testing

@testable import LanternMetrics

extension MetricsRegistry {
    /// What a scrape shows, its collectors run in line.
    fileprivate var text: String {
        var collected = SampleSink()
        for collector in self.state.withLock({ $0.collectors }) { collector.collect(&collected) }
        let exposition = Exposition(registry: self, format: .text, collected: collected)
        var bytes: [UInt8] = []
        while let piece = exposition.next() { bytes += piece }
        return String(decoding: bytes, as: UTF8.self)
    }

    fileprivate var lines: [String] { self.text.split(separator: "\n").map { String($0) } }

    /// What stands behind a series, written as in the exposition: `hits_total{path="/"}`.
    fileprivate func value(_ series: String) -> String? {
        self.lines.first { $0.hasPrefix(series + " ") }.map { String($0.dropFirst(series.count + 1)) }
    }

    fileprivate func number(_ series: String) throws -> Double {
        let text = try #require(self.value(series), "no series \(series)")
        return try #require(Double(text))
    }
}

@Suite("Names and labels of the exposition")
struct ExpositionTests {
    @Test("the order of labels does not make a second series")
    func labelOrder() {
        let registry = MetricsRegistry()
        registry.makeCounter(label: "hits", dimensions: [("method", "GET"), ("code", "200")]).increment(by: 1)
        registry.makeCounter(label: "hits", dimensions: [("code", "200"), ("method", "GET")]).increment(by: 2)
        #expect(registry.lines.filter { $0.hasPrefix("hits_total") } == [#"hits_total{code="200",method="GET"} 3"#])
    }

    @Test("a label with an empty value is no label")
    func emptyLabel() {
        let registry = MetricsRegistry()
        registry.makeCounter(label: "hits", dimensions: [("error", ""), ("code", "200")]).increment(by: 1)
        registry.makeCounter(label: "hits", dimensions: [("code", "200")]).increment(by: 1)
        #expect(registry.lines.filter { $0.hasPrefix("hits_total") } == [#"hits_total{code="200"} 2"#])
    }

    @Test(
        "a gauge's name is made valid and is otherwise left alone",
        arguments: [
            ("queue_depth", "queue_depth"), ("http.server.active_requests", "http_server_active_requests"),
            ("2xx", "_2xx"), ("http2.streams", "http2_streams"), ("job:depth", "job:depth"), ("a b-c/d", "a_b_c_d"),
            ("é", "__"), ("", "_"), ("_", "_"), ("jobs_total", "jobs_total"),
        ]
    )
    func gaugeNames(raw: String, expected: String) {
        #expect(MetricName.family(raw, kind: .gauge) == expected)
    }

    @Test(
        "a counter's name ends in _total, once",
        arguments: [
            ("jobs", "jobs_total"), ("jobs_total", "jobs_total"), ("jobs.total", "jobs_total"), ("2xx", "_2xx_total"),
        ]
    )
    func counterNames(raw: String, expected: String) {
        #expect(MetricName.family(raw, kind: .counter) == expected)
    }

    @Test(
        "a label's name is made valid, and a colon is not",
        arguments: [("http.method", "http_method"), ("a:b", "a_b"), ("0", "_0"), ("le-gal", "le_gal")]
    )
    func labelNames(raw: String, expected: String) {
        let registry = MetricsRegistry()
        registry.makeMeter(label: "depth", dimensions: [(raw, "x")]).set(Double(1))
        #expect(registry.value("depth{\(expected)=\"x\"}") == "1")
    }

    @Test("two labels whose names become the same are not exposed twice: a scrape with such a line fails as a whole")
    func sameLabelTwice() {
        let registry = MetricsRegistry()
        registry.makeMeter(label: "depth", dimensions: [("http.code", "1"), ("http_code", "2")]).set(Double(1))
        let lines = registry.lines.filter { $0.hasPrefix("depth") }
        #expect(lines.count == 1)
        #expect(lines.allSatisfy { $0.components(separatedBy: "http_code=").count == 2 })
    }

    @Test("backslashes, quotes and newlines in label values are escaped, all else is as it was")
    func labelValues() {
        let registry = MetricsRegistry()
        registry.makeCounter(label: "paths", dimensions: [("path", "a\\b\"c\nd 🏮{}=,")]).increment(by: 1)
        #expect(registry.value(#"paths_total{path="a\\b\"c\nd 🏮{}=,"}"#) == "1")
    }

    @Test("help is written once, with backslashes and newlines escaped and quotes as they are")
    func help() {
        let registry = MetricsRegistry()
        registry.declare([MetricDeclaration("jobs_total", .counter, "a\\b\nc \"d\"")])
        registry.makeCounter(label: "jobs", dimensions: [("queue", "a")]).increment(by: 1)
        registry.makeCounter(label: "jobs", dimensions: [("queue", "b")]).increment(by: 1)
        let comments = registry.lines.filter { $0.hasPrefix("#") && $0.contains(" jobs_total ") }
        #expect(comments == [#"# HELP jobs_total a\\b\nc "d""#, "# TYPE jobs_total counter"])
    }

    @Test("numbers are written as the text format wants them")
    func numbers() {
        let registry = MetricsRegistry()
        let meter = registry.makeMeter(label: "depth", dimensions: [])
        let table: [(Double, String)] = [
            (0, "0"), (5, "5"), (-3, "-3"), (0.25, "0.25"), (1e15, "1000000000000000"), (1e300, "1e+300"),
            (.nan, "NaN"),
            (.infinity, "+Inf"), (-.infinity, "-Inf"),
        ]
        for (value, expected) in table {
            meter.set(value)
            #expect(registry.value("depth") == expected)
        }
    }

    @Test("families are in order of name, series in the order in which they came, at every scrape")
    func stableOrder() {
        let registry = MetricsRegistry()
        for name in ["zebra", "apple", "mango"] {
            for value in [3, 1, 2] {
                registry.makeCounter(label: name, dimensions: [("n", "\(value)")]).increment(by: 1)
            }
        }
        let types = registry.lines.filter { $0.hasPrefix("# TYPE") }
        #expect(types == types.sorted())
        // Three and those of the registry itself.
        #expect(types.count == 6)
        let apples = [#"apple_total{n="3"} 1"#, #"apple_total{n="1"} 1"#, #"apple_total{n="2"} 1"#]
        #expect(registry.lines.filter { $0.hasPrefix("apple") } == apples)
        registry.makeCounter(label: "apple", dimensions: [("n", "0")]).increment(by: 1)
        #expect(registry.lines.filter { $0.hasPrefix("apple") } == apples + [#"apple_total{n="0"} 1"#])
    }
}

@Suite("The metrics registry")
struct RegistryTests {
    @Test("a counter only goes up")
    func counter() {
        let registry = MetricsRegistry()
        let counter = registry.makeCounter(label: "jobs", dimensions: [])
        counter.increment(by: 5)
        counter.increment(by: -3)
        counter.increment(by: 0)
        #expect(registry.value("jobs_total") == "5")
    }

    @Test("a counter of fractions takes no step that is negative or not a number")
    func floatingPointCounter() {
        let registry = MetricsRegistry()
        let counter = registry.makeFloatingPointCounter(label: "spent", dimensions: [])
        let steps: [Double] = [0.5, 0.25, -1, .nan, .infinity]
        for step in steps { counter.increment(by: step) }
        #expect(registry.value("spent_total") == "0.75")
    }

    @Test("a gauge goes up and down")
    func meter() {
        let registry = MetricsRegistry()
        let meter = registry.makeMeter(label: "depth", dimensions: [])
        meter.set(Int64(10))
        meter.increment(by: 2.5)
        meter.decrement(by: 4)
        #expect(registry.value("depth") == "8.5")
    }

    @Test("a series outlives its handle: a new one goes on where the old one stopped")
    func destroyed() {
        let registry = MetricsRegistry()
        let counter = registry.makeCounter(label: "jobs", dimensions: [])
        counter.increment(by: 2)
        registry.destroyCounter(counter)
        registry.makeCounter(label: "jobs", dimensions: []).increment(by: 1)
        #expect(registry.value("jobs_total") == "3")
    }

    @Test("buckets are cumulative and include their bound, +Inf is the count, and the sum is exact")
    func histogram() {
        let registry = MetricsRegistry()
        registry.declare([MetricDeclaration("size", .histogram, "Sizes.", buckets: [1, 2, 5])])
        let recorder = registry.makeRecorder(label: "size", dimensions: [("kind", "a")], aggregate: true)
        let values: [Double] = [1, 2, 2.5, 5, 9]
        for value in values { recorder.record(value) }
        #expect(
            registry.lines.filter { $0.contains("size") } == [
                "# HELP size Sizes.",
                "# TYPE size histogram",
                #"size_bucket{kind="a",le="1.0"} 1"#,
                #"size_bucket{kind="a",le="2.0"} 2"#,
                #"size_bucket{kind="a",le="5.0"} 4"#,
                #"size_bucket{kind="a",le="+Inf"} 5"#,
                #"size_sum{kind="a"} 19.5"#,
                #"size_count{kind="a"} 5"#,
            ]
        )
    }

    @Test("a value that is no number is not observed, one beyond all bounds is")
    func extremeValues() {
        let registry = MetricsRegistry()
        registry.declare([MetricDeclaration("size", .histogram, "Sizes.", buckets: [1])])
        let recorder = registry.makeRecorder(label: "size", dimensions: [], aggregate: true)
        recorder.record(Double.nan)
        recorder.record(Double.infinity)
        recorder.record(-Double.greatestFiniteMagnitude)
        #expect(registry.value(#"size_bucket{le="1.0"}"#) == "1")
        #expect(registry.value(#"size_bucket{le="+Inf"}"#) == "2")
        #expect(registry.value("size_count") == "2")
    }

    @Test("a timer records seconds")
    func timer() {
        let registry = MetricsRegistry()
        registry.makeTimer(label: "work.duration.seconds", dimensions: []).recordNanoseconds(250_000_000)
        #expect(registry.value(#"work_duration_seconds_bucket{le="0.1"}"#) == "0")
        #expect(registry.value(#"work_duration_seconds_bucket{le="0.25"}"#) == "1")
        #expect(registry.value("work_duration_seconds_sum") == "0.25")
        #expect(registry.value("work_duration_seconds_count") == "1")
    }

    @Test("a recorder that does not aggregate keeps its last value")
    func lastValue() {
        let registry = MetricsRegistry()
        let recorder = registry.makeRecorder(label: "depth", dimensions: [], aggregate: false)
        recorder.record(Int64(7))
        recorder.record(2.5)
        #expect(registry.value("depth") == "2.5")
    }

    @Test("eight tasks that make and use the same recorders lose nothing")
    func concurrency() async {
        let registry = MetricsRegistry()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let counter = registry.makeCounter(label: "hits", dimensions: [("path", "/")])
                    let timer = registry.makeTimer(label: "work_seconds", dimensions: [])
                    let meter = registry.makeMeter(label: "depth", dimensions: [])
                    for _ in 0..<10_000 {
                        counter.increment(by: 1)
                        timer.recordNanoseconds(1_000_000_000)
                        meter.increment(by: 1)
                    }
                }
            }
        }
        #expect(registry.value(#"hits_total{path="/"}"#) == "80000")
        #expect(registry.value("work_seconds_count") == "80000")
        #expect(registry.value("work_seconds_sum") == "80000")
        #expect(registry.value("depth") == "80000")
    }

    @Test("a name used with two types neither crashes nor corrupts, and is told once")
    func clash() {
        let messages = Messages()
        let registry = MetricsRegistry(logger: messages.logger)
        registry.makeCounter(label: "jobs", dimensions: []).increment(by: 2)
        for _ in 0..<3 {
            registry.makeMeter(label: "jobs_total", dimensions: []).set(7.5)
            registry.makeTimer(label: "jobs_total", dimensions: []).recordNanoseconds(1_000)
            registry.makeRecorder(label: "jobs_total", dimensions: [], aggregate: true).record(1.5)
        }
        registry.makeCounter(label: "jobs", dimensions: []).increment(by: 1)
        #expect(registry.lines.filter { $0.contains("jobs") } == ["# TYPE jobs_total counter", "jobs_total 3"])
        #expect(messages.all.count == 1)
    }

    @Test("a histogram that is used as a counter keeps its buckets")
    func clashWithHistogram() {
        let registry = MetricsRegistry()
        registry.makeTimer(label: "work_total", dimensions: []).recordNanoseconds(1_000_000_000)
        registry.makeCounter(label: "work_total", dimensions: []).increment(by: 5)
        #expect(registry.value("work_total") == nil)
        #expect(registry.value("work_total_count") == "1")
        #expect(registry.value("work_total_sum") == "1")
    }

    private static var few: MetricsConfiguration {
        var configuration = MetricsConfiguration()
        configuration.seriesLimit = 3
        return configuration
    }

    @Test("beyond the limit, values go to one series, which is counted and told once; known series go on")
    func overflow() {
        let messages = Messages()
        let registry = MetricsRegistry(Self.few, logger: messages.logger)
        for number in 0..<10 {
            registry.makeCounter(label: "hits", dimensions: [("path", "/\(number)")]).increment(by: 1)
        }
        registry.makeCounter(label: "hits", dimensions: [("path", "/0")]).increment(by: 1)
        #expect(
            registry.lines.filter { $0.hasPrefix("hits_total") } == [
                #"hits_total{path="/0"} 2"#, #"hits_total{path="/1"} 1"#, #"hits_total{path="/2"} 1"#,
                #"hits_total{overflow="true"} 7"#,
            ]
        )
        #expect(registry.value(#"lantern_metrics_overflow_total{metric="hits_total"}"#) == "7")
        #expect(messages.all.count == 1)
    }

    @Test("the limit is each metric's own")
    func limitOfEach() {
        let registry = MetricsRegistry(Self.few)
        for name in ["a", "b"] {
            for number in 0..<3 {
                registry.makeMeter(label: name, dimensions: [("n", "\(number)")]).set(Double(number))
            }
        }
        #expect(!registry.text.contains("overflow=\"true\""))
        // Six, and the registry's own counters.
        #expect(registry.value("lantern_metrics_series") == "8")
    }

    @Test("a collector is asked at each scrape, and its samples join the families")
    func collectors() {
        let registry = MetricsRegistry()
        registry.declare([MetricDeclaration("lag", .gauge, "Records behind.")])
        let scrapes = Atomic<Int>(0)
        registry.collect("lag") { sink in
            let count = scrapes.add(1, ordering: .relaxed).newValue
            sink.add("lag", .gauge, labels: [("topic", "b")], value: Double(count))
            sink.add("lag", .gauge, labels: [("topic", "a")], value: 0.5)
        }
        #expect(registry.value(#"lag{topic="b"}"#) == "1")
        #expect(
            registry.lines.filter { $0.contains("lag") } == [
                "# HELP lag Records behind.", "# TYPE lag gauge", #"lag{topic="b"} 2"#, #"lag{topic="a"} 0.5"#,
            ]
        )
    }

    @Test("an information metric is 1 and says what runs")
    func info() {
        let registry = MetricsRegistry()
        registry.collectInfo("target_info", help: "Attributes.", labels: [("service.name", "order"), ("version", "1")])
        #expect(registry.value(#"target_info{service_name="order",version="1"}"#) == "1")
    }

    @Test("the process metrics are those of a living process")
    func process() throws {
        let registry = MetricsRegistry()
        registry.collectProcess()
        let resident = try registry.number("process_resident_memory_bytes")
        #expect(resident > 1_000_000)
        #expect(try registry.number("process_virtual_memory_bytes") >= resident)
        #expect(try registry.number("process_threads") >= 1)
        #expect(try registry.number("process_cpu_seconds_total") >= 0)
        let open = try registry.number("process_open_fds")
        #expect(open > 0)
        #expect(try registry.number("process_max_fds") >= open)
        let start = try registry.number("process_start_time_seconds")
        #expect(start > 0)
        #expect(start <= Date().timeIntervalSince1970 + 1)
    }
}

@Suite("gzip")
struct GzipTests {
    @Test("an exposition is smaller compressed, and gzip gives it back")
    func roundTrip() throws {
        let registry = MetricsRegistry()
        for number in 0..<500 {
            registry.makeCounter(label: "hits", dimensions: [("path", "/v1/\(number)")]).increment(by: Int64(number))
        }
        let text = Array(registry.text.utf8)
        let compressed = try Self.compress(text)
        #expect(compressed.count < text.count / 2)
        #expect(try Self.decompress(compressed) == text)
    }

    @Test("what does not shrink comes back as well", arguments: [0, 1, 1_000])
    func incompressible(count: Int) throws {
        let bytes = (0..<count).map { _ in UInt8.random(in: 0...255) }
        let compressed = try Self.compress(bytes)
        #expect(try Self.decompress(compressed) == bytes)
    }

    /// In three pieces.
    private static func compress(_ bytes: [UInt8]) throws -> [UInt8] {
        let gzip = try #require(GzipStream())
        let third = bytes.count / 3
        return gzip.compress(Array(bytes[..<third])) + gzip.compress(Array(bytes[third..<(third * 2)]))
            + gzip.compress(Array(bytes[(third * 2)...])) + gzip.compress(nil)
    }

    /// By the system's gzip, which knows nothing of ours. Both sides fit into a pipe's buffer, so neither waits.
    private static func decompress(_ bytes: [UInt8]) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["gzip", "-dc"]
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(bytes))
        try input.fileHandleForWriting.close()
        let decompressed = try output.fileHandleForReading.readToEnd()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return decompressed.map { Array($0) } ?? []
    }
}

/// What the registry told its logger.
private final class Messages: Sendable {
    private let kept = Mutex<[String]>([])

    var all: [String] { self.kept.withLock { $0 } }

    var logger: Logger {
        Logger(label: "test") { _ in Handler(messages: self) }
    }

    private struct Handler: LogHandler {
        let messages: Messages
        var metadata: Logger.Metadata = [:]
        var metadataProvider: Logger.MetadataProvider?
        var logLevel: Logger.Level = .trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            self.messages.kept.withLock { $0.append(event.message.description) }
        }
    }
}
