import CRDKafka
public import Logging
import Synchronization

/// Sends records and answers when the brokers have acknowledged them.
///
/// Idempotent, with `acks=all`: no record is written twice by retries, and records of one partition keep their order.
/// What is under way is bounded; beyond the bound `send` waits, in turn. One thread of its own serves delivery reports and
/// is blocked otherwise. Safe from any task.
public final class KafkaProducer: Sendable {
    let handle: KafkaHandle
    private let queue: QueueHandle
    private let capacity: KafkaCapacity
    private let topics = KafkaTopics()
    private let stopping = Atomic<Bool>(false)
    private let ended = Mutex<EndState>(EndState())
    let telemetry: KafkaTelemetry

    private struct EndState {
        var ended = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    /// A `rd_kafka_queue_t`. `@unchecked Sendable` is right because librdkafka's queues may be used from any thread; it
    /// is freed by the polling thread, last.
    private struct QueueHandle: @unchecked Sendable {
        let raw: OpaquePointer
    }

    /// Where a record was written.
    public struct Delivery: Sendable, Equatable {
        public var partition: Int32
        public var offset: Int64

        public init(partition: Int32, offset: Int64) {
            self.partition = partition
            self.offset = offset
        }
    }

    /// How much may be under way at once.
    public struct Limits: Sendable {
        /// Below `queue.buffering.max.messages`, so that librdkafka never answers "queue full".
        public var records: Int
        public var bytes: Int

        public init(records: Int = 20_000, bytes: Int = 64 << 20) {
            self.records = records
            self.bytes = bytes
        }
    }

    /// Makes its metrics with the factory that is current here.
    /// - Throws: ``KafkaError`` with code `configuration`. Brokers that are away are no error: `send` waits for them.
    public init(configuration: KafkaConfiguration, limits: Limits = Limits(), logger: Logger) throws {
        let raw = try configuration.make(defaults: [
            "enable.idempotence": "true",
            "acks": "all",
            // As the Java client, so that producers in all languages agree where a key lives.
            "partitioner": "murmur2_random",
            // A record is tried until it is written or the producer closes: what it carries is committed already.
            "message.timeout.ms": "0",
            "linger.ms": "0",
            "queue.buffering.max.messages": "\(max(100_000, limits.records * 2))",
            "queue.buffering.max.kbytes": "\(max(1 << 20, limits.bytes >> 9))",
            "statistics.interval.ms": "5000",
            "log.connection.close": "false",
        ])
        rd_kafka_conf_set_events(raw, Int32(RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS))
        let handle = try KafkaHandle(RD_KAFKA_PRODUCER, configuration: raw, callbacks: KafkaCallbacks(logger: logger))
        guard let queue = rd_kafka_queue_get_main(handle.raw) else {
            handle.destroy()
            throw KafkaError(code: .other, message: "no event queue")
        }
        self.handle = handle
        self.queue = QueueHandle(raw: queue)
        self.capacity = KafkaCapacity(records: limits.records, bytes: limits.bytes)
        self.telemetry = KafkaTelemetry(clientID: configuration.clientID)
        do {
            try startKafkaThread("lantern-produce") { self.serve() }
        } catch {
            handle.destroy(after: { rd_kafka_queue_destroy(queue) })
            throw error
        }
    }

    /// Sends one record and answers where it was written.
    /// - Throws: As ``send(_:)-(KafkaRecord...)``.
    @discardableResult
    public nonisolated(nonsending) func send(_ record: KafkaRecord) async throws -> Delivery {
        guard !self.telemetry.isTraced(record) else {
            let deliveries = try await self.send([record])
            guard let delivery = deliveries.first else { throw Self.closed }
            return delivery
        }
        // Many tasks that send one record each spend most of their time in suspending and going on, so there is one place
        // only where this does.
        let start = ContinuousClock.now
        let pending = PendingRecord(size: record.size)
        do {
            if !self.capacity.tryAcquire(bytes: pending.size) { try await self.capacity.acquire(bytes: pending.size) }
            if let error = self.enqueue(record, opaque: pending.retain()) {
                self.capacity.release(bytes: pending.size)
                throw error
            }
            let delivery = try await withTaskCancellationHandler {
                try await withUnsafeThrowingContinuation { pending.wait($0) }
            } onCancel: {
                pending.cancel()
            }
            self.telemetry.sent(1, topic: record.topic, error: "", since: start)
            return delivery
        } catch {
            self.telemetry.sent(1, topic: record.topic, error: KafkaTelemetry.errorType(error), since: start)
            throw error
        }
    }

    /// Sends records in order and answers where each was written, in the same order.
    ///
    /// One `send` span covers the call, linked to the spans that the records' own `traceparent` names; a record without
    /// one gets that of the `send` span.
    ///
    /// - Throws: The ``KafkaError`` of the first record that failed; the others may or may not be written.
    ///   `CancellationError` when the task is cancelled while it waits; what was handed over is still sent.
    @discardableResult
    public func send(_ records: [KafkaRecord]) async throws -> [Delivery] {
        guard let first = records.first else { return [] }
        return try await self.telemetry.send(records, topic: first.topic) { records in
            let pending = PendingSend(records)
            do {
                if self.capacity.tryAcquire(records: records.count, bytes: pending.bytes) {
                    try self.enqueueAll(records, pending)
                } else {
                    try await self.enqueueInTurn(records, pending)
                }
            } catch {
                pending.abandon()
                throw error
            }
            return try await pending.deliveries()
        }
    }

    /// The number of partitions of a topic, which is created where the broker allows that.
    /// - Throws: ``KafkaError`` with code `retriable` where no broker answers within five seconds.
    public func partitionCount(of topic: String) async throws -> Int32 {
        try await self.handle.blocking("lantern-meta") { handle in
            try KafkaMetadata.partitionCount(of: topic, handle: handle)
        }
    }

    /// Waits until everything is delivered, at most `deadline`; what is left then fails with code `closed`.
    public func close(deadline: Duration) async {
        let end = ContinuousClock.now + deadline
        while let waiting = self.handle.use({ rd_kafka_outq_len($0) }), waiting > 0, ContinuousClock.now < end {
            // librdkafka's flush would compete with our thread for the delivery reports.
            try? await Task.sleep(for: .milliseconds(10))
            if Task.isCancelled { break }
        }
        self.handle.use { raw in
            self.stopping.store(true, ordering: .releasing)
            rd_kafka_purge(raw, Int32(RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT))
            rd_kafka_queue_yield(self.queue.raw)
        }
        await withCheckedContinuation { continuation in
            let now = self.ended.withLock { state in
                if !state.ended { state.waiters.append(continuation) }
                return state.ended
            }
            if now { continuation.resume() }
        }
    }

    static let closed = KafkaError(code: .closed, message: "the producer is closed")

    // MARK: - librdkafka

    /// Hands all records over, for which there is room already.
    private func enqueueAll(_ records: [KafkaRecord], _ pending: PendingSend) throws {
        for (index, record) in records.enumerated() {
            guard let error = self.enqueue(record, opaque: pending.retain(index)) else { continue }
            let rest = index..<records.count
            self.capacity.release(records: rest.count, bytes: rest.reduce(0) { $0 + pending.size($1) })
            throw error
        }
    }

    /// Hands records over one by one, as soon as there is room for each.
    private func enqueueInTurn(_ records: [KafkaRecord], _ pending: PendingSend) async throws {
        for (index, record) in records.enumerated() {
            let size = pending.size(index)
            if !self.capacity.tryAcquire(bytes: size) { try await self.capacity.acquire(bytes: size) }
            if let error = self.enqueue(record, opaque: pending.retain(index)) {
                self.capacity.release(bytes: size)
                throw error
            }
        }
    }

    /// - Parameter opaque: Given back by the record's delivery report, of which there is exactly one; or here, with an
    ///   error.
    private func enqueue(_ record: KafkaRecord, opaque: UnsafeMutableRawPointer) -> KafkaError? {
        let error = self.handle.use { raw -> KafkaError? in
            guard !self.stopping.load(ordering: .acquiring) else { return Self.closed }
            return record.produce(topic: self.topics.topic(record.topic, of: raw), opaque: opaque, handle: raw)
        }
        // Twice optional: the handle may be gone, and a call that was made may have gone well.
        guard let error = error ?? Self.closed else { return nil }
        if PendingRecord.isOne(opaque) { _ = PendingRecord.take(opaque) } else { PendingSend.release(opaque) }
        return error
    }

    /// The polling thread: blocked in librdkafka until a delivery report or ``close(deadline:)`` wakes it.
    private func serve() {
        // Of one event, until it is destroyed.
        var messages: [UnsafePointer<rd_kafka_message_t>] = []
        while true {
            let isStopping = self.stopping.load(ordering: .acquiring)
            // In this order: whoever was about to hand a record over has done so, or never will.
            if isStopping, self.handle.shut(), rd_kafka_outq_len(self.handle.raw) == 0 { break }
            // The time limit is a net only: reports and the yield of `close` wake it at once.
            guard let event = rd_kafka_queue_poll(self.queue.raw, isStopping ? 10 : 1_000) else {
                // What came after `close` had purged.
                if isStopping {
                    rd_kafka_purge(self.handle.raw, Int32(RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT))
                }
                continue
            }
            switch rd_kafka_event_type(event) {
            case RD_KAFKA_EVENT_DR:
                messages.removeAll(keepingCapacity: true)
                var bytes = 0
                while let message = rd_kafka_event_message_next(event) {
                    messages.append(message)
                    bytes += Self.size(of: message)
                }
                // First: who hears of the end of one record finds room for the next.
                self.capacity.release(records: messages.count, bytes: bytes)
                for message in messages { self.deliver(message) }
            case RD_KAFKA_EVENT_STATS:
                if let text = rd_kafka_event_stats(event) { self.telemetry.statistics(KafkaStatistics(text)) }
            default: break
            }
            rd_kafka_event_destroy(event)
        }
        let waiters = self.ended.withLock { state in
            state.ended = true
            defer { state.waiters = [] }
            return state.waiters
        }
        // The queue goes with the handle: `close` may still be about to wake it.
        self.handle.destroy(after: {
            self.topics.destroy()
            rd_kafka_queue_destroy(self.queue.raw)
        })
        for waiter in waiters { waiter.resume() }
    }

    /// The bytes that a record took of the capacity.
    private static func size(of message: UnsafePointer<rd_kafka_message_t>) -> Int {
        guard let opaque = message.pointee._private else { return 0 }
        return PendingRecord.isOne(opaque) ? PendingRecord.size(opaque) : PendingSend.size(opaque)
    }

    /// Tells the sender of a record what became of it. Once.
    private func deliver(_ message: UnsafePointer<rd_kafka_message_t>) {
        // The one of `enqueue`.
        guard let opaque = message.pointee._private else { return }
        let delivery = Delivery(partition: message.pointee.partition, offset: message.pointee.offset)
        let error = message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : self.error(message.pointee.err)
        if PendingRecord.isOne(opaque) {
            PendingRecord.take(opaque).complete(error.map { .failure($0) } ?? .success(delivery))
        } else {
            PendingSend.complete(opaque, error.map { .failure($0) } ?? .success(delivery))
        }
    }

    /// With an idempotent producer a fatal error hides behind each record's own.
    private func error(_ code: rd_kafka_resp_err_t) -> KafkaError {
        var text = [CChar](repeating: 0, count: 256)
        let fatal = rd_kafka_fatal_error(self.handle.raw, &text, text.count)
        return fatal == RD_KAFKA_RESP_ERR_NO_ERROR
            ? KafkaError(code) : KafkaError(code: .fatal, message: String(cString: rd_kafka_err2str(fatal)))
    }
}
