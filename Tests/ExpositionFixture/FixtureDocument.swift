import CoreMetrics
import Foundation
import LanternMetrics
import Synchronization

/// A list of metrics and what is recorded into them, in order.
///
/// ```json
/// {"metrics": [{"kind": "counter", "name": "jobs.done", "labels": [["queue", "a"]], "values": [1, 0.5, "NaN"]}]}
/// ```
struct FixtureDocument: Decodable {
    var metrics: [FixtureMetric]

    init(json: Data) throws {
        do {
            self = try JSONDecoder().decode(FixtureDocument.self, from: json)
        } catch let error as DecodingError {
            throw FixtureError(error)
        }
    }

    func record(into registry: MetricsRegistry) throws {
        let span = CurrentSpan()
        registry.takeExemplars { span.context }
        for (index, metric) in self.metrics.enumerated() {
            span.context = metric.exemplar.map { ExemplarContext(traceID: $0.traceID, spanID: $0.spanID) }
            do {
                try metric.record(into: registry)
            } catch let error as FixtureError {
                throw FixtureError("metrics[\(index)]: \(error)")
            }
        }
    }
}

/// One recorder, and what it records.
struct FixtureMetric: Decodable {
    enum Kind: String, Decodable { case counter, gauge, histogram, timer, info }

    struct Exemplar: Decodable {
        var traceID: String
        var spanID: String

        enum CodingKeys: String, CodingKey {
            case traceID = "trace_id"
            case spanID = "span_id"
        }
    }

    var kind: Kind
    /// The name as a caller writes it.
    var name: String
    /// The exposed name, which declarations go by; `name` where it is the same.
    var declared: String?
    /// Pairs of name and value.
    var labels: [[String]]?
    /// A timer's are whole nanoseconds; all others may be any numbers.
    var values: [FixtureNumber]?
    /// The metric is declared where any of these three is there.
    var help: String?
    var buckets: [FixtureNumber]?
    var native: Bool?
    /// The span that the values are recorded in.
    var exemplar: Exemplar?

    func record(into registry: MetricsRegistry) throws {
        let labels = try self.dimensions()
        let values = self.values ?? []
        if self.kind == .info {
            return registry.collectInfo(self.name, help: self.help ?? "", labels: labels)
        }
        self.declare(in: registry)
        switch self.kind {
        case .counter:
            let counter = CoreMetrics.Counter(label: self.name, dimensions: labels, factory: registry)
            for value in values {
                if let whole = value.whole {
                    counter.increment(by: whole)
                } else {
                    CoreMetrics.FloatingPointCounter(label: self.name, dimensions: labels, factory: registry)
                        .increment(by: value.value)
                }
            }
        case .gauge:
            let meter = CoreMetrics.Meter(label: self.name, dimensions: labels, factory: registry)
            for value in values { meter.set(value.value) }
        case .histogram:
            let recorder = CoreMetrics.Recorder(label: self.name, dimensions: labels, factory: registry)
            for value in values { recorder.record(value.value) }
        case .timer:
            let timer = CoreMetrics.Timer(label: self.name, dimensions: labels, factory: registry)
            for value in values {
                guard let nanoseconds = value.whole else {
                    throw FixtureError("\(value.value) is no whole number of nanoseconds")
                }
                timer.recordNanoseconds(nanoseconds)
            }
        case .info: break
        }
    }

    private func dimensions() throws -> [(String, String)] {
        try (self.labels ?? []).map { pair in
            guard pair.count == 2 else { throw FixtureError("a label is a pair, not \(pair)") }
            return (pair[0], pair[1])
        }
    }

    private func declare(in registry: MetricsRegistry) {
        guard self.help != nil || self.buckets != nil || self.native != nil else { return }
        let kind: MetricKind =
            switch self.kind {
            case .counter: .counter
            case .gauge, .info: .gauge
            case .histogram, .timer: .histogram
            }
        registry.declare([
            MetricDeclaration(
                self.declared ?? self.name, kind, self.help ?? "",
                buckets: self.buckets?.map(\.value) ?? MetricDeclaration.defaultBuckets, isNative: self.native ?? false
            )
        ])
    }
}

/// A number, also one that JSON has no word for.
struct FixtureNumber: Decodable {
    let value: Double
    /// Where it is one: a `Double` does not hold every whole number.
    let whole: Int64?

    private static let words: [String: Double] = ["NaN": .nan, "+Inf": .infinity, "-Inf": -.infinity]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let word = try? container.decode(String.self) else {
            self.value = try container.decode(Double.self)
            self.whole = try? container.decode(Int64.self)
            return
        }
        guard let value = Self.words[word] else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "\"\(word)\" is neither a number nor NaN, +Inf or -Inf"
            )
        }
        self.value = value
        self.whole = nil
    }
}

/// The span that the values of one metric are recorded in.
private final class CurrentSpan: Sendable {
    private let state = Mutex<ExemplarContext?>(nil)

    var context: ExemplarContext? {
        get { self.state.withLock { $0 } }
        set { self.state.withLock { $0 = newValue } }
    }
}

extension FixtureError {
    /// Where the document is wrong, and how.
    init(_ error: DecodingError) {
        switch error {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
            .dataCorrupted(let context):
            let keys = context.codingPath.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }
            self.init("document\(keys.joined()): \(context.debugDescription)")
        @unknown default:
            self.init("the document cannot be read: \(error)")
        }
    }
}
