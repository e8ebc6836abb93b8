import CRDKafka
public import Logging
import Synchronization

/// A member of a consumer group that reads when it is asked to.
///
/// ``next(maximum:maximumBytes:)`` answers one thing at a time: records, or that partitions came or go. A rebalance happens
/// inside a call of `next` only, and partitions that are taken away are given up at the *following* call. So whoever
/// finishes one batch before asking for the next has, by construction, nothing in flight when its partitions go, and
/// can still commit when it hears of it. Where to begin is the caller's word (``assign(_:)``), so offsets can live in a
/// database. ``batches(maximum:hooks:)`` and ``KafkaWorker`` are easier forms of the same.
///
/// Rebalancing is cooperative: partitions that stay are read on while others move. One thread of its own runs librdkafka and
/// is blocked while there is nothing to do. A caller that does not ask for longer than `max.poll.interval.ms` (five minutes
/// unless said otherwise) loses its partitions to other members, so a handler that is stuck does not hold them for ever.
///
/// One task at a time may call `next`; the rest is safe from any task.
public final class KafkaConsumer: Sendable {
    /// What `next` answers.
    public enum Event: Sendable {
        /// At least one record; each partition's in order.
        case records([KafkaRecord])
        /// Partitions that this member has from now on, beside those it had. They are not read until ``assign(_:)``.
        case assigned([KafkaPartition])
        /// Partitions that go to other members at the next call of `next`. Their offsets can still be committed.
        case revoked([KafkaPartition])
        /// Partitions that others may have already: what was done of them since the last commit may be done twice.
        case lost([KafkaPartition])
    }

    /// What the polling thread answers.
    enum Answer {
        case event(Event)
        case messages(KafkaMessages)
    }

    struct Demand {
        var maximum: Int
        var maximumBytes: Int
        var continuation: CheckedContinuation<Answer, any Error>
    }

    struct State {
        var demand: Demand?
        var cancelled = false
        /// The caller itself takes what is there, in the place of the polling thread.
        var isTaking = false
        var closing = false
        /// librdkafka's own close has begun, which a yield would cut short: it could never be completed then.
        var leaving = false
        var closed = false
        var closeWaiters: [CheckedContinuation<Void, Never>] = []
    }

    let state = Mutex(State())
    /// Held while what is there is taken, and while positions change: librdkafka 2.0 may give a record that it is just
    /// handing over once more after a pause.
    let taking = Mutex(())
    let wake = KafkaSemaphore()
    let handle: KafkaHandle
    let queue: QueueHandle
    let callbacks: KafkaCallbacks
    let group: String
    let logger: Logger
    let telemetry: KafkaTelemetry

    /// A `rd_kafka_queue_t`. `@unchecked Sendable` is right because librdkafka's queues may be used from any thread; it
    /// is freed by the polling thread, last.
    struct QueueHandle: @unchecked Sendable {
        let raw: OpaquePointer
    }

    /// Joins the group and subscribes.
    /// - Parameters:
    ///   - configuration: The property `group.instance.id` makes this a static member, whose short absence moves nothing.
    ///   - topics: Names, or regular expressions where they begin with `^`; topics that appear later are found
    ///     within ten seconds.
    /// - Throws: ``KafkaError`` with code `configuration`.
    public convenience init(
        configuration: KafkaConfiguration, group: String, topics: [String], logger: Logger
    ) throws {
        try self.init(configuration, group: group, logger: logger)
        let list = rd_kafka_topic_partition_list_new(Int32(topics.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for topic in topics { rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA) }
        let error = rd_kafka_subscribe(self.handle.raw, list)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            self.destroy()
            throw KafkaError(error)
        }
        try self.start()
    }

    /// Reads partitions on its own, without a group: nobody else is kept from reading them, and nothing is committed.
    /// - Parameter positions: Where to begin; all are read from the start on.
    /// - Throws: ``KafkaError`` with code `configuration`.
    public convenience init(
        configuration: KafkaConfiguration, reading positions: [KafkaPosition], logger: Logger
    ) throws {
        try self.init(configuration, group: "\(configuration.clientID).reader", logger: logger)
        do {
            try self.assign(positions)
        } catch {
            self.destroy()
            throw error
        }
        try self.start()
    }

    private init(_ configuration: KafkaConfiguration, group: String, logger: Logger) throws {
        let raw = try configuration.make(defaults: [
            "group.id": group,
            "auto.offset.reset": "earliest",
            // What the caller says is done is stored, and committed by librdkafka each second, when partitions go, and at close;
            // never during a rebalance. A commit of our own that falls into one would carry the generation before, and a
            // member with an old generation loses all its partitions.
            "enable.auto.commit": "true",
            "auto.commit.interval.ms": "1000",
            "enable.auto.offset.store": "false",
            "partition.assignment.strategy": "cooperative-sticky",
            "topic.metadata.refresh.interval.ms": "10000",
            "allow.auto.create.topics": "true",
            // Where a partition's queue is full, librdkafka 2.0 rests for a whole second before it fetches again: the bound on
            // memory is in bytes, and high enough not to be met by a reader that keeps up.
            "queued.min.messages": "100000",
            "queued.max.messages.kbytes": "65536",
            "fetch.message.max.bytes": "1048576",
            "statistics.interval.ms": "2000",
            "log.connection.close": "false",
        ])
        rd_kafka_conf_set_rebalance_cb(raw) { raw, error, list, opaque in
            guard let opaque, let raw else { return }
            let callbacks = Unmanaged<KafkaCallbacks>.fromOpaque(opaque).takeUnretainedValue()
            let isClosing = callbacks.rebalancing.withLock { rebalancing in
                rebalancing.rebalance(raw, error, list)
                callbacks.hasChanges.store(!rebalancing.changes.isEmpty, ordering: .relaxed)
                return rebalancing.isClosing
            }
            // Otherwise librdkafka would wait on for records, and the caller would hear of it when that ends. While it
            // closes, a yield would end that wait instead, and nothing would answer the next one.
            if !isClosing, let queue = rd_kafka_queue_get_consumer(raw) {
                rd_kafka_queue_yield(queue)
                rd_kafka_queue_destroy(queue)
            }
        }
        rd_kafka_conf_set_stats_cb(raw) { _, text, _, opaque in
            guard let opaque, let text else { return 0 }
            Unmanaged<KafkaCallbacks>.fromOpaque(opaque).takeUnretainedValue()
                .onStatistics.withLock { $0 }?(KafkaStatistics(text))
            return 0
        }
        let callbacks = KafkaCallbacks(logger: logger)
        let handle = try KafkaHandle(RD_KAFKA_CONSUMER, configuration: raw, callbacks: callbacks)
        rd_kafka_poll_set_consumer(handle.raw)
        guard let queue = rd_kafka_queue_get_consumer(handle.raw) else {
            handle.destroy()
            throw KafkaError(code: .other, message: "no consumer queue")
        }
        self.handle = handle
        self.queue = QueueHandle(raw: queue)
        self.callbacks = callbacks
        self.group = group
        self.logger = logger
        let telemetry = KafkaTelemetry(clientID: configuration.clientID)
        self.telemetry = telemetry
        callbacks.onStatistics.withLock { $0 = { telemetry.statistics($0, group: group) } }
    }

    private func start() throws {
        do {
            try startKafkaThread("lantern-consume") { self.serve() }
        } catch {
            self.destroy()
            throw error
        }
    }

    func destroy() {
        self.handle.destroy(after: { rd_kafka_queue_destroy(self.queue.raw) })
    }

    /// Waits for the next event.
    /// - Parameters:
    ///   - maximum: Most records in one answer.
    ///   - maximumBytes: Of keys and values. An answer ends with the record that reaches it; where that is much larger than
    ///     those before it, up to 31 more may follow.
    /// - Throws: ``KafkaError``, with code `closed` also where the consumer is closed meanwhile; `CancellationError` when the
    ///   task is cancelled, after which it can be asked again.
    public func next(maximum: Int = 500, maximumBytes: Int = 8 << 20) async throws -> Event {
        try Task.checkCancellation()
        let answer =
            if let answer = self.takeWhatIsThere(maximum: maximum, maximumBytes: maximumBytes) { answer } else {
                try await self.answer(maximum: maximum, maximumBytes: maximumBytes)
            }
        switch answer {
        case .event(let event): return event
        case .messages(let messages):
            defer { self.handle.giveBack() }
            let records = messages.take()
            self.telemetry.consumed(records, group: self.group)
            return .records(records)
        }
    }

    private func answer(maximum: Int, maximumBytes: Int) async throws -> Answer {
        try await withTaskCancellationHandler {
            try Task.checkCancellation()
            return try await withCheckedThrowingContinuation { continuation in
                let accepted = self.state.withLock { state in
                    guard state.demand == nil, !state.isTaking, !state.closing else { return false }
                    state.demand = Demand(
                        maximum: maximum, maximumBytes: maximumBytes, continuation: continuation)
                    // Cancelled before the demand was there: the handler below found none to end.
                    state.cancelled = Task.isCancelled
                    return true
                }
                if accepted {
                    self.wake.signal()
                } else {
                    continuation.resume(
                        throwing: KafkaError(code: .closed, message: "the consumer is closed or in use"))
                }
            }
        } onCancel: {
            self.state.withLock { $0.cancelled = true }
            self.interrupt()
        }
    }

    /// Starts reading partitions at the given positions. Call it after each `assigned`, with all its partitions.
    /// - Throws: ``KafkaError``.
    public func assign(_ positions: [KafkaPosition]) throws {
        try self.change { raw in
            try self.callbacks.rebalancing.withLock { try $0.assign(positions, raw) }
        }
    }

    /// The partitions that it reads now.
    public var assigned: [KafkaPartition] { self.callbacks.rebalancing.withLock { Array($0.assigned) } }

    /// Reads partitions that are assigned already from other positions on.
    /// - Throws: ``KafkaError``.
    public func seek(_ positions: [KafkaPosition]) throws {
        try self.change { raw in
            try self.callbacks.rebalancing.withLock { try $0.seek(positions, raw) }
        }
    }

    /// Stops fetching partitions until ``resume(_:)``, while the membership goes on. Records that are handed over already
    /// stay with the caller; those that wait in librdkafka's queue are fetched again.
    public func pause(_ partitions: [KafkaPartition]) throws {
        try self.change { raw in
            try self.callbacks.rebalancing.withLock { try $0.pause(partitions, raw) }
        }
    }

    /// Undoes ``pause(_:)``.
    public func resume(_ partitions: [KafkaPartition]) throws {
        try self.change { raw in
            try self.callbacks.rebalancing.withLock { try $0.resume(partitions, raw) }
        }
    }

    private func change(_ body: (OpaquePointer) throws -> Void) throws {
        guard try self.taking.withLock({ _ in try self.handle.use(body) }) != nil else { throw Self.closed }
    }

    static let closed = KafkaError(code: .closed, message: "the consumer is closed")

    /// Says how far the work is: an offset is the next one to read. The group is told within a second, and when partitions
    /// go. Where the truth is in a database the group's offset is a hint, for tools that show lag.
    public func commit(_ offsets: [KafkaPartition: Int64]) {
        guard !offsets.isEmpty else { return }
        let error = self.handle.use { raw in
            KafkaPartitionList.with(offsets) { rd_kafka_offsets_store(raw, $0) }
        }
        // One of a partition that is not ours any more, which its owner reads again.
        if let error, error != RD_KAFKA_RESP_ERR_NO_ERROR {
            self.logger.debug("offsets were not stored", error: KafkaError(error))
        }
    }

    /// Tells the group how far the work is, and waits until the brokers know.
    /// - Throws: ``KafkaError``; with code `fenced` where the partitions belong to another member by now.
    public func commitAndWait(_ offsets: [KafkaPartition: Int64]) async throws {
        guard !offsets.isEmpty else { return }
        try await self.handle.blocking("lantern-commit") { raw in
            try KafkaPartitionList.with(offsets) { try check(rd_kafka_commit(raw, $0, 0)) }
        }
    }

    /// Leaves the group, whose other members have its partitions at once. Returns when that is done, or after five seconds.
    /// Partitions that were revoked and not finished with are given up: finish first, then close.
    public func close() async {
        self.state.withLock { $0.closing = true }
        self.callbacks.rebalancing.withLock { $0.isClosing = true }
        self.interrupt()
        self.wake.signal()
        let waiting = Task {
            await withCheckedContinuation { continuation in
                let now = self.state.withLock { state in
                    if !state.closed { state.closeWaiters.append(continuation) }
                    return state.closed
                }
                if now { continuation.resume() }
            }
        }
        let limit = Task {
            try await Task.sleep(for: .seconds(5))
            // librdkafka can hang here; the process must not.
            let waiters = self.state.withLock { state in
                defer { state.closeWaiters = [] }
                return state.closeWaiters
            }
            for waiter in waiters { waiter.resume() }
        }
        await waiting.value
        limit.cancel()
    }

    /// Ends librdkafka's wait for records.
    private func interrupt() {
        _ = self.handle.use { _ in
            self.state.withLock { if !$0.leaving { rd_kafka_queue_yield(self.queue.raw) } }
        }
    }
}
