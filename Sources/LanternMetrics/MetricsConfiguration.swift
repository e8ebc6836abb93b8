/// How a registry guards itself and what it shows.
public struct MetricsConfiguration: Sendable {
    /// Most series of one metric, where its declaration says nothing. Beyond it, values go into the series
    /// `overflow="true"`.
    public var seriesLimit = 2_000
    /// Most series of all metrics together.
    public var totalSeriesLimit = 100_000
    /// Most metrics. What is asked for beyond them is not exposed, and counted as overflow of `new_metrics`.
    public var metricLimit = 5_000
    /// After this time without being recorded into or asked for, a series that no recorder is held of is dropped; `nil`:
    /// never. A metric that comes again begins at 0, which Prometheus sees as a restart.
    public var idleLifetime: Duration?
    /// Whether OpenMetrics shows when a counter or histogram began (`_created`). Costs one more line for each series.
    public var showsCreated = true
    /// At least this time passes before a bucket takes another exemplar.
    public var exemplarInterval: Duration = .seconds(1)
    /// How long a scrape waits for a collector.
    public var collectorTimeout: Duration = .seconds(1)
    /// Whether names keep characters that only Prometheus 3 and later take, such as `.`; others get them escaped. When
    /// false, such characters become `_` at once, and every scraper sees the same names.
    public var allowsUTF8Names = false

    public init() {}
}
