/// A distribution of values: the typed face of a histogram's series.
///
/// Copies are the same series. Safe from any thread; an observation takes no lock and allocates nothing.
public struct Histogram: Sendable {
    let recorder: HistogramRecorder

    /// Counts a value in the unit of the metric. `NaN` is left out.
    public func observe(_ value: Double) { self.recorder.record(value) }

    /// Counts a duration, in seconds, exact to the nanosecond.
    public func observe(_ duration: Duration) { self.recorder.recordNanoseconds(Int64(duration.wholeNanoseconds)) }

    /// Counts how long `body` takes, also where it throws.
    public nonisolated(nonsending) func time<Value, Failure: Error>(
        _ body: nonisolated(nonsending) () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let start = ContinuousClock.now
        defer { self.observe(start.duration(to: .now)) }
        return try await body()
    }
}

extension MetricsRegistry {
    /// Declares a histogram without labels. One whose name ends in `_seconds` keeps its sum in whole nanoseconds.
    /// - Parameters:
    ///   - buckets: Upper bounds, ascending; `+Inf` is implied.
    ///   - isNative: Whether it has exponential buckets too (``MetricDeclaration/isNative``).
    /// - Throws: ``MetricsError``.
    public func histogram(
        _ name: String, _ help: String, buckets: [Double] = MetricDeclaration.defaultBuckets, isNative: Bool = false
    ) throws(MetricsError) -> Histogram {
        let storage = Self.storage(name)
        let name = try self.declare(
            name, .histogram, help, labels: [], buckets: buckets, isNative: isNative, storage: storage
        )
        return Histogram(recorder: self.histogramRecorder(name, [], storage))
    }

    /// Declares a histogram with labels.
    public func histogram<each Value: LabelValue>(
        _ name: String, _ help: String, buckets: [Double] = MetricDeclaration.defaultBuckets, isNative: Bool = false,
        labels: repeat Label<each Value>
    ) throws(MetricsError) -> MetricFamily<Histogram, repeat each Value> {
        var names: [String] = []
        for label in repeat each labels { names.append(label.name) }
        let storage = Self.storage(name)
        let name = try self.declare(
            name, .histogram, help, labels: names, buckets: buckets, isNative: isNative, storage: storage
        )
        return MetricFamily(names: names) { Histogram(recorder: self.histogramRecorder(name, $0, storage)) }
    }

    private static func storage(_ name: String) -> Family.Storage {
        name.hasSuffix("_seconds") ? .nanoseconds : .number
    }
}
