/// The types of the Prometheus data model that this registry knows. There is no summary: quantiles of several replicas
/// cannot be added up, buckets can.
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
    public let buckets: [Double]
    /// Whether a histogram also has exponential buckets (Prometheus' native histograms), which scrapers get that ask for
    /// protobuf. Costs some 3 KiB more for each series and thread that records.
    public var isNative: Bool
    /// Most series that the metric may have; `nil`: the registry's own limit.
    public var seriesLimit: Int?

    /// - Parameter name: The exposed name: `_total` for counters, base units (`_seconds`, `_bytes`).
    public init(
        _ name: String,
        _ kind: MetricKind,
        _ help: String,
        labels: [String] = [],
        buckets: [Double] = MetricDeclaration.defaultBuckets,
        isNative: Bool = false,
        seriesLimit: Int? = nil
    ) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
        self.buckets = Self.usable(buckets)
        self.isNative = isNative
        self.seriesLimit = seriesLimit
    }

    /// The unit that the name ends in, as OpenMetrics wants it said; `nil` where it ends in none that is known.
    public var unit: String? {
        let name = self.kind == .counter && self.name.hasSuffix("_total") ? String(self.name.dropLast(6)) : self.name
        return ["seconds", "bytes", "ratio", "celsius", "meters", "volts", "amperes", "joules", "grams"].first {
            name.hasSuffix("_" + $0)
        }
    }

    /// Bounds for durations in seconds, as the OpenTelemetry semantic conventions advise for HTTP.
    public static let defaultBuckets: [Double] = [
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    ]

    /// Bounds for short durations in seconds: statements, sends, waits.
    public static let shortBuckets: [Double] = [
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    /// Ascending, each once, finite, and at most 256: a row of cells has an end.
    private static func usable(_ buckets: [Double]) -> [Double] {
        Array(Set(buckets.filter { $0.isFinite }).sorted().prefix(256))
    }
}
