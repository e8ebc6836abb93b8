import CoreMetrics
public import Logging
import Synchronization

/// Holds every metric of one service, hands out recorders by name and labels, and is written out at each scrape.
///
/// A swift-metrics backend: bind it around a service with `withMetricsFactory`. Safe from any thread. Names are made
/// valid for Prometheus (`.` becomes `_`), and label order does not matter: the same set of labels is the same series.
/// The number of series of a metric is bounded: beyond it, values go into one series labelled `overflow="true"`, and
/// `lantern_metrics_overflow_total{metric}` counts them.
public final class MetricsRegistry: Sendable {
    struct State {
        var families: [String: Family] = [:]
        var declarations: [String: MetricDeclaration] = [:]
        var collectors: [@Sendable (inout SampleSink) -> Void] = []
        var series = 0
        var clashes: Set<String> = []
    }

    let state = Mutex(State())
    private let seriesLimit: Int
    private let logger: Logger?

    /// - Parameters:
    ///   - seriesLimit: Most series that one metric may have.
    ///   - logger: Told once for each metric that overflows or is used with two types.
    public init(seriesLimit: Int = 2_000, logger: Logger? = nil) {
        self.seriesLimit = seriesLimit
        self.logger = logger
        self.declare(Self.ownDeclarations)
        // There from the start, so that an alert on its increase sees the first one.
        _ = self.series("lantern_metrics_overflow_total", kind: .counter, dimensions: [])
        self.collect { [weak self] sink in
            guard let self else { return }
            sink.add("lantern_metrics_series", .gauge, value: Double(self.state.withLock { $0.series }))
        }
    }

    /// Gives names their help text, type and buckets. Declare before first use; a later declaration replaces help only.
    public func declare(_ declarations: [MetricDeclaration]) {
        self.state.withLock { state in
            for declaration in declarations { state.declarations[declaration.name] = declaration }
        }
    }

    /// Every declaration, by name.
    public var declarations: [MetricDeclaration] {
        self.state.withLock { state in state.declarations.values.sorted { $0.name < $1.name } }
    }

    /// Adds a callback that gives samples at each scrape. It runs on the scraping thread and must return quickly.
    public func collect(_ collector: @escaping @Sendable (inout SampleSink) -> Void) {
        self.state.withLock { $0.collectors.append(collector) }
    }

    static let ownDeclarations: [MetricDeclaration] = [
        MetricDeclaration("lantern_metrics_series", .gauge, "Series that the metrics registry holds."),
        MetricDeclaration(
            "lantern_metrics_overflow_total", .counter,
            "Recorders asked for beyond the series limit of a metric; their values are in its overflow series.",
            labels: ["metric"]
        ),
    ]

    /// The series of a name and labels, made on first use.
    func series(_ rawName: String, kind: MetricKind, dimensions: [(String, String)]) -> Series {
        let name = MetricName.family(rawName, kind: kind)
        let labels = Labels(dimensions)
        var overflowed = false
        var clashed = false
        let series = self.state.withLock { state -> Series in
            let declaration = state.declarations[name]
            if let family = state.families[name] {
                guard family.kind == kind else {
                    clashed = state.clashes.insert(name).inserted
                    return Series(kind: kind, buckets: declaration?.buckets ?? MetricDeclaration.defaultBuckets)
                }
                if let series = family.series[labels] { return series }
            } else {
                state.families[name] = Family(
                    kind: kind, buckets: declaration?.buckets ?? MetricDeclaration.defaultBuckets
                )
            }
            return state.families[name, default: Family(kind: kind, buckets: [])].makeSeries(
                labels, limit: self.seriesLimit, total: &state.series, overflowed: &overflowed
            )
        }
        if clashed {
            self.logger?.error(
                "metric is used with two types; the second one is not exposed", metadata: ["metric": "\(name)"]
            )
        }
        if overflowed, name != "lantern_metrics_overflow_total" {
            let counter = self.series(
                "lantern_metrics_overflow_total", kind: .counter, dimensions: [("metric", name)]
            )
            if counter.isUntouched {
                self.logger?.warning(
                    "metric has more series than its limit; further ones share one series",
                    metadata: ["metric": "\(name)", "limit": "\(self.seriesLimit)"]
                )
            }
            counter.add(1)
        }
        return series
    }
}

/// All series of one name.
struct Family {
    let kind: MetricKind
    let buckets: [Double]
    var series: [Labels: Series] = [:]

    mutating func makeSeries(_ labels: Labels, limit: Int, total: inout Int, overflowed: inout Bool) -> Series {
        var labels = labels
        if self.series.count >= limit {
            overflowed = true
            labels = .overflow
            if let series = self.series[labels] { return series }
        }
        let series = Series(kind: self.kind, buckets: self.buckets)
        self.series[labels] = series
        total += 1
        return series
    }
}
