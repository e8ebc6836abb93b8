import CLanternMetrics
import CoreMetrics
public import Logging
import Synchronization

/// Holds every metric of one service, hands out recorders by name and labels, and is written out at each scrape.
///
/// A swift-metrics backend: bind it around a service with `withMetricsFactory`. Its own typed metrics are made by
/// ``counter(_:_:)``, ``gauge(_:_:)`` and ``histogram(_:_:buckets:isNative:)``. Safe from any thread; recording never locks.
///
/// Names are made valid for Prometheus (`.` becomes `_`), and label order does not matter: the same set of labels is the
/// same series. The number of series is bounded (``MetricsConfiguration``): beyond it, values go into one series labelled
/// `overflow="true"`, and `lantern_metrics_overflow_total{metric}` counts the recorders that were asked for in vain.
public final class MetricsRegistry: Sendable {
    struct State {
        var families: [ExactName: Family] = [:]
        /// In order of name, as they are exposed.
        var sorted: [Family] = []
        var declarations: [String: MetricDeclaration] = [:]
        var collectors: [Collector] = []
        /// Which family a sample name belongs to.
        var sampleNames: [ExactName: String] = [:]
        var series = 0
        var exemplarSource: (@Sendable () -> ExemplarContext?)?
        /// Keys of all recorders that are remembered; several may lead to one series.
        var recorders = 0
        /// What recorders get whose metric clashes with another: one series of each shape, which no scrape shows.
        var unexposed: [String: SeriesRecord] = [:]
        /// What was warned of already.
        var clashes: Set<String> = []
        var lastSweep = ContinuousClock.now
    }

    public let configuration: MetricsConfiguration
    let store = CellStore()
    let state = Mutex(State())
    let logger: Logger?
    let rows: LookupTable<SeriesRecord>
    let counters: LookupTable<CounterRecorder>
    let floatingPointCounters: LookupTable<FloatingPointCounterRecorder>
    let gauges: LookupTable<GaugeRecorder>
    let histograms: LookupTable<HistogramRecorder>
    /// Counts sweeps; recorders remember that of their last use.
    let generation = Atomic<UInt32>(0)
    /// Held, so that they are never idle.
    private let own = Mutex<[CounterRecorder]>([])

    /// - Parameter logger: Told once for each metric that overflows or is used with two types.
    public init(_ configuration: MetricsConfiguration = MetricsConfiguration(), logger: Logger? = nil) {
        self.configuration = configuration
        self.logger = logger
        let seed = UInt64.random(in: .min ... .max)
        self.rows = LookupTable(seed: seed)
        self.counters = LookupTable(seed: seed)
        self.floatingPointCounters = LookupTable(seed: seed)
        self.gauges = LookupTable(seed: seed)
        self.histograms = LookupTable(seed: seed)
        self.declare(Self.ownDeclarations)
        // There from the start, so that an alert on their increase sees the first one.
        self.own.withLock { own in
            own = ["lantern_metrics_overflow_total", "lantern_metrics_collector_failures_total"].map {
                self.counterRecorder($0, [])
            }
        }
        self.collect("registry") { [weak self] sink in
            guard let self else { return }
            sink.add("lantern_metrics_series", .gauge, value: Double(self.seriesCount))
        }
    }

    static let ownDeclarations: [MetricDeclaration] = [
        MetricDeclaration("lantern_metrics_series", .gauge, "Series that the metrics registry holds."),
        MetricDeclaration(
            "lantern_metrics_overflow_total", .counter,
            "Recorders asked for beyond the series limit of a metric; their values are in its overflow series.",
            labels: ["metric"]
        ),
        MetricDeclaration(
            "lantern_metrics_collector_failures_total", .counter,
            "Scrapes that went on without a collector, because it took too long or was still busy.",
            labels: ["collector"]
        ),
    ]

    /// Gives names their help text, labels, buckets and limit. Declare before first use: a metric that is in use keeps
    /// what it was made with.
    public func declare(_ declarations: [MetricDeclaration]) {
        self.state.withLock { state in
            for declaration in declarations { state.declarations[declaration.name] = declaration }
        }
    }

    /// Every declaration, by name.
    public var declarations: [MetricDeclaration] {
        self.state.withLock { state in state.declarations.values.sorted { $0.name < $1.name } }
    }

    /// Says where exemplars come from: a function that answers the current span if it is sampled. It runs on the
    /// recording thread and must be fast. Series made before keep having none: call it first.
    public func takeExemplars(from source: @escaping @Sendable () -> ExemplarContext?) {
        self.state.withLock { $0.exemplarSource = source }
    }

    /// Series that there are now.
    public var seriesCount: Int { self.state.withLock { $0.series } }

    /// Bytes that the numbers of all series take, for every thread that recorded.
    public var cellBytes: Int { self.store.bytes }

    /// Whether recorders made a series of these labels.
    func hasSeries(_ name: String, _ labels: LabelSet) -> Bool {
        let hash = self.rows.hash(name, labels.pairs)
        let generation = self.generation.load(ordering: .relaxed)
        return self.rows.find(hash, name, labels.pairs, generation: generation) != nil
    }

    // MARK: Recorders

    func counterRecorder(_ name: String, _ labels: [(String, String)]) -> CounterRecorder {
        self.recorder(self.counters, name, labels, .counter, .number) { CounterRecorder(series: $0) }
    }

    func floatingPointCounterRecorder(_ name: String, _ labels: [(String, String)]) -> FloatingPointCounterRecorder {
        self.recorder(self.floatingPointCounters, name, labels, .counter, .number) {
            FloatingPointCounterRecorder(series: $0)
        }
    }

    func gaugeRecorder(_ name: String, _ labels: [(String, String)]) -> GaugeRecorder {
        self.recorder(self.gauges, name, labels, .gauge, .number) { GaugeRecorder(series: $0) }
    }

    func histogramRecorder(_ name: String, _ labels: [(String, String)], _ storage: Family.Storage) -> HistogramRecorder
    {
        self.recorder(self.histograms, name, labels, .histogram, storage) { series in
            HistogramRecorder(series: series, bounds: series.family.bounds ?? BucketBounds([]))
        }
    }

    @inline(__always)
    private func recorder<Recorder: AnyObject & Sendable>(
        _ table: LookupTable<Recorder>, _ name: String, _ labels: [(String, String)], _ kind: MetricKind,
        _ storage: Family.Storage, _ make: (SeriesRecord) -> Recorder
    ) -> Recorder {
        let hash = table.hash(name, labels)
        let generation = self.generation.load(ordering: .relaxed)
        if let recorder = table.find(hash, name, labels, generation: generation) { return recorder }
        return self.newRecorder(table, hash, name, labels, kind, storage, generation, make)
    }

    @inline(never)
    private func newRecorder<Recorder: AnyObject & Sendable>(
        _ table: LookupTable<Recorder>, _ hash: UInt64, _ name: String, _ labels: [(String, String)],
        _ kind: MetricKind, _ storage: Family.Storage, _ generation: UInt32, _ make: (SeriesRecord) -> Recorder
    ) -> Recorder {
        let family = MetricName.family(name, kind: kind, allowsUTF8: self.configuration.allowsUTF8Names)
        let canonical = LabelSet(labels, of: kind, allowsUTF8: self.configuration.allowsUTF8Names)
        let (recorder, notice) = self.state.withLock { state -> (Recorder, Notice?) in
            // Somebody else may have been faster.
            if let recorder = table.find(hash, name, labels, generation: generation) { return (recorder, nil) }
            let found = self.series(family, kind, storage, canonical, generation, &state)
            let recorder = make(found.series)
            // A key that overflowed is not remembered, nor one more spelling of what has many: there is no end of them.
            if found.isOwn, state.recorders / 8 < self.configuration.totalSeriesLimit {
                table.insert(hash, name, labels, recorder, generation: generation)
                state.recorders += 1
            }
            return (recorder, found.notice)
        }
        if let notice { self.tell(notice) }
        return recorder
    }

    /// What the log is told, once the lock is left.
    enum Notice {
        case clash(name: String, with: String)
        case overflow(Family)
    }

    private func series(
        _ name: String, _ kind: MetricKind, _ storage: Family.Storage, _ labels: LabelSet, _ generation: UInt32,
        _ state: inout State
    ) -> (series: SeriesRecord, isOwn: Bool, notice: Notice?) {
        let hash = self.rows.hash(name, labels.pairs)
        if let series = self.rows.find(hash, name, labels.pairs, generation: generation), series.family.kind == kind {
            return (series, true, nil)
        }
        // A program that makes names of what users send must not fill the memory with families either.
        if state.families.count >= self.configuration.metricLimit, state.families[ExactName(name)] == nil {
            self.countOverflow(of: "new_metrics", generation, &state)
            return (self.unexposed(kind, storage, &state), false, nil)
        }
        switch self.family(name, kind, storage, &state) {
        case .failure(let clash):
            let isNew = state.clashes.count < 1_000 && state.clashes.insert(name).inserted
            return (
                self.unexposed(kind, storage, &state), false, isNew ? .clash(name: name, with: clash.other) : nil
            )
        case .success(let family):
            let isOwn = name == "lantern_metrics_overflow_total"
            if isOwn || (family.count < family.limit && state.series < self.configuration.totalSeriesLimit),
                let series = self.newSeries(family, labels, &state)
            {
                self.rows.insert(hash, name, labels.pairs, series, generation: generation)
                return (series, true, nil)
            }
            let first = family.overflow == nil
            if first { family.overflow = self.newSeries(family, .overflow, &state) }
            self.countOverflow(of: name, generation, &state)
            return (
                family.overflow ?? self.unexposed(kind, storage, &state), false, first ? .overflow(family) : nil
            )
        }
    }

    private func newSeries(_ family: Family, _ labels: LabelSet, _ state: inout State) -> SeriesRecord? {
        guard let cell = self.store.allocate(family.width) else { return nil }
        var native: NativeHistogram?
        if family.kind == .histogram, family.declaration?.isNative == true,
            let row = self.store.allocate(NativeHistogram.width)
        {
            native = NativeHistogram(cell: row, storage: family.storage)
        }
        var exemplars: ExemplarStore?
        if family.kind != .gauge, let source = state.exemplarSource, let gate = self.store.allocate(1) {
            exemplars = ExemplarStore(gate: ExemplarGate(cell: gate), source: source)
        }
        let series = SeriesRecord(
            family: family, store: self.store, cell: cell, exemplars: exemplars, native: native
        )
        family.append(series, labels: labels, created: WallClock.now())
        state.series += 1
        return series
    }

    private func countOverflow(of name: String, _ generation: UInt32, _ state: inout State) {
        let counter = "lantern_metrics_overflow_total"
        let labels = LabelSet([("metric", name)])
        let hash = self.rows.hash(counter, labels.pairs)
        if let series = self.rows.find(hash, counter, labels.pairs, generation: generation) {
            return series.cell.add(UInt64(1))
        }
        guard let family = state.families[ExactName(counter)], let series = self.newSeries(family, labels, &state)
        else { return }
        self.rows.insert(hash, counter, labels.pairs, series, generation: generation)
        series.cell.add(UInt64(1))
    }

    /// A series that no scrape shows: what is recorded into it is lost, and nothing breaks.
    private func unexposed(_ kind: MetricKind, _ storage: Family.Storage, _ state: inout State) -> SeriesRecord {
        let shape = "\(kind) \(storage)"
        if let series = state.unexposed[shape] { return series }
        let family = Family(name: "", kind: kind, declaration: nil, limit: 0, storage: storage)
        let store = CellStore()
        // A new store's first row fits its first page, so only memory can be lacking; see CellStore.init.
        guard let cell = store.allocate(family.width) else {
            preconditionFailure("out of memory while a metric was made")
        }
        let series = SeriesRecord(family: family, store: store, cell: cell)
        state.unexposed[shape] = series
        return series
    }

    // MARK: Families

    /// Two metrics whose samples would have one name.
    struct Clash: Error { var other: String }

    func family(
        _ name: String, _ kind: MetricKind, _ storage: Family.Storage, _ state: inout State
    ) -> Result<Family, Clash> {
        if let family = state.families[ExactName(name)] {
            return family.kind == kind ? .success(family) : .failure(Clash(other: name))
        }
        let declaration = state.declarations[name]
        let family = Family(
            name: name, kind: kind, declaration: declaration,
            limit: declaration?.seriesLimit ?? self.configuration.seriesLimit, storage: storage
        )
        if let declaration, declaration.kind != kind { return .failure(Clash(other: name)) }
        for sample in family.sampleNames {
            if let other = state.sampleNames[ExactName(sample)] { return .failure(Clash(other: other)) }
        }
        for sample in family.sampleNames { state.sampleNames[ExactName(sample)] = name }
        state.families[ExactName(name)] = family
        let place = state.sorted.firstIndex { $0.name > name } ?? state.sorted.count
        state.sorted.insert(family, at: place)
        return .success(family)
    }

    private func tell(_ notice: Notice) {
        switch notice {
        case .clash(let name, let other):
            self.logger?.error(
                "metric is used with two types, or its samples bear the name of another metric; it is not exposed",
                metadata: ["metric": "\(name)", "other": "\(other)"]
            )
        case .overflow(let family):
            self.logger?.warning(
                "metric has more series than its limit, or all metrics together have; further ones share one series",
                metadata: [
                    "metric": "\(family.name)", "label": "\(family.mostDiverseLabel ?? "")",
                    "limit": "\(min(family.limit, self.configuration.totalSeriesLimit))",
                ]
            )
        }
    }
}
