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
        var families: [String: Family] = [:]
        /// In order of name, as they are exposed.
        var sorted: [Family] = []
        var declarations: [String: MetricDeclaration] = [:]
        var collectors: [Collector] = []
        /// Which family a sample name belongs to.
        var sampleNames: [String: String] = [:]
        var series = 0
        var exemplarSource: (@Sendable () -> ExemplarContext?)?
        /// What was warned of already.
        var clashes: Set<String> = []
        var lastSweep = ContinuousClock.now
    }

    public let configuration: MetricsConfiguration
    let store = CellStore()
    let state = Mutex(State())
    let logger: Logger?
    private let rows: LookupTable<SeriesRecord>
    private let counters: LookupTable<CounterRecorder>
    private let floatingPointCounters: LookupTable<FloatingPointCounterRecorder>
    private let gauges: LookupTable<GaugeRecorder>
    private let histograms: LookupTable<HistogramRecorder>
    private let generation = Atomic<UInt32>(0)

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
        _ = self.counterRecorder("lantern_metrics_overflow_total", [])
        _ = self.counterRecorder("lantern_metrics_collector_failures_total", [])
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
        let canonical = LabelSet(labels, allowsUTF8: self.configuration.allowsUTF8Names)
        let (recorder, notice) = self.state.withLock { state -> (Recorder, Notice?) in
            // Somebody else may have been faster.
            if let recorder = table.find(hash, name, labels, generation: generation) { return (recorder, nil) }
            let found = self.series(family, kind, storage, canonical, generation, &state)
            let recorder = make(found.series)
            // A key that overflowed is not remembered: there is no end of them.
            if found.isOwn { table.insert(hash, name, labels, recorder, generation: generation) }
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
        switch self.family(name, kind, storage, &state) {
        case .failure(let clash):
            let isNew = state.clashes.insert(name).inserted
            return (self.unexposed(kind, storage), true, isNew ? .clash(name: name, with: clash.other) : nil)
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
                family.overflow ?? self.unexposed(kind, storage), false, first ? .overflow(family) : nil
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
        guard let family = state.families[counter], let series = self.newSeries(family, labels, &state) else { return }
        self.rows.insert(hash, counter, labels.pairs, series, generation: generation)
        series.cell.add(UInt64(1))
    }

    /// A series that no scrape shows: what is recorded into it is lost, and nothing breaks.
    private func unexposed(_ kind: MetricKind, _ storage: Family.Storage) -> SeriesRecord {
        let family = Family(name: "", kind: kind, declaration: nil, limit: 0, storage: storage)
        let store = CellStore()
        guard let cell = store.allocate(family.width) else {
            preconditionFailure("out of memory while a metric was made")
        }
        return SeriesRecord(family: family, store: store, cell: cell)
    }

    // MARK: Families

    /// Two metrics whose samples would have one name.
    struct Clash: Error { var other: String }

    func family(
        _ name: String, _ kind: MetricKind, _ storage: Family.Storage, _ state: inout State
    ) -> Result<Family, Clash> {
        if let family = state.families[name] {
            return family.kind == kind ? .success(family) : .failure(Clash(other: name))
        }
        let declaration = state.declarations[name]
        let family = Family(
            name: name, kind: kind, declaration: declaration,
            limit: declaration?.seriesLimit ?? self.configuration.seriesLimit, storage: storage
        )
        if let declaration, declaration.kind != kind { return .failure(Clash(other: name)) }
        for sample in family.sampleNames {
            if let other = state.sampleNames[sample] { return .failure(Clash(other: other)) }
        }
        for sample in family.sampleNames { state.sampleNames[sample] = name }
        state.families[name] = family
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

    // MARK: Idle series

    /// Drops series that were neither asked for nor held for the idle lifetime. Called by scrapes, so that a registry that
    /// nobody scrapes keeps what it has.
    func sweep(now: ContinuousClock.Instant = .now) {
        guard let lifetime = self.configuration.idleLifetime else { return }
        let isDue = self.state.withLock { state in
            guard now - state.lastSweep >= lifetime else { return false }
            state.lastSweep = now
            return true
        }
        guard isDue else { return }
        let generation = self.generation.wrappingAdd(1, ordering: .relaxed).newValue
        // Not touched in the interval that just ended, nor in the one before: at least one whole lifetime.
        self.drop { generation &- $0 >= 2 }
    }

    private func drop(where isIdle: (_ lastUsed: UInt32) -> Bool) {
        self.state.withLock { state in
            // Under the lock nobody makes a series anew; finding an old recorder needs its table, which holds it no more.
            var idle: Set<ObjectIdentifier> = []
            var held: Set<ObjectIdentifier> = []
            func sort<Recorder: AnyObject & Sendable>(
                _ table: LookupTable<Recorder>, _ series: (Recorder) -> SeriesRecord
            ) {
                for recorder in table.removeAll(where: { _, used, isUnique in isUnique && isIdle(used) }) {
                    idle.insert(ObjectIdentifier(series(recorder)))
                }
                // Other spellings and faces of a series, which somebody may hold.
                table.forEach { held.insert(ObjectIdentifier(series($0))) }
            }
            sort(self.counters, \.series)
            sort(self.floatingPointCounters, \.series)
            sort(self.gauges, \.series)
            sort(self.histograms, \.series)
            let gone = self.rows.removeAll { series, _, _ in
                idle.contains(ObjectIdentifier(series)) && !held.contains(ObjectIdentifier(series))
            }
            for series in Dictionary(grouping: gone, by: { ObjectIdentifier($0.family) }).values {
                series[0].family.remove(series)
            }
            for series in gone { series.free() }
            state.series -= gone.count
        }
    }
}

extension Family {
    /// The label with the most values, which is the one to blame for too many series. Looks at 10,000 series at most.
    var mostDiverseLabel: String? {
        var values: [String: Set<String>] = [:]
        for chunk in self.chunks.prefix(40) {
            for index in 0..<chunk.count {
                for (name, value) in LabelReader(chunk.labels(index)) { values[name, default: []].insert(value) }
            }
        }
        return values.max { ($0.value.count, $1.key) < ($1.value.count, $0.key) }?.key
    }
}
