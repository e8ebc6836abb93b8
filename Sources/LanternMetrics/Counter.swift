/// A number that only goes up: the typed face of a counter's series.
///
/// Copies are the same series. Safe from any thread; an increment takes no lock and allocates nothing.
public struct Counter: Sendable {
    let recorder: CounterRecorder

    /// Adds; an amount below zero is left out.
    public func increment(by amount: Int = 1) { self.recorder.increment(by: Int64(amount)) }

    /// Adds a fraction, which takes a lock for a moment; an amount below zero, or one that is not finite, is left out.
    public func increment(by amount: Double) {
        FloatingPointCounterRecorder(series: self.recorder.series).increment(by: amount)
    }
}

extension MetricsRegistry {
    /// Declares a counter without labels.
    /// - Parameter name: As exposed; `_total` is added where it is missing.
    /// - Throws: ``MetricsError``.
    public func counter(_ name: String, _ help: String) throws(MetricsError) -> Counter {
        let name = try self.declare(name, .counter, help, labels: [], storage: .number)
        return Counter(recorder: self.counterRecorder(name, []))
    }

    /// Declares a counter with labels.
    public func counter<each Value: LabelValue>(
        _ name: String, _ help: String, labels: repeat Label<each Value>
    ) throws(MetricsError) -> MetricFamily<Counter, repeat each Value> {
        var names: [String] = []
        for label in repeat each labels { names.append(label.name) }
        let name = try self.declare(name, .counter, help, labels: names, storage: .number)
        return MetricFamily(names: names) { Counter(recorder: self.counterRecorder(name, $0)) }
    }
}
