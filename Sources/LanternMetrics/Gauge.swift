/// A number that goes up and down: the typed face of a gauge's series.
///
/// Copies are the same series. Safe from any thread; of two that set it at once, one is last.
public struct Gauge: Sendable {
    let recorder: GaugeRecorder

    public func set(_ value: Double) { self.recorder.set(value) }
    public func set(_ value: Int) { self.recorder.set(Int64(value)) }
    public func increment(by amount: Double = 1) { self.recorder.increment(by: amount) }
    public func decrement(by amount: Double = 1) { self.recorder.decrement(by: amount) }
}

extension MetricsRegistry {
    /// Declares a gauge without labels.
    /// - Throws: ``MetricsError``.
    public func gauge(_ name: String, _ help: String) throws(MetricsError) -> Gauge {
        let name = try self.declare(name, .gauge, help, labels: [], storage: .number)
        return Gauge(recorder: self.gaugeRecorder(name, []))
    }

    /// Declares a gauge with labels.
    public func gauge<each Value: LabelValue>(
        _ name: String, _ help: String, labels: repeat Label<each Value>
    ) throws(MetricsError) -> MetricFamily<Gauge, repeat each Value> {
        var names: [String] = []
        for label in repeat each labels { names.append(label.name) }
        let name = try self.declare(name, .gauge, help, labels: names, storage: .number)
        return MetricFamily(names: names) { Gauge(recorder: self.gaugeRecorder(name, $0)) }
    }
}
