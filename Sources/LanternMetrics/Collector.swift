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

    /// Adds one sample of a counter or gauge. `name` is the exposed name.
    public mutating func add(
        _ name: String, _ kind: MetricKind, labels: [(String, String)] = [], value: Double
    ) {
        let family = MetricName.family(name, kind: kind, allowsUTF8: self.allowsUTF8Names)
        self.families[family, default: Samples(kind: kind)].samples.append(
            Sample(labels: LabelSet(labels, allowsUTF8: self.allowsUTF8Names), value: value)
        )
    }

    /// Adds a gauge that is always 1 and says something with its labels. `name` ends in `_info`.
    public mutating func addInfo(_ name: String, labels: [(String, String)]) {
        self.add(name, .gauge, labels: labels, value: 1)
        if name.hasSuffix("_info") { self.infos.insert(name) }
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
struct Collector: Sendable {
    let name: String
    let collect: @Sendable (inout SampleSink) -> Void
    let isBusy = Flag()

    final class Flag: Sendable {
        let value = Atomic<Bool>(false)
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
            return all
        }
    }

    private func run(_ collector: Collector) async -> SampleSink {
        let empty = SampleSink(allowsUTF8Names: self.configuration.allowsUTF8Names)
        guard !collector.isBusy.value.exchange(true, ordering: .acquiring) else {
            self.failed(collector)
            return empty
        }
        let limit = self.configuration.collectorTimeout
        let sink: SampleSink? = await withCheckedContinuation { continuation in
            let waiting = Waiting(continuation)
            // Not a task: a callback that blocks must not take a thread that the service's tasks need.
            DispatchQueue.global(qos: .utility).async {
                var sink = empty
                collector.collect(&sink)
                collector.isBusy.value.store(false, ordering: .releasing)
                waiting.resume(sink)
            }
            DispatchQueue.global(qos: .utility).asyncAfter(deadline: .now() + .nanoseconds(limit.wholeNanoseconds)) {
                waiting.resume(nil)
            }
        }
        if sink == nil { self.failed(collector) }
        return sink ?? empty
    }

    private func failed(_ collector: Collector) {
        self.counterRecorder("lantern_metrics_collector_failures_total", [("collector", collector.name)]).increment(
            by: 1)
    }

    /// Resumes its continuation once, whoever comes first.
    private final class Waiting: Sendable {
        private let continuation: Mutex<CheckedContinuation<SampleSink?, Never>?>

        init(_ continuation: CheckedContinuation<SampleSink?, Never>) { self.continuation = Mutex(continuation) }

        func resume(_ sink: SampleSink?) {
            let continuation = self.continuation.withLock { continuation in
                defer { continuation = nil }
                return continuation
            }
            continuation?.resume(returning: sink)
        }
    }
}

extension Duration {
    /// In nanoseconds, at most what an `Int` holds.
    var wholeNanoseconds: Int {
        let (seconds, attoseconds) = self.components
        let (product, overflow) = Int(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : product + Int(attoseconds / 1_000_000_000)
    }

    var inSeconds: Double {
        Double(self.components.seconds) + Double(self.components.attoseconds) / 1_000_000_000_000_000_000
    }
}
