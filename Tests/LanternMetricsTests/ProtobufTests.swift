import Glibc
import Testing

@testable import LanternMetrics

/// A protobuf message taken apart, by code that knows nothing of the encoder (protobuf.dev, "Encoding").
struct WireMessage {
    struct Malformed: Error {}

    private var numbers: [Int: [UInt64]] = [:]
    private var doubles: [Int: [Double]] = [:]
    private var bytes: [Int: [ArraySlice<UInt8>]] = [:]

    init(_ message: ArraySlice<UInt8>) throws {
        var rest = message
        while !rest.isEmpty {
            let key = try Self.varint(&rest)
            let field = Int(key >> 3)
            switch key & 7 {
            case 0: self.numbers[field, default: []].append(try Self.varint(&rest))
            case 1:
                let bits = try Self.take(8, &rest).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                self.doubles[field, default: []].append(Double(bitPattern: bits))
            case 2:
                let count = Int(try Self.varint(&rest))
                self.bytes[field, default: []].append(try Self.take(count, &rest))
            default: throw Malformed()
            }
        }
    }

    /// Messages with their length in front of each.
    static func delimited(_ stream: [UInt8]) throws -> [WireMessage] {
        var rest = stream[...]
        var messages: [WireMessage] = []
        while !rest.isEmpty {
            let count = Int(try Self.varint(&rest))
            messages.append(try WireMessage(Self.take(count, &rest)))
        }
        return messages
    }

    private static func take(_ count: Int, _ bytes: inout ArraySlice<UInt8>) throws -> ArraySlice<UInt8> {
        guard bytes.count >= count else { throw Malformed() }
        defer { bytes = bytes.dropFirst(count) }
        return bytes.prefix(count)
    }

    private static func varint(_ bytes: inout ArraySlice<UInt8>) throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = bytes.popFirst() else { throw Malformed() }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw Malformed()
    }

    private static func unzigzag(_ value: UInt64) -> Int {
        Int(Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1))
    }

    func number(_ field: Int) -> UInt64? { self.numbers[field]?.last }
    func signed(_ field: Int) -> Int? { self.number(field).map(Self.unzigzag) }
    func double(_ field: Int) -> Double? { self.doubles[field]?.last }
    func text(_ field: Int) -> String? { self.bytes[field]?.last.map { String(decoding: $0, as: UTF8.self) } }
    func messages(_ field: Int) throws -> [WireMessage] { try (self.bytes[field] ?? []).map { try WireMessage($0) } }
    func message(_ field: Int) throws -> WireMessage { try #require(try self.messages(field).last) }

    /// A repeated `sint64`, which may come packed or not.
    func signedNumbers(_ field: Int) throws -> [Int] {
        var numbers = self.numbers[field] ?? []
        for packed in self.bytes[field] ?? [] {
            var rest = packed
            while !rest.isEmpty { numbers.append(try Self.varint(&rest)) }
        }
        return numbers.map(Self.unzigzag)
    }
}

/// Exponential buckets as a scraper reads them.
private struct Exponential: Equatable {
    var schema: Int
    var zeroThreshold: Double
    var zeroCount: Int
    var positive: [Int: Int]
    var negative: [Int: Int]

    var total: Int { self.zeroCount + self.positive.values.reduce(0, +) + self.negative.values.reduce(0, +) }

    init(_ histogram: WireMessage) throws {
        self.schema = try #require(histogram.signed(5))
        self.zeroThreshold = try #require(histogram.double(6))
        self.zeroCount = Int(try #require(histogram.number(7)))
        self.negative = try Self.buckets(histogram, 9, 10)
        self.positive = try Self.buckets(histogram, 12, 13)
    }

    private static func buckets(_ histogram: WireMessage, _ spans: Int, _ deltas: Int) throws -> [Int: Int] {
        var buckets: [Int: Int] = [:]
        var steps = try histogram.signedNumbers(deltas)[...]
        var index = 0
        var count = 0
        for span in try histogram.messages(spans) {
            index += span.signed(1) ?? 0
            for _ in 0..<(span.number(2) ?? 0) {
                guard let step = steps.popFirst() else { throw WireMessage.Malformed() }
                count += step
                buckets[index] = count
                index += 1
            }
        }
        #expect(steps.isEmpty)
        return buckets
    }

    /// What should be there, at schema 3 or one that is `halvings` lower.
    init(of values: [Double], zeroThreshold: Double, halvings: Int = 0) {
        (self.schema, self.zeroThreshold, self.zeroCount) = (3 - halvings, zeroThreshold, 0)
        (self.positive, self.negative) = ([:], [:])
        for value in values {
            var index = value == 0 ? 0 : CellTests.exponentialIndex(min(abs(value), .greatestFiniteMagnitude))
            // Behind the bucket of the largest number there is one for infinity.
            if value.isInfinite { index += 1 }
            for _ in 0..<halvings { index = Int((Double(index) / 2).rounded(.up)) }
            if abs(value) <= zeroThreshold {
                self.zeroCount += 1
            } else if value > 0 {
                self.positive[index, default: 0] += 1
            } else {
                self.negative[index, default: 0] += 1
            }
        }
    }
}

@Suite("The protobuf format")
struct ProtobufTests {
    private static func family(_ name: String, _ registry: MetricsRegistry) throws -> WireMessage {
        let families = try WireMessage.delimited(registry.written(.protobuf))
        return try #require(families.first(where: { $0.text(1) == name }), "no family \(name)")
    }

    private static func metric(_ name: String, _ registry: MetricsRegistry) throws -> WireMessage {
        try Self.family(name, registry).message(4)
    }

    @Test("families of any size come whole and in order, in pieces that hold nothing twice")
    func pieces() throws {
        var configuration = MetricsConfiguration()
        configuration.seriesLimit = 10_000
        let registry = MetricsRegistry(configuration)
        let sizes = [1, 6_000, 3, 1_500, 9_000, 1]
        for (family, count) in sizes.enumerated() {
            for index in 0..<count {
                registry.gaugeRecorder("depth_\(family)", [("queue", "\(index)")]).record(Double(index))
            }
        }
        let exposition = Exposition(registry: registry, format: .protobuf, collected: SampleSink())
        var pieces: [[UInt8]] = []
        while let piece = exposition.next() { pieces.append(piece) }
        #expect(pieces.allSatisfy { !$0.isEmpty } && pieces.count > 5)
        let families = try WireMessage.delimited(pieces.flatMap { $0 }).filter {
            $0.text(1)?.hasPrefix("depth_") ?? false
        }
        #expect(families.map { $0.text(1) } == sizes.indices.map { "depth_\($0)" })
        for (family, count) in zip(families, sizes) {
            let values = try family.messages(4).map { try $0.message(2).double(1) }
            #expect(values == (0..<count).map { Double($0) }, "\(family.text(1) ?? "")")
        }
    }

    private static func pairs(_ message: WireMessage) throws -> [String] {
        try message.messages(1).map { "\($0.text(1) ?? "")=\($0.text(2) ?? "")" }
    }

    private static func time(_ message: WireMessage) -> Double {
        Double(message.number(1) ?? 0) + Double(message.number(2) ?? 0) / 1_000_000_000
    }

    @Test("a counter has its total, an exemplar and when it began")
    func counter() throws {
        let registry = MetricsRegistry()
        let before = WallClock.now()
        registry.takeExemplars { ExemplarContext(traceID: "4bf92f35", spanID: "00f067aa") }
        let jobs: Counter = try registry.counter("jobs", "Jobs \"done\".\n")
        jobs.increment(by: 2)
        jobs.increment(by: 0.5)
        let after = WallClock.now()
        #expect(try Self.family("jobs_total", registry).text(2) == "Jobs \"done\".\n")
        #expect(try Self.family("jobs_total", registry).number(3) == 0)
        let counter = try Self.metric("jobs_total", registry).message(3)
        #expect(counter.double(1) == 2.5)
        let began = Self.time(try counter.message(3))
        #expect(began >= before - 0.001 && began <= after)
        let exemplar = try counter.message(2)
        #expect(exemplar.double(2) == 2)
        #expect(Set(try Self.pairs(exemplar)) == ["trace_id=4bf92f35", "span_id=00f067aa"])
        let taken = Self.time(try exemplar.message(3))
        #expect(taken >= before - 0.001 && taken <= after)
    }

    @Test("a gauge has its value, whatever it is")
    func gauge() throws {
        let registry = MetricsRegistry()
        let depth: Gauge = try registry.gauge("depth", "Depth.")
        for value in [0, -1.5, 1e300, .leastNonzeroMagnitude, .infinity, -.infinity] as [Double] {
            depth.set(value)
            #expect(try Self.metric("depth", registry).message(2).double(1) == value)
        }
        #expect(try Self.family("depth", registry).number(3) == 1)
        depth.set(.nan)
        #expect(try Self.metric("depth", registry).message(2).double(1)?.isNaN == true)
    }

    @Test("labels come as they were recorded, without escapes")
    func labels() throws {
        let registry = MetricsRegistry()
        let jobs = try registry.counter("jobs", "Jobs.", labels: Label<String>("queue"), Label<String>("z"))
        var generator = SeededGenerator(seed: 6)
        var values = ["a\\b\"c\nd", "\\n", "🏮\0"]
        for number in 0..<50 { values.append("\(number)" + HostileText.random(using: &generator, limit: 8)) }
        for value in values { jobs.with(value, "1").increment() }
        let labels = try Self.family("jobs_total", registry).messages(4).map { try Self.pairs($0) }
        #expect(labels == values.map { ["queue=\($0)", "z=1"] })
    }

    @Test("classic buckets are cumulative, +Inf is the count")
    func histogram() throws {
        let registry = MetricsRegistry()
        let work: Histogram = try registry.histogram("work_seconds", "Work.", buckets: [0.5, 1])
        for value in [0.25, 0.5, 0.75, 2, 3] { work.observe(value) }
        #expect(try Self.family("work_seconds", registry).number(3) == 4)
        let histogram = try Self.metric("work_seconds", registry).message(7)
        #expect(histogram.number(1) == 5)
        #expect(histogram.double(2) == 6.5)
        let buckets = try histogram.messages(3)
        #expect(buckets.map { $0.double(2) } == [0.5, 1, .infinity])
        #expect(buckets.map { $0.number(1) } == [2, 3, 5])
        // A schema would say that it has exponential buckets.
        #expect(histogram.signed(5) == nil)
    }

    /// Observes values with an exponential histogram, and compares the buckets.
    private func expectBuckets(
        _ values: [Double], of name: String = "sizes", zeroThreshold: Double = 1.0 / 1_024, halvings: Int = 0
    ) throws {
        let registry = MetricsRegistry()
        let sizes: Histogram = try registry.histogram(name, "Sizes.", buckets: [1], isNative: true)
        for value in values { sizes.observe(value) }
        let histogram = try Self.metric(name, registry).message(7)
        let found = try Exponential(histogram)
        #expect(found == Exponential(of: values, zeroThreshold: zeroThreshold, halvings: halvings))
        #expect(histogram.number(1) == UInt64(values.count))
        #expect(found.positive.count + found.negative.count <= 160)
    }

    @Test("exponential buckets hold exactly what was observed, bounds, zeros, negative and huge values among it")
    func exponential() throws {
        let (zero, least) = (1.0 / 1_024, Double.leastNonzeroMagnitude)
        try self.expectBuckets([1, 1, 2, 3, 4, 1.5, 0.1, 1_000_000])
        try self.expectBuckets([0, -0.0, zero, -zero, zero.nextUp, -zero.nextUp, least, -least])
        try self.expectBuckets([-1, -1, -2, -1e300, 1e300, .greatestFiniteMagnitude, -.greatestFiniteMagnitude])
        // From the last bucket of the usual range into the first one beyond it.
        let end = exp2(42.0)
        try self.expectBuckets([end.nextDown, end, end.nextUp, end * 2])
        // Durations have finer buckets around zero.
        let durations = [0, 1e-6, 0.003, 0.003, 0.25, 1, 86_400]
        try self.expectBuckets(durations, of: "work_seconds", zeroThreshold: exp2(-30.0))
        var generator = SeededGenerator(seed: 7)
        try self.expectBuckets((0..<5_000).map { _ in Double.random(in: 0.5...500, using: &generator) })
    }

    @Test("infinite values lie behind the bucket of the largest finite ones")
    func infinite() throws {
        try self.expectBuckets([.infinity, -.infinity, .greatestFiniteMagnitude, 1])
    }

    @Test(
        "with more than 160 buckets neighbours become one, and nothing is lost",
        arguments: [(160, 0), (161, 1), (300, 1), (1_000, 3)]
    )
    func manyBuckets(count: Int, halvings: Int) throws {
        // The middle of each bucket.
        try self.expectBuckets((-70..<(count - 70)).map { exp2((Double($0) - 0.5) / 8) }, halvings: halvings)
    }

    @Test("without observations an empty span tells it from a classic histogram")
    func empty() throws {
        let registry = MetricsRegistry()
        let _: Histogram = try registry.histogram("sizes", "Sizes.", isNative: true)
        let histogram = try Self.metric("sizes", registry).message(7)
        #expect(try Exponential(histogram) == Exponential(of: [], zeroThreshold: 1.0 / 1_024))
        #expect(try histogram.messages(12).map { [$0.signed(1), $0.number(2).map { Int($0) }] } == [[0, 0]])
    }

    @Test("while values come in, the count is that of the buckets: Prometheus drops a scrape where it is not")
    func agreement() async throws {
        let registry = MetricsRegistry()
        let sizes: Histogram = try registry.histogram("sizes", "Sizes.", buckets: [1, 10], isNative: true)
        let finished = SharedCount()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var value = 1.0
                while finished.value == 0 {
                    for _ in 0..<10_000 {
                        sizes.observe(value)
                        value = value < 1_000 ? value * 1.1 : 1
                    }
                    await Task.yield()
                }
            }
            group.addTask {
                defer { finished.add() }
                for _ in 0..<300 {
                    let histogram = try Self.metric("sizes", registry).message(7)
                    let total = try Exponential(histogram).total
                    try #require(histogram.number(1) == UInt64(total))
                }
            }
            try await group.waitForAll()
        }
    }
}
