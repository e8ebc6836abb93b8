/// The types of the Prometheus data model that this registry knows.
public enum MetricKind: String, Sendable {
    case counter, gauge, histogram
}

/// What a metric is, said once: its name as exposed, type, help text, labels and, for a histogram, bucket bounds.
public struct MetricDeclaration: Sendable {
    public var name: String
    public var kind: MetricKind
    public var help: String
    public var labels: [String]
    /// Upper bounds, ascending, in the unit of the name; `+Inf` is implied.
    public var buckets: [Double]

    /// - Parameter name: The exposed name: `_total` for counters, base units (`_seconds`, `_bytes`).
    public init(
        _ name: String,
        _ kind: MetricKind,
        _ help: String,
        labels: [String] = [],
        buckets: [Double] = MetricDeclaration.defaultBuckets
    ) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
        self.buckets = buckets
    }

    /// Bounds for durations in seconds, as the OpenTelemetry semantic conventions advise for HTTP.
    public static let defaultBuckets: [Double] = [
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ]

    /// Bounds for short durations in seconds: statements, sends, waits.
    public static let shortBuckets: [Double] = [
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]
}

/// Names as the Prometheus text format allows them.
enum MetricName {
    /// The family's name: invalid characters become `_`, and a counter ends in `_total`.
    static func family(_ raw: String, kind: MetricKind) -> String {
        let name = self.valid(raw, allowColon: true)
        guard kind == .counter, !name.hasSuffix("_total") else { return name }
        return name + "_total"
    }

    static func label(_ raw: String) -> String {
        self.valid(raw, allowColon: false)
    }

    private static func valid(_ raw: String, allowColon: Bool) -> String {
        if !raw.isEmpty, raw.utf8.enumerated().allSatisfy({ self.isValid($1, first: $0 == 0, allowColon: allowColon) })
        {
            return raw
        }
        var name = ""
        for (index, byte) in raw.utf8.enumerated() {
            if self.isValid(byte, first: false, allowColon: allowColon) {
                if index == 0, UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { name.append("_") }
                name.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                name.append("_")
            }
        }
        return name.isEmpty ? "_" : name
    }

    private static func isValid(_ byte: UInt8, first: Bool, allowColon: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): !first
        case UInt8(ascii: ":"): allowColon
        default: false
        }
    }
}

/// A set of labels in canonical order, so that order never makes a second series.
struct Labels: Hashable, Sendable {
    let pairs: [Pair]

    struct Pair: Hashable, Sendable {
        let name: String
        let value: String
    }

    init(_ dimensions: [(String, String)]) {
        var pairs = dimensions.map { Pair(name: MetricName.label($0.0), value: $0.1) }
        if pairs.count > 1 {
            pairs.sort { ($0.name, $0.value) < ($1.name, $1.value) }
            // Two names that become one: their values are joined, as the OpenTelemetry specification says for Prometheus.
            // A line with one label twice would fail the whole scrape.
            pairs = pairs.reduce(into: []) { merged, pair in
                if let last = merged.last, last.name == pair.name {
                    merged[merged.count - 1] = Pair(name: pair.name, value: "\(last.value);\(pair.value)")
                } else {
                    merged.append(pair)
                }
            }
        }
        // An empty value is the same as no label in the Prometheus data model.
        self.pairs = pairs.contains { $0.value.isEmpty } ? pairs.filter { !$0.value.isEmpty } : pairs
    }

    static let overflow = Labels([("overflow", "true")])
}
