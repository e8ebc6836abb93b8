import CoreMetrics
import NIOCore
import ServiceLifecycle
import Synchronization

/// Measures how long work waits before it runs: on each event loop, and on Swift's executor. A service whose threads are
/// blocked shows it here before its users tell.
struct RuntimeMonitor: Service {
    let eventLoops: any EventLoopGroup
    var interval: Duration = .seconds(1)

    func run() async throws {
        let lag = Timer(label: "lantern_event_loop_lag_seconds")
        let delay = Timer(label: "lantern_executor_delay_seconds")
        let probes =
            self.eventLoops.makeIterator().map { eventLoop in
                Probe { work in
                    eventLoop.execute { work() }
                } record: {
                    lag.recordNanoseconds($0)
                }
            } + [
                Probe { work in
                    Task { work() }
                } record: {
                    delay.recordNanoseconds($0)
                }
            ]
        do {
            try await cancelWhenGracefulShutdown {
                while true {
                    for probe in probes { probe.send() }
                    try await Task.sleep(for: self.interval)
                }
            }
        } catch is CancellationError {}
    }

    /// Asks one executor, never twice at a time: one that is stuck gets no queue of questions, and answers with its whole
    /// delay when it runs again.
    private final class Probe: Sendable {
        private let isUnderWay = Atomic<Bool>(false)
        private let schedule: @Sendable (@escaping @Sendable () -> Void) -> Void
        private let record: @Sendable (_ nanoseconds: Int64) -> Void

        init(
            _ schedule: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void,
            record: @escaping @Sendable (_ nanoseconds: Int64) -> Void
        ) {
            self.schedule = schedule
            self.record = record
        }

        func send() {
            guard !self.isUnderWay.exchange(true, ordering: .relaxed) else { return }
            let start = ContinuousClock.now
            self.schedule {
                let (seconds, attoseconds) = start.duration(to: .now).components
                self.record(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
                self.isUnderWay.store(false, ordering: .relaxed)
            }
        }
    }
}
