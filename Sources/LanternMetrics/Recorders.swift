import CoreMetrics
import Synchronization

/// Increments of a counter, as swift-metrics and ``Counter`` make them.
final class CounterRecorder: CounterHandler, Sendable {
    let series: SeriesRecord
    private let cell: Cell
    private let exemplars: ExemplarTaker?

    init(series: SeriesRecord) {
        self.series = series
        self.cell = series.cell
        self.exemplars = ExemplarTaker(series.exemplars)
        series.recorders.add(1, ordering: .relaxed)
    }

    // Releasing: whoever sees none left sees all that was recorded.
    deinit { self.series.recorders.subtract(1, ordering: .releasing) }

    /// A counter only goes up: a step back would look like a restart to Prometheus, so it is left out.
    func increment(by amount: Int64) {
        guard amount > 0 else { return }
        self.cell.add(UInt64(amount))
        self.exemplars?.offer(0, Double(amount))
    }

    func reset() {
        var reader = self.series.store.reader()
        self.cell.restart(reader.sum(self.cell.cell))
    }
}

/// Floating-point increments of a counter.
final class FloatingPointCounterRecorder: FloatingPointCounterHandler, Sendable {
    let series: SeriesRecord
    /// `nil` where memory was out.
    private let cell: Cell?
    private let exemplars: ExemplarTaker?

    init(series: SeriesRecord) {
        self.series = series
        self.cell = series.fractions()
        self.exemplars = ExemplarTaker(series.exemplars)
        series.recorders.add(1, ordering: .relaxed)
    }

    // Releasing: whoever sees none left sees all that was recorded.
    deinit { self.series.recorders.subtract(1, ordering: .releasing) }

    func increment(by amount: Double) {
        guard amount > 0, amount.isFinite else { return }
        self.cell?.add(amount)
        self.exemplars?.offer(0, amount)
    }

    func reset() {
        guard let cell = self.cell else { return }
        var reader = self.series.store.reader()
        cell.restart(reader.sumOfDoubles(cell.cell))
    }
}

/// A gauge: what a meter sets, or the last value of a recorder that does not aggregate.
final class GaugeRecorder: MeterHandler, RecorderHandler, Sendable {
    let series: SeriesRecord
    private let cell: Cell

    init(series: SeriesRecord) {
        self.series = series
        self.cell = series.cell
        series.recorders.add(1, ordering: .relaxed)
    }

    // Releasing: whoever sees none left sees all that was recorded.
    deinit { self.series.recorders.subtract(1, ordering: .releasing) }

    func set(_ value: Int64) { self.cell.set(Double(value)) }
    func set(_ value: Double) { self.cell.set(value) }
    func increment(by amount: Double) { self.cell.addShared(amount) }
    func decrement(by amount: Double) { self.cell.addShared(-amount) }
    func record(_ value: Int64) { self.cell.set(Double(value)) }
    func record(_ value: Double) { self.cell.set(value) }
}

/// Observations of a histogram: durations of a timer, or values of a recorder.
final class HistogramRecorder: TimerHandler, RecorderHandler, Sendable {
    let series: SeriesRecord
    private let cell: Cell
    private let bounds: BucketBounds
    private let isNanoseconds: Bool
    private let exemplars: ExemplarTaker?
    private let native: NativeHistogram?

    init(series: SeriesRecord, bounds: BucketBounds) {
        self.series = series
        self.cell = series.cell
        self.bounds = bounds
        self.isNanoseconds = series.family.storage == .nanoseconds
        self.native = series.native
        self.exemplars = ExemplarTaker(series.exemplars)
        series.recorders.add(1, ordering: .relaxed)
    }

    // Releasing: whoever sees none left sees all that was recorded.
    deinit { self.series.recorders.subtract(1, ordering: .releasing) }

    /// A negative duration, from a clock that was set back, counts as none.
    func recordNanoseconds(_ duration: Int64) {
        guard self.isNanoseconds else { return self.observe(Double(duration) / 1_000_000_000) }
        let duration = max(0, duration)
        let bucket = self.cell.observe(UInt64(duration), bounds: self.bounds)
        self.native?.observe(Double(duration))
        self.exemplars?.offer(bucket, Double(duration) / 1_000_000_000)
    }

    func record(_ value: Int64) { self.record(Double(value)) }

    func record(_ value: Double) {
        if self.isNanoseconds {
            // Seconds into a metric of timers: rounded to what timers measure, and no longer than a century, so that a value
            // without measure cannot make the sum overflow.
            guard !value.isNaN else { return }
            self.recordNanoseconds(Int64((min(max(0, value), 3_155_760_000) * 1_000_000_000).rounded()))
        } else {
            self.observe(value)
        }
    }

    private func observe(_ value: Double) {
        guard !value.isNaN else { return }
        let bucket = self.cell.observe(value, bounds: self.bounds)
        self.native?.observe(value)
        self.exemplars?.offer(bucket, value)
    }
}
