import CoreMetrics
import Synchronization

/// One series: the current value of a counter or gauge, or the buckets of a histogram. Exact under any concurrency.
final class Series: Sendable {
    private let number = Atomic<UInt64>(0)
    private let touched = Atomic<Bool>(false)
    private let histogram: Mutex<HistogramState>?
    private let bounds: [Double]

    struct HistogramState {
        var buckets: [UInt64]
        var sum = 0.0
    }

    init(kind: MetricKind, buckets: [Double]) {
        self.bounds = buckets
        self.histogram =
            kind == .histogram
            ? Mutex(HistogramState(buckets: Array(repeating: 0, count: buckets.count + 1))) : nil
    }

    /// Whether nothing was recorded yet.
    var isUntouched: Bool { !self.touched.load(ordering: .relaxed) }

    var value: Double { Double(bitPattern: self.number.load(ordering: .relaxed)) }

    func add(_ amount: Double) {
        self.touched.store(true, ordering: .relaxed)
        var current = self.number.load(ordering: .relaxed)
        while true {
            let next = (Double(bitPattern: current) + amount).bitPattern
            let (exchanged, original) = self.number.weakCompareExchange(
                expected: current, desired: next, ordering: .relaxed
            )
            if exchanged { return }
            current = original
        }
    }

    func set(_ value: Double) {
        self.touched.store(true, ordering: .relaxed)
        self.number.store(value.bitPattern, ordering: .relaxed)
    }

    func observe(_ value: Double) {
        guard !value.isNaN else { return }
        // First bound that is not below the value: `le` is inclusive.
        var low = 0
        var high = self.bounds.count
        while low < high {
            let middle = (low + high) / 2
            if self.bounds[middle] < value { low = middle + 1 } else { high = middle }
        }
        self.histogram?.withLock { state in
            state.buckets[low] += 1
            state.sum += value
        }
    }

    /// Cumulative counts by upper bound, `+Inf` last, and the sum.
    func snapshot() -> (buckets: [(bound: Double, count: UInt64)], sum: Double) {
        guard let state = self.histogram?.withLock({ $0 }) else { return ([], 0) }
        var total: UInt64 = 0
        let buckets = zip(self.bounds + [.infinity], state.buckets).map { bound, count in
            total += count
            return (bound: bound, count: total)
        }
        return (buckets, state.sum)
    }
}

// What swift-metrics asks of a series, by kind.
extension Series: CounterHandler, FloatingPointCounterHandler, RecorderHandler, TimerHandler {
    func increment(by amount: Int64) {
        // A counter only goes up: a negative step is a mistake of the caller and must not look like a restart.
        if amount > 0 { self.add(Double(amount)) }
    }

    func increment(by amount: Double) {
        if amount > 0, amount.isFinite { self.add(amount) }
    }

    func reset() {
        self.number.store(0, ordering: .relaxed)
    }

    func record(_ value: Int64) { self.record(Double(value)) }
    func record(_ value: Double) {
        if self.histogram == nil { self.set(value) } else { self.observe(value) }
    }

    func recordNanoseconds(_ duration: Int64) { self.observe(Double(duration) / 1_000_000_000) }
}

/// A meter adds where a counter increments: the two protocols share a method name, so gauges get a face of their own.
final class GaugeHandler: MeterHandler {
    let series: Series

    init(series: Series) { self.series = series }

    func set(_ value: Int64) { self.series.set(Double(value)) }
    func set(_ value: Double) { self.series.set(value) }
    func increment(by amount: Double) { self.series.add(amount) }
    func decrement(by amount: Double) { self.series.add(-amount) }
}
