import BenchmarkSupport
import CoreMetrics
import Synchronization

/// A registry as one would write it in an afternoon: one dictionary under a mutex, a mutex in each metric, text by string
/// interpolation. What is measured beside ours in the same run.
final class BaselineRegistry: MetricsFactory {
    struct Key: Hashable {
        var name: String
        var labels: [Pair]
    }

    struct Pair: Hashable {
        var name: String
        var value: String
    }

    private let state = Mutex<[Key: any Sendable & AnyObject]>([:])

    private func handler<Handler: AnyObject & Sendable>(
        _ label: String, _ dimensions: [(String, String)], _ make: (String, String) -> Handler
    ) -> Handler {
        // What makes two spellings one series: clean names, sorted labels.
        let labels = dimensions.map { Pair(name: Self.clean($0.0), value: $0.1) }.sorted { $0.name < $1.name }
        let key = Key(name: Self.clean(label), labels: labels)
        return self.state.withLock { state in
            if let handler = state[key] as? Handler { return handler }
            let handler = make(key.name, labels.map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ","))
            state[key] = handler
            return handler
        }
    }

    private static func isClean(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
            || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
    }

    private static func clean(_ name: String) -> String {
        if name.utf8.allSatisfy(self.isClean) { return name }
        return String(decoding: name.utf8.map { self.isClean($0) ? $0 : UInt8(ascii: "_") }, as: UTF8.self)
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        self.handler(label, dimensions) { BaselineNumber($0, $1) }
    }

    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        NOOPMetricsHandler.instance.makeMeter(label: label, dimensions: dimensions)
    }

    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        NOOPMetricsHandler.instance.makeRecorder(label: label, dimensions: dimensions, aggregate: aggregate)
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        self.handler(label, dimensions) { BaselineTimer($0, $1) }
    }

    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyMeter(_ handler: any MeterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}

    func exposition() -> [UInt8] {
        let handlers = self.state.withLock { Array($0.values) }
        var text = ""
        for handler in handlers { (handler as? any BaselineText)?.write(to: &text) }
        return Array(text.utf8)
    }
}

protocol BaselineText { func write(to text: inout String) }

final class BaselineNumber: CounterHandler, BaselineText {
    private let name: String
    private let labels: String
    private let value = Mutex<Int64>(0)

    init(_ name: String, _ labels: String) {
        self.name = name
        self.labels = labels
    }

    func increment(by amount: Int64) { self.value.withLock { $0 += amount } }
    func reset() { self.value.withLock { $0 = 0 } }
    func write(to text: inout String) { text += "\(self.name){\(self.labels)} \(self.value.withLock { $0 })\n" }
}

final class BaselineTimer: TimerHandler, BaselineText {
    static let bounds: [Duration] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000].map {
        .milliseconds($0)
    }

    private struct State {
        var buckets = [Int](repeating: 0, count: 12)
        var sum = Duration.zero
    }

    private let name: String
    private let labels: String
    private let state = Mutex(State())

    init(_ name: String, _ labels: String) {
        self.name = name
        self.labels = labels
    }

    func recordNanoseconds(_ duration: Int64) {
        let value = Duration.nanoseconds(duration)
        self.state.withLock { state in
            for (index, bound) in Self.bounds.enumerated() where value <= bound { state.buckets[index] += 1 }
            state.buckets[11] += 1
            state.sum += value
        }
    }

    func write(to text: inout String) {
        let state = self.state.withLock { $0 }
        for (index, bound) in Self.bounds.enumerated() {
            let (seconds, attoseconds) = bound.components
            let le = Double(seconds) + Double(attoseconds) / 1e18
            text += "\(self.name)_bucket{\(self.labels),le=\"\(le)\"} \(state.buckets[index])\n"
        }
        text += "\(self.name)_bucket{\(self.labels),le=\"+Inf\"} \(state.buckets[11])\n"
        let (seconds, attoseconds) = state.sum.components
        text += "\(self.name)_sum{\(self.labels)} \(Double(seconds) + Double(attoseconds) / 1e18)\n"
        text += "\(self.name)_count{\(self.labels)} \(state.buckets[11])\n"
    }
}
