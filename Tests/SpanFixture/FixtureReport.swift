import CoreMetrics
import Foundation
import LanternTracing
import Synchronization

/// Counts what was made, and writes to standard output what became of it.
final class FixtureReport: Sendable {
    private struct State {
        var isFinished = false
        /// When the end began.
        var ending: UInt64?
    }

    private let state = Mutex(State())
    private let count = Atomic(0)
    /// Nanoseconds, since the last line.
    private let longest = Atomic<UInt64>(0)
    private let counters: CounterFactory

    init(_ counters: CounterFactory) { self.counters = counters }

    /// Writes a line now, and each 200 ms until the end.
    func begin() {
        let thread = Thread {
            repeat { usleep(200_000) } while self.writeLine()
        }
        self.writeLine()
        thread.start()
    }

    func made(inNanoseconds nanoseconds: UInt64) {
        self.count.wrappingAdd(1, ordering: .relaxed)
        self.longest.max(nanoseconds, ordering: .relaxed)
    }

    /// A span of the document, with the ids that its maker sees.
    func made(_ span: LanternSpan, index: Int) {
        // What is not sampled is no span that anybody could export.
        if span.isRecording { self.count.wrappingAdd(1, ordering: .relaxed) }
        let context = span.spanContext
        self.write("{\"span\": \(index), \"trace_id\": \"\(context.traceID)\", \"span_id\": \"\(context.spanID)\"}")
    }

    /// The load is over, or is asked to be: from here on the time of the shutdown counts.
    func ending() {
        self.state.withLock { state in
            if state.ending == nil { state.ending = MonotonicTime.now }
        }
    }

    /// Writes the last line.
    func finish() {
        let began = self.state.withLock { state -> UInt64? in
            state.isFinished = true
            return state.ending
        }
        let milliseconds = began.map { (MonotonicTime.now - $0) / 1_000_000 } ?? 0
        self.write("{\(self.numbers), \"finished\": true, \"shutdown_ms\": \(milliseconds)}")
    }

    /// Answers `false` when there are no more lines to come.
    @discardableResult
    private func writeLine() -> Bool {
        // Under the lock, or it could follow the last one.
        self.state.withLock { state in
            if !state.isFinished { self.write("{\(self.numbers)}") }
            return !state.isFinished
        }
    }

    private var numbers: String {
        let longest = self.longest.exchange(0, ordering: .relaxed) / 1_000
        return "\"made\": \(self.count.load(ordering: .relaxed)), "
            + "\"exported\": \(self.counters.value(of: "lantern_spans_exported_total")), "
            + "\"dropped\": \(self.counters.value(of: "lantern_spans_dropped_total")), "
            + "\"failures\": \(self.counters.value(of: "lantern_span_export_failures_total")), "
            + "\"longest_call_us\": \(longest), \"rss_kib\": \(Self.residentKibibytes)"
    }

    private func write(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

    /// Memory of this process that is in use, from `/proc/self/statm` (proc(5)).
    private static var residentKibibytes: Int {
        let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
        guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
        return pages * sysconf(Int32(_SC_PAGESIZE)) / 1_024
    }
}

/// Keeps counters by name, and nothing of all other metrics.
final class CounterFactory: MetricsFactory {
    private final class Count: CounterHandler {
        let value = Atomic<Int64>(0)

        func increment(by amount: Int64) { self.value.wrappingAdd(amount, ordering: .relaxed) }
        func reset() { self.value.store(0, ordering: .relaxed) }
    }

    private let counts = Mutex<[String: Count]>([:])

    func value(of name: String) -> Int64 {
        self.counts.withLock { $0[name] }?.value.load(ordering: .relaxed) ?? 0
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        self.counts.withLock { counts in
            let count = counts[label] ?? Count()
            counts[label] = count
            return count
        }
    }

    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { NOOPMetricsHandler.instance }

    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        NOOPMetricsHandler.instance
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { NOOPMetricsHandler.instance }

    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyMeter(_ handler: any MeterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}
}

/// Nanoseconds of a clock that only goes forward.
enum MonotonicTime {
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
