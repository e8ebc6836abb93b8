import LanternMetrics
import LanternMetricsTesting
import Testing

/// Gives the same numbers in each run (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Texts made of what formats stumble over.
enum HostileText {
    private static let pieces = [
        "\\", "\\\\", "\"", "\n", "\\n", "\r", "\r\n", "\0", "\t", " ", "{", "}", ",", "=", "#", "+Inf", "n", "é", "🏮",
        "👨‍👩‍👧‍👦", "🇩🇪", "\u{5E9}\u{5DC}", "\u{202E}", "\u{200F}", "\u{2028}", "\u{FEFF}", "\u{10FFFF}",
    ]

    /// At most `limit` pieces, perhaps none.
    static func random(using generator: inout SeededGenerator, limit: Int) -> String {
        let count = Int.random(in: 0...limit, using: &generator)
        return (0..<count).map { _ in self.pieces.randomElement(using: &generator) ?? "" }.joined()
    }
}

@Suite("A snapshot of what is exposed")
struct SnapshotTests {
    private static let text = """
        # HELP hits_total Requests # and more.
        # TYPE hits_total counter
        hits_total{method="GET",path="/"} 2
        hits_total{method="POST",path="/"} 3
        # TYPE depth gauge
        depth -1.5
        # TYPE ratio gauge
        ratio NaN
        # TYPE work_seconds histogram
        work_seconds_bucket{le="0.5"} 1
        work_seconds_bucket{le="+Inf"} 2
        work_seconds_sum 0.75
        work_seconds_count 2

        """

    /// What a mismatch says, or `nil` where there is none.
    private func mismatch(_ body: () throws -> Void) -> String? {
        do {
            try body()
            return nil
        } catch {
            return (error as? MetricsMismatch)?.description ?? "another error: \(error)"
        }
    }

    // MARK: Expectations

    @Test("what is as expected passes")
    func met() throws {
        let snapshot = try MetricsSnapshot(text: Self.text)
        try snapshot.expectCounter("hits_total", ["method": "GET"], 2)
        try snapshot.expectCounter("hits_total", ["method": "POST", "path": "/"], 3)
        try snapshot.expectGauge("depth", [:], -1.5)
        try snapshot.expectGauge("ratio", [:], .nan)
        try snapshot.expectHistogram("work_seconds", count: 2)
        try snapshot.expectHistogram("work_seconds", count: 2, sum: 0.75...0.75)
        try snapshot.expectNone("misses_total")
        try snapshot.expectNone("hits_total", ["method": "PUT"])
        #expect(
            snapshot.types == [
                "hits_total": "counter", "depth": "gauge", "ratio": "gauge", "work_seconds": "histogram",
            ]
        )
        #expect(snapshot.samples.count == 8)
    }

    @Test("what is not as expected says what there is instead")
    func unmet() throws {
        let snapshot = try MetricsSnapshot(text: Self.text)
        let get = #"hits_total{method="GET",path="/"} 2.0"#
        let post = #"hits_total{method="POST",path="/"} 3.0"#
        let table: [(String, () throws -> Void)] = [
            ("expected 4.0, found \(get)", { try snapshot.expectCounter("hits_total", ["method": "GET"], 4) }),
            (
                #"no series hits_total with ["method": "PUT"]; there are:"# + "\n  \(get)\n  \(post)",
                { try snapshot.expectCounter("hits_total", ["method": "PUT"], 1) }
            ),
            ("no series misses with [:]; there are:", { try snapshot.expectGauge("misses", [:], 1) }),
            (
                "2 series hits_total with [:]:\n  \(get)\n  \(post)",
                { try snapshot.expectCounter("hits_total", [:], 5) }
            ),
            ("depth is a gauge, not a counter", { try snapshot.expectCounter("depth", [:], -1.5) }),
            ("hits_total is a counter, not a gauge", { try snapshot.expectGauge("hits_total", [:], 2) }),
            ("depth is a gauge, not a histogram", { try snapshot.expectHistogram("depth", count: 1) }),
            (
                "expected 3.0, found work_seconds_count{} 2.0",
                { try snapshot.expectHistogram("work_seconds", count: 3) }
            ),
            (
                "the sum of work_seconds is 0.75, which is not in 1.0...2.0",
                { try snapshot.expectHistogram("work_seconds", count: 2, sum: 1...2) }
            ),
            (
                "there should be no such series:\n  \(get)",
                { try snapshot.expectNone("hits_total", ["method": "GET"]) }
            ),
        ]
        for (expected, body) in table {
            #expect(self.mismatch(body) == expected)
        }
    }

    // MARK: Differences

    @Test("a difference has what was added: counters and histograms as steps, gauges as they are, nothing that stayed")
    func difference() async throws {
        let registry = MetricsRegistry()
        let hits = try registry.counter("hits", "Hits.", labels: Label<String>("path"))
        let depth: Gauge = try registry.gauge("depth", "Depth.")
        let level: Gauge = try registry.gauge("level", "Level.")
        let work: Histogram = try registry.histogram("work_seconds", "Work.", buckets: [1])
        hits.with("/old").increment(by: 5)
        hits.with("/still").increment(by: 5)
        depth.set(3)
        level.set(7)
        work.observe(0.5)
        let before = try await MetricsSnapshot(registry)
        hits.with("/old").increment(by: 2)
        hits.with("/new").increment(by: 4)
        depth.set(1)
        work.observe(2)
        let difference = try await MetricsSnapshot(registry).difference(since: before)
        try difference.expectCounter("hits_total", ["path": "/old"], 2)
        try difference.expectCounter("hits_total", ["path": "/new"], 4)
        try difference.expectNone("hits_total", ["path": "/still"])
        try difference.expectGauge("depth", [:], 1)
        try difference.expectNone("level")
        try difference.expectHistogram("work_seconds", count: 1, sum: 2...2)
        // The observation lies above the bound, so that bucket did not change.
        #expect(difference.samples("work_seconds_bucket").map { $0.labels["le"] } == ["+Inf"])
    }

    @Test("a snapshot differs from itself in nothing")
    func same() throws {
        let text = Self.text.split(separator: "\n").filter { !$0.hasPrefix("ratio") }.joined(separator: "\n")
        let snapshot = try MetricsSnapshot(text: text)
        #expect(snapshot.difference(since: snapshot).samples == [])
    }

    // MARK: Reading

    @Test(
        "a line that is none is named",
        arguments: [
            "hits_total", "hits_total many", #"hits_total{path="/} 1"#, #"hits_total{path="/"}"#,
            #"hits_total{path="/"}1"#, #"hits_total{path=/} 1"#, #"hits_total{path="\x"} 1"#, #"hits_total{path} 1"#,
            #"hits_total{a="1";b="2"} 1"#, #"hits_total{a="1" 1"#, "hits_total{ 1",
        ]
    )
    func malformed(line: String) {
        let text = "# TYPE hits_total counter\nhits_total{path=\"/a\"} 1\n\(line)\n"
        let mismatch = self.mismatch { _ = try MetricsSnapshot(text: text) }
        #expect(mismatch?.hasSuffix(line) == true, "\(mismatch ?? "it was read")")
    }

    @Test("whatever a label's value holds, it is read back byte for byte")
    func hostileValues() throws {
        var generator = SeededGenerator(seed: 4)
        var values = (0..<300).map { _ in HostileText.random(using: &generator, limit: 10) }
        values.append(String(repeating: "\\\"\n", count: 3_500))
        values.append(String(repeating: "🏮", count: 2_500))
        for value in values where !value.isEmpty { try Self.expectReadBack(value) }
    }

    @Test(
        "a character that joins its neighbour is read back as well",
        arguments: [
            "\u{301}accent first", "\u{200D}", "\u{1F3FD}", "\\\u{301}", "\"\u{301}", "\n\u{301}", "last \u{600}",
            "\u{600}\"", "\u{600}\\", "\u{FE0F}",
        ]
    )
    func joining(value: String) throws {
        try Self.expectReadBack(value)
    }

    private static func expectReadBack(_ value: String) throws {
        let registry = MetricsRegistry()
        let hits = try registry.counter("hits", "Hits.", labels: Label<String>("path"), Label<String>("q"))
        hits.with(value, "1").increment(by: 7)
        let snapshot = try MetricsSnapshot(text: String(decoding: registry.written(), as: UTF8.self))
        let samples = snapshot.samples("hits_total")
        #expect(samples.map(\.value) == [7])
        // Not compared as texts, of which two can be equal that have other bytes.
        let read = samples.first?.labels["path"].map { Array($0.utf8) }
        #expect(read == Array(value.utf8), "\(value.debugDescription)")
        #expect(samples.first?.labels["q"] == "1")
    }

    @Test("a help text hides no line, whatever it ends in", arguments: ["\r", "\u{600}", "\\", "\n"])
    func help(end: String) throws {
        let registry = MetricsRegistry()
        let depth: Gauge = try registry.gauge("depth", "Depth\(end)")
        depth.set(1)
        let snapshot = try MetricsSnapshot(text: String(decoding: registry.written(), as: UTF8.self))
        #expect(snapshot.types["depth"] == "gauge")
        try snapshot.expectGauge("depth", [:], 1)
    }
}
