public import LanternMetrics

/// What a registry, or a service's `/metrics`, shows at one moment, for tests to look at.
///
/// Reads the Prometheus text format itself, not the registry, so that a test sees what a scraper sees.
public struct MetricsSnapshot: Sendable, CustomStringConvertible {
    /// One line of the exposition.
    public struct Sample: Sendable, Equatable, CustomStringConvertible {
        public var name: String
        public var labels: [String: String]
        public var value: Double

        public var description: String {
            let labels = self.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\($0.value)\"" }
            return "\(self.name){\(labels.joined(separator: ","))} \(self.value)"
        }
    }

    public let samples: [Sample]
    /// Type of each family, as `# TYPE` says it.
    public let types: [String: String]

    /// What a scrape of `registry` shows now.
    public init(_ registry: MetricsRegistry) async throws(MetricsMismatch) {
        try self.init(text: String(decoding: await registry.exposition(.text), as: UTF8.self))
    }

    /// Reads text format 0.0.4.
    /// - Throws: ``MetricsMismatch`` naming the line that is none.
    public init(text: String) throws(MetricsMismatch) {
        var samples: [Sample] = []
        var types: [String: String] = [:]
        // By bytes: what a person sees as one character may be a newline or a quote with something joined to it.
        for bytes in text.utf8.split(separator: UInt8(ascii: "\n")) {
            let line = String(decoding: bytes, as: UTF8.self)
            if line.utf8.starts(with: "# TYPE ".utf8) {
                let words = line.split(separator: " ")
                if words.count == 4 { types[String(words[2])] = String(words[3]) }
            } else if line.utf8.first != UInt8(ascii: "#") {
                var reader = SampleReader(line)
                guard let sample = reader.sample() else {
                    throw MetricsMismatch("no line of the Prometheus text format: \(line)")
                }
                samples.append(sample)
            }
        }
        self.samples = samples
        self.types = types
    }

    private init(samples: [Sample], types: [String: String]) {
        self.samples = samples
        self.types = types
    }

    public var description: String { self.samples.map(\.description).joined(separator: "\n") }

    /// The samples of this name whose labels include the given ones.
    public func samples(_ name: String, _ labels: [String: String] = [:]) -> [Sample] {
        self.samples.filter { sample in
            sample.name == name && labels.allSatisfy { sample.labels[$0.key, default: ""] == $0.value }
        }
    }

    /// What was added since an earlier snapshot: counters and histograms are subtracted, gauges stay as they are; samples
    /// that did not change are left out.
    public func difference(since earlier: MetricsSnapshot) -> MetricsSnapshot {
        let before = Dictionary(
            earlier.samples.map { (Key(name: $0.name, labels: $0.labels), $0.value) }, uniquingKeysWith: { $1 }
        )
        let changed = self.samples.compactMap { sample -> Sample? in
            let old = before[Key(name: sample.name, labels: sample.labels)]
            guard old != sample.value else { return nil }
            guard let old, self.type(of: sample.name) != "gauge" else { return sample }
            return Sample(name: sample.name, labels: sample.labels, value: sample.value - old)
        }
        return MetricsSnapshot(samples: changed, types: self.types)
    }

    // MARK: Expectations

    /// Says that a counter has a value.
    /// - Parameter labels: Enough of them that one series is left.
    /// - Throws: ``MetricsMismatch`` which lists the series that there are.
    public func expectCounter(
        _ name: String, _ labels: [String: String], _ value: Double
    ) throws(MetricsMismatch) {
        try self.expect(name, type: "counter", name, labels, value)
    }

    /// Says that a counter without labels, or the only series of one, has a value.
    public func expectCounter(_ name: String, _ value: Double) throws(MetricsMismatch) {
        try self.expectCounter(name, [:], value)
    }

    /// Says that a gauge without labels, or the only series of one, has a value.
    public func expectGauge(_ name: String, _ value: Double) throws(MetricsMismatch) {
        try self.expectGauge(name, [:], value)
    }

    /// Says that a gauge has a value.
    public func expectGauge(
        _ name: String, _ labels: [String: String], _ value: Double
    ) throws(MetricsMismatch) {
        try self.expect(name, type: "gauge", name, labels, value)
    }

    /// Says how many observations a histogram has, and between what their sum lies.
    public func expectHistogram(
        _ name: String, _ labels: [String: String] = [:], count: Int, sum: ClosedRange<Double>? = nil
    ) throws(MetricsMismatch) {
        try self.expect(name, type: "histogram", name + "_count", labels, Double(count))
        guard let sum else { return }
        let found = try self.one(name + "_sum", labels)
        guard sum.contains(found.value) else {
            throw MetricsMismatch("the sum of \(name) is \(found.value), which is not in \(sum)")
        }
    }

    /// Says that there is no such series.
    public func expectNone(_ name: String, _ labels: [String: String] = [:]) throws(MetricsMismatch) {
        let found = self.samples(name, labels)
        guard found.isEmpty else { throw MetricsMismatch("there should be no such series:", found) }
    }

    private func expect(
        _ family: String, type: String, _ sample: String, _ labels: [String: String], _ value: Double
    ) throws(MetricsMismatch) {
        if let actual = self.types[family], actual != type {
            throw MetricsMismatch("\(family) is a \(actual), not a \(type)")
        }
        let found = try self.one(sample, labels)
        guard found.value == value || (found.value.isNaN && value.isNaN) else {
            throw MetricsMismatch("expected \(value), found \(found)")
        }
    }

    private func one(_ name: String, _ labels: [String: String]) throws(MetricsMismatch) -> Sample {
        let found = self.samples(name, labels)
        if found.count == 1 { return found[0] }
        if found.isEmpty {
            throw MetricsMismatch("no series \(name) with \(labels); there are:", self.samples(name))
        }
        throw MetricsMismatch("\(found.count) series \(name) with \(labels):", found)
    }

    private func type(of sample: String) -> String? {
        if let type = self.types[sample] { return type }
        for suffix in ["_bucket", "_sum", "_count"] where sample.hasSuffix(suffix) {
            return self.types[String(sample.dropLast(suffix.count))]
        }
        return nil
    }

    private struct Key: Hashable {
        var name: String
        var labels: [String: String]
    }
}

/// What a test expected of metrics and did not find.
public struct MetricsMismatch: Error, Sendable, CustomStringConvertible {
    public let description: String

    init(_ description: String, _ samples: [MetricsSnapshot.Sample] = []) {
        self.description = ([description] + samples.map { "  \($0)" }).joined(separator: "\n")
    }
}
