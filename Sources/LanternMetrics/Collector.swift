import Dispatch
import Synchronization

/// Collects samples that callbacks give at scrape.
public struct SampleSink: Sendable {
    struct Sample: Sendable {
        var labels: LabelSet
        var value: Double
    }

    struct Samples: Sendable {
        var kind: MetricKind
        var samples: [Sample] = []
    }

    private(set) var families: [String: Samples] = [:]
    /// Names that `# TYPE` calls `info` in OpenMetrics.
    private(set) var infos: Set<String> = []
    private let allowsUTF8Names: Bool

    init(allowsUTF8Names: Bool = false) { self.allowsUTF8Names = allowsUTF8Names }

    /// Adds one sample of a counter or gauge. `name` is the exposed name. A histogram cannot be given by one sample: that is
    /// left out.
    public mutating func add(
        _ name: String, _ kind: MetricKind, labels: [(String, String)] = [], value: Double
    ) {
        guard kind != .histogram else { return }
        let family = MetricName.family(name, kind: kind, allowsUTF8: self.allowsUTF8Names)
        self.families[family, default: Samples(kind: kind)].samples.append(
            Sample(labels: LabelSet(labels, of: kind, allowsUTF8: self.allowsUTF8Names), value: value)
        )
    }

    /// Adds a gauge that is always 1 and says something with its labels. `name` ends in `_info`.
    public mutating func addInfo(_ name: String, labels: [(String, String)]) {
        self.add(name, .gauge, labels: labels, value: 1)
        if name.hasSuffix("_info") { self.infos.insert(name) }
    }

    /// Keeps the last of several samples of one series: a series that is there twice fails the whole scrape.
    mutating func dropRepeated() {
        for (name, family) in self.families where family.samples.count > 1 {
            var kept: [Sample] = []
            var places: [[UInt8]: Int] = [:]
            for sample in family.samples {
                var labels: [UInt8] = []
                sample.labels.write(to: &labels)
                if let place = places[labels] {
                    kept[place] = sample
                } else {
                    places[labels] = kept.count
                    kept.append(sample)
                }
            }
            if kept.count < family.samples.count { self.families[name]?.samples = kept }
        }
    }

    mutating func merge(_ other: SampleSink) {
        self.families.merge(other.families) { mine, theirs in
            // The first kind stays: one name cannot have two types.
            mine.kind == theirs.kind ? Samples(kind: mine.kind, samples: mine.samples + theirs.samples) : mine
        }
        self.infos.formUnion(other.infos)
    }
}

/// A callback that gives samples at each scrape.
final class Collector: Sendable {
    private struct State {
        /// When the run that is under way began.
        var started: ContinuousClock.Instant?
        var waiting: [Waiter] = []
    }

    let name: String
    let collect: @Sendable (inout SampleSink) -> Void
    private let state = Mutex(State())
    /// Of its own: collectors that block may take all threads of the global queues.
    private let deadlines = DispatchQueue(label: "lantern.collector.deadlines", qos: .userInitiated)

    init(name: String, collect: @escaping @Sendable (inout SampleSink) -> Void) {
        self.name = name
        self.collect = collect
    }

    /// The samples of a run, at most `limit` after it began; `nil` where it takes longer. Scrapes at one time share a run.
    func run(_ empty: SampleSink, within limit: Duration) async -> SampleSink? {
        let now = ContinuousClock.now
        return await withCheckedContinuation { continuation in
            let waiter = Waiter(continuation)
            let (started, isFirst) = self.state.withLock { state -> (ContinuousClock.Instant, Bool) in
                state.waiting.append(waiter)
                if let started = state.started { return (started, false) }
                state.started = now
                return (now, true)
            }
            if isFirst {
                // Not a task: a callback that blocks must not take a thread that the service's tasks need.
                DispatchQueue.global(qos: .utility).async {
                    var sink = empty
                    self.collect(&sink)
                    self.finish(sink)
                }
            }
            let rest = limit - started.duration(to: now)
            guard rest > .zero else { return self.giveUp(waiter) }
            self.deadlines.asyncAfter(deadline: .now() + .nanoseconds(rest.wholeNanoseconds)) { self.giveUp(waiter) }
        }
    }

    private func finish(_ sink: SampleSink) {
        let waiting = self.state.withLock { state in
            defer { state = State() }
            return state.waiting
        }
        for waiter in waiting { waiter.resume(sink) }
    }

    private func giveUp(_ waiter: Waiter) {
        self.state.withLock { state in state.waiting.removeAll { $0 === waiter } }
        waiter.resume(nil)
    }

    /// A scrape that waits; resumed once, whoever comes first.
    private final class Waiter: Sendable {
        private let continuation: Mutex<CheckedContinuation<SampleSink?, Never>?>

        init(_ continuation: CheckedContinuation<SampleSink?, Never>) { self.continuation = Mutex(continuation) }

        func resume(_ sink: SampleSink?) {
            self.continuation.withLock { $0.take() }?.resume(returning: sink)
        }
    }
}

extension MetricsRegistry {
    /// Adds a callback that gives samples at each scrape.
    ///
    /// It runs on a thread of its own, never two runs at once. A scrape waits ``MetricsConfiguration/collectorTimeout`` for
    /// it, then goes on without its samples and counts `lantern_metrics_collector_failures_total{collector}`.
    /// - Parameter name: Names the collector in that counter.
    public func collect(_ name: String, _ collector: @escaping @Sendable (inout SampleSink) -> Void) {
        self.state.withLock { $0.collectors.append(Collector(name: name, collect: collector)) }
    }

    /// Adds a gauge that is always 1 and says what runs: `target_info`, `lantern_build_info`.
    public func collectInfo(_ name: String, help: String, labels: [(String, String)]) {
        self.declare([MetricDeclaration(name, .gauge, help, labels: labels.map(\.0))])
        self.collect(name) { sink in sink.addInfo(name, labels: labels) }
    }

    /// Runs all collectors side by side, each within the time limit.
    func collected() async -> SampleSink {
        let collectors = self.state.withLock { $0.collectors }
        return await withTaskGroup(of: (Int, SampleSink).self) { group in
            for (index, collector) in collectors.enumerated() {
                group.addTask { (index, await self.run(collector)) }
            }
            var sinks: [(Int, SampleSink)] = []
            for await sink in group { sinks.append(sink) }
            // In the order in which they were added, so that a scrape does not depend on who was faster.
            var all = SampleSink(allowsUTF8Names: self.configuration.allowsUTF8Names)
            for (_, sink) in sinks.sorted(by: { $0.0 < $1.0 }) { all.merge(sink) }
            all.dropRepeated()
            return all
        }
    }

    private func run(_ collector: Collector) async -> SampleSink {
        let empty = SampleSink(allowsUTF8Names: self.configuration.allowsUTF8Names)
        if let sink = await collector.run(empty, within: self.configuration.collectorTimeout) { return sink }
        self.counterRecorder("lantern_metrics_collector_failures_total", [("collector", collector.name)])
            .increment(by: 1)
        return empty
    }
}

extension Duration {
    /// In nanoseconds, as far as an `Int` holds them: 292 years either way.
    var wholeNanoseconds: Int {
        let (seconds, attoseconds) = self.components
        let (product, isTooLong) = Int(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, isJustTooLong) = product.addingReportingOverflow(Int(attoseconds / 1_000_000_000))
        return isTooLong || isJustTooLong ? (seconds < 0 ? .min : .max) : sum
    }

    var inSeconds: Double {
        Double(self.components.seconds) + Double(self.components.attoseconds) / 1_000_000_000_000_000_000
    }
}
