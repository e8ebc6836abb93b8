import Synchronization

/// Collects samples that callbacks give at scrape.
public struct SampleSink {
    struct Sample {
        var labels: Labels
        var value: Double
    }

    var samples: [String: (kind: MetricKind, samples: [Sample])] = [:]

    /// Adds one sample of a counter or gauge. `name` is the exposed name.
    public mutating func add(
        _ name: String, _ kind: MetricKind, labels: [(String, String)] = [], value: Double
    ) {
        self.samples[MetricName.family(name, kind: kind), default: (kind, [])].samples.append(
            Sample(labels: Labels(labels), value: value)
        )
    }
}

extension MetricsRegistry {
    /// Media type of ``exposition()`` (Prometheus exposition formats, text format 0.0.4).
    public static let textContentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Everything that was recorded, in the Prometheus text format 0.0.4, families and series in a stable order.
    public func exposition() -> [UInt8] {
        let (families, declarations, collectors) = self.state.withLock { state in
            (state.families, state.declarations, state.collectors)
        }
        var sink = SampleSink()
        for collector in collectors { collector(&sink) }

        var text = ExpositionText()
        for name in Set(families.keys).union(sink.samples.keys).sorted() {
            let family = families[name]
            let collected = sink.samples[name]
            guard let kind = family?.kind ?? collected?.kind else { continue }
            text.header(name, kind: kind, help: declarations[name]?.help)
            for (labels, series) in (family?.series ?? [:]).sorted(by: { $0.key < $1.key }) {
                if kind == .histogram {
                    text.histogram(name, labels: labels, series: series)
                } else {
                    text.sample(name, labels: labels, value: series.value)
                }
            }
            for sample in (collected?.samples ?? []).sorted(by: { $0.labels < $1.labels }) {
                text.sample(name, labels: sample.labels, value: sample.value)
            }
        }
        return text.bytes
    }
}

extension Labels: Comparable {
    static func < (left: Labels, right: Labels) -> Bool {
        left.pairs.lexicographicallyPrecedes(right.pairs) { ($0.name, $0.value) < ($1.name, $1.value) }
    }
}

/// Writes the text format, with the escaping it asks for: `\` and newline in help, and `"` too in label values.
struct ExpositionText {
    private(set) var bytes: [UInt8] = []

    mutating func header(_ name: String, kind: MetricKind, help: String?) {
        if let help {
            self.append("# HELP \(name) ")
            self.escape(help, quotes: false)
            self.append("\n")
        }
        self.append("# TYPE \(name) \(kind.rawValue)\n")
    }

    mutating func sample(_ name: String, suffix: String = "", labels: Labels, bound: Double? = nil, value: Double) {
        self.append(name)
        self.append(suffix)
        if !labels.pairs.isEmpty || bound != nil {
            self.append("{")
            for (index, pair) in labels.pairs.enumerated() {
                if index > 0 { self.append(",") }
                self.append(pair.name)
                self.append("=\"")
                self.escape(pair.value, quotes: true)
                self.append("\"")
            }
            if let bound {
                if !labels.pairs.isEmpty { self.append(",") }
                self.append("le=\"\(Self.number(bound))\"")
            }
            self.append("}")
        }
        self.append(" \(Self.number(value))\n")
    }

    mutating func histogram(_ name: String, labels: Labels, series: Series) {
        let (buckets, sum) = series.snapshot()
        for bucket in buckets {
            self.sample(name, suffix: "_bucket", labels: labels, bound: bucket.bound, value: Double(bucket.count))
        }
        self.sample(name, suffix: "_sum", labels: labels, value: sum)
        self.sample(name, suffix: "_count", labels: labels, value: Double(buckets.last?.count ?? 0))
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if value == value.rounded(), abs(value) < 9_007_199_254_740_992 { return String(Int64(value)) }
        return "\(value)"
    }

    private mutating func append(_ text: String) {
        self.bytes.append(contentsOf: text.utf8)
    }

    private mutating func escape(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): self.append("\\\\")
            case UInt8(ascii: "\n"): self.append("\\n")
            case UInt8(ascii: "\"") where quotes: self.append("\\\"")
            default: self.bytes.append(byte)
            }
        }
    }
}
