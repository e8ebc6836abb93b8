import CoreMetrics
public import Logging
public import ServiceLifecycle
import Synchronization

/// Collects finished spans in a bounded queue and exports them in batches, by count and by time.
///
/// Ending a span costs its caller one short lock. When the queue is full the span is dropped and counted
/// (`lantern_spans_dropped_total`). At shutdown what is queued is exported once more, within the exporter's time limit.
public final class BatchSpanProcessor: SpanProcessor, Service {
    /// As `OTEL_BSP_*` names them.
    public struct Limits: Sendable {
        public var queueSize = 2_048
        public var batchSize = 512
        public var delay: Duration = .seconds(5)

        public init() {}
    }

    private struct State {
        var queue: [FinishedSpan] = []
        var waiter: CheckedContinuation<Void, Never>?
        var signalled = false
    }

    private let state = Mutex(State())
    private let exporter: any SpanExporter
    private let limits: Limits
    private let logger: Logger
    private let dropped: Counter
    private let exported: Counter

    /// Makes its counters with the metrics factory that is current here.
    public init(exporter: any SpanExporter, limits: Limits = Limits(), logger: Logger) {
        self.exporter = exporter
        self.limits = limits
        self.logger = logger
        self.dropped = Counter(label: "lantern_spans_dropped_total")
        self.exported = Counter(label: "lantern_spans_exported_total")
    }

    public func process(_ span: FinishedSpan) {
        let (accepted, waiter) = self.state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
            guard state.queue.count < self.limits.queueSize else { return (false, nil) }
            state.queue.append(span)
            guard state.queue.count >= self.limits.batchSize else { return (true, nil) }
            let waiter = state.waiter
            state.waiter = nil
            state.signalled = waiter == nil
            return (true, waiter)
        }
        if !accepted { self.dropped.increment() }
        waiter?.resume()
    }

    /// Exports until the service group shuts down, then once more what is left.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await self.waitForBatch()
                // In a task of its own: the shutdown cancels the waiting, not an export that is under way.
                await Task { await self.exportQueued() }.value
            }
        }
    }

    private func exportQueued() async {
        while true {
            let batch = self.state.withLock { state -> [FinishedSpan] in
                let batch = Array(state.queue.prefix(self.limits.batchSize))
                state.queue.removeFirst(batch.count)
                return batch
            }
            guard !batch.isEmpty else { return }
            do {
                try await self.exporter.export(batch)
                self.exported.increment(by: batch.count)
            } catch {
                self.dropped.increment(by: batch.count)
                self.logger.warning(
                    "spans could not be exported", error: error, metadata: ["spans": .stringConvertible(batch.count)]
                )
            }
        }
    }

    /// Returns when a batch is full, the delay is over, or the task is cancelled.
    private func waitForBatch() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: self.limits.delay) }
            group.addTask { await self.waitForSignal() }
            await group.next()
            group.cancelAll()
        }
    }

    private func waitForSignal() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = self.state.withLock { state -> Bool in
                    if state.signalled || Task.isCancelled {
                        state.signalled = false
                        return true
                    }
                    state.waiter = continuation
                    return false
                }
                if now { continuation.resume() }
            }
        } onCancel: {
            self.state.withLock { state in
                let waiter = state.waiter
                state.waiter = nil
                return waiter
            }?.resume()
        }
    }
}

/// Sends spans somewhere. Called by one task at a time; must end within its own time limit.
public protocol SpanExporter: Sendable {
    func export(_ spans: [FinishedSpan]) async throws
}
