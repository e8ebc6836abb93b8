/// A label of a declared metric: its name, and what type its values have. A type with few values, such as an enumeration,
/// is a label that cannot explode.
public struct Label<Value: LabelValue>: Sendable {
    public let name: String

    public init(_ name: String) { self.name = name }
}

/// What can be the value of a label.
public protocol LabelValue: Sendable {
    /// The value as exposed. An empty one is the same as no label.
    var labelValue: String { get }
}

extension String: LabelValue {
    public var labelValue: String { self }
}

extension Int: LabelValue {
    public var labelValue: String { String(self) }
}

extension Bool: LabelValue {
    public var labelValue: String { self ? "true" : "false" }
}

extension Optional: LabelValue where Wrapped: LabelValue {
    public var labelValue: String { self?.labelValue ?? "" }
}

extension LabelValue where Self: RawRepresentable, RawValue == String {
    public var labelValue: String { self.rawValue }
}

/// A declared metric with labels. Bind the values once and keep the handle: binding looks the series up, recording does
/// not.
public struct MetricFamily<Metric: Sendable, each Value: LabelValue>: Sendable {
    private let names: [String]
    private let bind: @Sendable ([(String, String)]) -> Metric

    init(names: [String], bind: @escaping @Sendable ([(String, String)]) -> Metric) {
        self.names = names
        self.bind = bind
    }

    /// The series of these label values, in the order in which the labels were declared. Beyond the limit of the metric it
    /// is the overflow series.
    public func with(_ values: repeat each Value) -> Metric {
        var texts: [String] = []
        for value in repeat each values { texts.append(value.labelValue) }
        return self.bind(Array(zip(self.names, texts)))
    }
}
