import CoreMetrics
public import Logging
public import ServiceLifecycle
import Synchronization

/// Collects finished spans in a bounded queue and exports them in batches, by count, by bytes and by time.
///
/// Ending a span costs its caller one short lock. When the queue is full the span is dropped and counted
/// (`lantern_spans_dropped_total`). A receiver that is away or busy is asked again with growing pauses, as OTLP says
/// ("OTLP/HTTP Response", "Failures"), until a batch's time is over. At shutdown what is queued is exported once more,
/// within a time limit, whatever the receiver does.
public final class BatchSpanProcessor: SpanProcessor, Service {
    /// As `OTEL_BSP_*` names them.
    public struct Limits: Sendable {
        /// Spans that wait or are being sent.
        public var queueSize = 2_048
        public var batchSize = 512
        /// How long a span waits for others.
        public var delay: Duration = .seconds(5)
        /// How long one batch is tried.
        public var exportTimeout: Duration = .seconds(30)
        /// How long the end of the service waits for what is queued.
        public var shutdownTimeout: Duration = .seconds(5)
        /// The first pause before another attempt; each further one is twice as long, up to `longestPause`, and shorter by
        /// chance, so that services do not come back all at once.
        public var firstPause: Duration = .seconds(1)
        public var longestPause: Duration = .seconds(16)

        public init() {}
    }

    private struct State {
        var queue: [FinishedSpan] = []
        var inFlight = 0
        /// Until when the receiver wants to be left alone.
        var notBefore: ContinuousClock.Instant?
        /// The exporting task waits for a first span.
        var isIdle = false
        /// Nobody exports any more.
        var isOver = false
    }

    private let state = Mutex(State())
    private let batchIsReady = Signal()
    private let closing = Signal()
    private let isClosing = Atomic(false)
    private let isFailing = Atomic(false)
    private let isRejecting = Atomic(false)
    private let exporter: any SpanExporter
    private let limits: Limits
    private let logger: Logger
    private let dropped: Counter
    private let exported: Counter
    private let failures: Counter
    private let queued: Meter
    private let duration: Timer

    /// Makes its metrics with the factory that is current here.
    public init(exporter: any SpanExporter, limits: Limits = Limits(), logger: Logger) {
        self.exporter = exporter
        self.limits = limits
        self.logger = logger
        self.dropped = Counter(label: "lantern_spans_dropped_total")
        self.exported = Counter(label: "lantern_spans_exported_total")
        self.failures = Counter(label: "lantern_span_export_failures_total")
        self.queued = Meter(label: "lantern_spans_queued")
        self.duration = Timer(label: "lantern_span_export_duration_seconds")
    }

    public func process(_ span: FinishedSpan) {
        let (isAccepted, isReady) = self.state.withLock { state -> (Bool, Bool) in
            guard !state.isOver, state.queue.count + state.inFlight < self.limits.queueSize else {
                return (false, false)
            }
            state.queue.append(span)
            let isReady = state.isIdle || state.queue.count == self.limits.batchSize
            state.isIdle = false
            return (true, isReady)
        }
        if !isAccepted { self.dropped.increment() }
        if isReady { self.batchIsReady.fire() }
    }

    /// Exports until the service group shuts down, or is cancelled because another service failed; then once more what is
    /// left.
    public func run() async throws {
        let work = Task { await self.work() }
        try? await gracefulShutdown()
        self.isClosing.store(true, ordering: .relaxed)
        self.batchIsReady.fire()
        self.closing.fire()
        // In a task of its own: it is worth some time also where this one is cancelled. Not much: a service group ends the
        // process where its services take longer to be cancelled than it allows.
        let finishing = Task { await self.finish(work) }
        await withTaskCancellationHandler {
            await finishing.value
        } onCancel: {
            Task {
                try? await Task.sleep(for: min(self.limits.shutdownTimeout, .seconds(2)))
                work.cancel()
            }
        }
    }

    private func finish(_ work: Task<Void, Never>) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await work.value }
            group.addTask {
                try? await Task.sleep(for: self.limits.shutdownTimeout)
                work.cancel()
            }
            await group.next()
            group.cancelAll()
        }
        let left = self.state.withLock { state -> Int in
            state.isOver = true
            defer { state.queue = [] }
            return state.queue.count
        }
        self.drop(left)
    }

    private func work() async {
        while true {
            let isLast = self.isClosing.load(ordering: .relaxed)
            if !isLast { await self.waitForBatch() }
            await self.exportQueued()
            if isLast || Task.isCancelled { return }
        }
    }

    /// Returns when a batch is full, or the first span of it has waited long enough, or the service ends.
    private func waitForBatch() async {
        var deadline: ContinuousClock.Instant?
        while !self.isClosing.load(ordering: .relaxed), !Task.isCancelled {
            let count = self.state.withLock { state -> Int in
                state.isIdle = state.queue.isEmpty
                return state.queue.count
            }
            if count >= self.limits.batchSize { return }
            guard count > 0 else {
                await self.batchIsReady.wait()
                continue
            }
            let end = deadline ?? .now + self.limits.delay
            deadline = end
            let rest = ContinuousClock.now.duration(to: end)
            if rest <= .zero { return }
            await self.batchIsReady.wait(atMost: rest)
        }
    }

    /// Exports what there is now, and further batches that have become full meanwhile; fewer spans wait for others.
    private func exportQueued() async {
        var left = self.state.withLock { $0.queue.count }
        while !Task.isCancelled {
            let batch = self.state.withLock { state -> [FinishedSpan] in
                guard left > 0 || state.queue.count >= self.limits.batchSize else { return [] }
                let batch = Array(state.queue.prefix(self.limits.batchSize))
                left -= batch.count
                state.queue.removeFirst(batch.count)
                state.inFlight = batch.count
                self.queued.set(Int64(state.queue.count + batch.count))
                return batch
            }
            guard !batch.isEmpty else { return }
            await self.leaveAlone()
            await self.export(batch)
            // At the end nobody waits until a receiver that wants to be left alone takes more.
            let givesUp =
                self.isClosing.load(ordering: .relaxed)
                && self.state.withLock { state in state.notBefore.map { $0 > .now } ?? false }
            self.state.withLock { state in
                state.inFlight = 0
                self.queued.set(Int64(state.queue.count))
            }
            if givesUp { return }
        }
    }

    /// Waits as long as the receiver wanted to be left alone, five minutes at most.
    private func leaveAlone() async {
        while !self.isClosing.load(ordering: .relaxed), !Task.isCancelled,
            let rest = self.state.withLock({ $0.notBefore.map { ContinuousClock.now.duration(to: $0) } }), rest > .zero
        {
            await self.closing.wait(atMost: rest)
        }
    }

    /// Sends a batch in as many requests as it takes.
    private func export(_ batch: [FinishedSpan]) async {
        var rest = batch[...]
        var deadline = ContinuousClock.now + self.limits.exportTimeout
        var latest = ContinuousClock.now + .seconds(60)
        var pause = self.limits.firstPause
        while !rest.isEmpty {
            do {
                let start = ContinuousClock.now
                defer { self.duration.recordNanoseconds(start.duration(to: .now).nanoseconds) }
                let result = try await self.exporter.export(rest)
                self.succeeded(result)
                guard result.sent > 0 else {
                    self.failed(rest.count, SpanExportError(.refused, "nothing was sent", isRetryable: false))
                    return
                }
                rest = rest.dropFirst(result.sent)
                deadline = ContinuousClock.now + self.limits.exportTimeout
                latest = ContinuousClock.now + .seconds(60)
                pause = self.limits.firstPause
            } catch {
                self.failures.increment()
                let wait = max(error.retryAfter ?? .zero, pause * Double.random(in: 0.5...1))
                // Whoever says when to come back is believed, for a minute in all.
                let next = ContinuousClock.now + wait
                let notBefore = error.retryAfter.map { ContinuousClock.now + min($0, .seconds(300)) }
                self.state.withLock { $0.notBefore = notBefore }
                if error.retryAfter != nil, next <= latest { deadline = max(deadline, next) }
                guard error.isRetryable, !Task.isCancelled, !self.isClosing.load(ordering: .relaxed), next <= deadline
                else {
                    self.failed(rest.count, error)
                    return
                }
                self.tell(error)
                await self.closing.wait(atMost: wait)
                pause = min(pause * 2, self.limits.longestPause)
            }
        }
    }

    private func succeeded(_ result: SpanExportResult) {
        self.exported.increment(by: max(0, result.sent - result.rejected))
        self.drop(result.rejected)
        // Once for each time that it begins, as with a receiver that is away.
        if self.isRejecting.exchange(result.rejected > 0, ordering: .relaxed) == false, result.rejected > 0 {
            self.logger.warning(
                "the collector did not take all spans",
                metadata: ["spans": .stringConvertible(result.rejected), "answer": "\(result.message.prefix(200))"]
            )
        }
        if self.isFailing.exchange(false, ordering: .relaxed) { self.logger.notice("spans are exported again") }
    }

    private func failed(_ count: Int, _ error: SpanExportError) {
        self.drop(count)
        self.tell(error)
    }

    private func drop(_ count: Int) {
        if count > 0 { self.dropped.increment(by: count) }
    }

    /// Once for each time that the receiver is away: the counters say how long.
    private func tell(_ error: SpanExportError) {
        guard !self.isFailing.exchange(true, ordering: .relaxed) else { return }
        self.logger.warning("spans cannot be exported", error: error, metadata: ["code": "\(error.code)"])
    }
}

extension Duration {
    fileprivate var nanoseconds: Int64 {
        let (seconds, attoseconds) = self.components
        return min(seconds, 1_000_000_000) * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
