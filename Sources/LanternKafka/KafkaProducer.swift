import CoreMetrics
import CRDKafka
public import Logging
import Synchronization
import Tracing

/// Sends records and answers when the brokers have acknowledged them.
///
/// Idempotent, with `acks=all`: no record is written twice by retries, and records of one partition keep their order.
/// What is under way is bounded; beyond the bound `send` waits. One thread of its own serves delivery reports and sleeps
/// otherwise. Safe from any task.
public final class KafkaProducer: Sendable {
    private let handle: KafkaHandle
    private let queue: QueueHandle
    private let capacity: KafkaCapacity
    private let stopping = Atomic<Bool>(false)
    private let ended = Mutex<EndState>(EndState())
    private let telemetry: KafkaTelemetry

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
    }

    /// Makes its metrics with the factory that is current here.
    /// - Throws: ``KafkaError`` with code `configuration`. Brokers that are away are no error: `send` waits for them.
    public init(configuration: KafkaConfiguration, logger: Logger) throws {
        let raw = try configuration.make(defaults: [
            "enable.idempotence": "true",
            "acks": "all",
            // As the Java client, so that producers in all languages agree where a key lives.
            "partitioner": "murmur2_random",
            // A record is tried until it is written or the producer closes: what it carries is committed already.
            "message.timeout.ms": "0",
            "linger.ms": "0",
            "queue.buffering.max.messages": "100000",
            "statistics.interval.ms": "0",
            "log.connection.close": "false",
        ])
        rd_kafka_conf_set_events(raw, Int32(RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR))
        let handle = try KafkaHandle(RD_KAFKA_PRODUCER, configuration: raw, callbacks: KafkaCallbacks(logger: logger))
        guard let queue = rd_kafka_queue_get_main(handle.raw) else {
            handle.destroy()
            throw KafkaError(code: .other, message: "no event queue")
        }
        self.handle = handle
        self.queue = QueueHandle(raw: queue)
        self.capacity = KafkaCapacity(records: 20_000, bytes: 64 << 20)
        self.telemetry = KafkaTelemetry(clientID: configuration.clientID)
        try startKafkaThread("lantern-produce") { self.serve() }
    }

    /// Sends records in order and answers where each was written, in the same order.
    ///
    /// One `send` span covers the call, linked to the spans that the records' own `traceparent` names; a record without
    /// one gets that of the `send` span.
    ///
    /// - Throws: The first ``KafkaError``; the others may or may not be written. `CancellationError` when the task is
    ///   cancelled while it waits; what was handed over is still sent.
    @discardableResult
    public func send(_ records: [KafkaRecord]) async throws -> [Delivery] {
        guard let first = records.first else { return [] }
        return try await self.telemetry.send(records, topic: first.topic) { records in
            var pending: [PendingDelivery] = []
            pending.reserveCapacity(records.count)
            for record in records {
                try await self.capacity.acquire(bytes: record.size)
                do {
                    pending.append(try self.enqueue(record))
                } catch {
                    self.capacity.release(bytes: record.size)
                    throw error
                }
            }
            var deliveries: [Delivery] = []
            deliveries.reserveCapacity(pending.count)
            for delivery in pending { deliveries.append(try await delivery.value()) }
            return deliveries
        }
    }

    /// The number of partitions of a topic, which is created where the broker allows that.
    /// - Throws: ``KafkaError`` with code `retriable` where no broker answers within five seconds.
    public func partitionCount(of topic: String) async throws -> Int32 {
        try await withCheckedThrowingContinuation { continuation in
            do {
                // The call blocks, so it must not run on a thread of the concurrency pool.
                try startKafkaThread("lantern-meta") { [handle = self.handle] in
                    let result = handle.use { Self.partitionCount(of: topic, handle: $0) }
                    continuation.resume(with: result ?? .failure(Self.closed))
                }
            } catch {
                continuation.resume(throwing: error)
            }
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

    private static let closed = KafkaError(code: .closed, message: "the producer is closed")

    // MARK: - librdkafka

    private func enqueue(_ record: KafkaRecord) throws -> PendingDelivery {
        let pending = PendingDelivery(size: record.size)
        let opaque = Unmanaged.passRetained(pending)
        let error = self.handle.use { raw in
            self.stopping.load(ordering: .acquiring)
                ? Self.closed : Self.produce(record, opaque: opaque.toOpaque(), handle: raw)
        }
        // Twice optional: the handle may be gone, and a call that was made may have gone well.
        if let error = error ?? Self.closed {
            opaque.release()
            throw error
        }
        return pending
    }

    private static func produce(
        _ record: KafkaRecord, opaque: UnsafeMutableRawPointer, handle: OpaquePointer
    ) -> KafkaError? {
        // Everything that the arguments point to lives until `rd_kafka_produceva` returns; F_COPY copies key and value,
        // and headers are always copied.
        var owned: [UnsafeMutableRawPointer] = []
        defer { owned.forEach { $0.deallocate() } }
        func copy(_ bytes: [UInt8]) -> UnsafeMutableRawPointer {
            let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, bytes.count), alignment: 1)
            bytes.withUnsafeBytes {
                memory.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(memory), byteCount: bytes.count)
            }
            owned.append(memory)
            return memory
        }
        func cString(_ text: String) -> UnsafePointer<CChar> {
            UnsafePointer(copy(Array(text.utf8) + [0]).assumingMemoryBound(to: CChar.self))
        }

        var arguments: [rd_kafka_vu_t] = []
        func add(_ type: rd_kafka_vtype_t, _ fill: (inout rd_kafka_vu_t) -> Void) {
            var argument = rd_kafka_vu_t()
            argument.vtype = type
            fill(&argument)
            arguments.append(argument)
        }
        add(RD_KAFKA_VTYPE_TOPIC) { $0.u.cstr = cString(record.topic) }
        add(RD_KAFKA_VTYPE_MSGFLAGS) { $0.u.i = Int32(RD_KAFKA_MSG_F_COPY) }
        add(RD_KAFKA_VTYPE_OPAQUE) { $0.u.ptr = opaque }
        if let partition = record.partition {
            add(RD_KAFKA_VTYPE_PARTITION) { $0.u.i32 = partition }
        }
        if let value = record.value {
            add(RD_KAFKA_VTYPE_VALUE) {
                $0.u.mem.ptr = copy(value)
                $0.u.mem.size = value.count
            }
        }
        if let key = record.key {
            add(RD_KAFKA_VTYPE_KEY) {
                $0.u.mem.ptr = copy(key)
                $0.u.mem.size = key.count
            }
        }
        // One argument a header: a whole header list can be freed twice on errors in 2.0.2.
        for header in record.headers {
            add(RD_KAFKA_VTYPE_HEADER) {
                $0.u.header.name = cString(header.name)
                $0.u.header.val = header.value.map { UnsafeRawPointer(copy($0)) }
                $0.u.header.size = header.value?.count ?? 0
            }
        }
        guard let error = rd_kafka_produceva(handle, &arguments, arguments.count) else { return nil }
        defer { rd_kafka_error_destroy(error) }
        if rd_kafka_error_is_fatal(error) != 0 {
            return KafkaError(code: .fatal, message: String(cString: rd_kafka_error_string(error)))
        }
        return KafkaError(rd_kafka_error_code(error))
    }

    private static func partitionCount(of topic: String, handle: OpaquePointer) -> Result<Int32, any Error> {
        guard let topicHandle = rd_kafka_topic_new(handle, topic, nil) else {
            return .failure(KafkaError(rd_kafka_last_error()))
        }
        defer { rd_kafka_topic_destroy(topicHandle) }
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let error = rd_kafka_metadata(handle, 0, topicHandle, &metadata, 5_000)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else { return .failure(KafkaError(error)) }
        defer { rd_kafka_metadata_destroy(metadata) }
        guard metadata.pointee.topic_cnt == 1, let entry = metadata.pointee.topics else {
            return .failure(KafkaError(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART))
        }
        guard entry.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR, entry.pointee.partition_cnt > 0 else {
            return .failure(KafkaError(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART))
        }
        return .success(entry.pointee.partition_cnt)
    }

    /// The polling thread: sleeps in librdkafka until a delivery report or ``close(deadline:)`` wakes it.
    private func serve() {
        while true {
            let stop = self.stopping.load(ordering: .acquiring) && rd_kafka_outq_len(self.handle.raw) == 0
            if stop { break }
            // The time limit is a net only: reports and the yield of `close` wake it at once.
            guard let event = rd_kafka_queue_poll(self.queue.raw, 1_000) else { continue }
            if rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR {
                while let message = rd_kafka_event_message_next(event) { self.deliver(message) }
            }
            rd_kafka_event_destroy(event)
        }
        let waiters = self.ended.withLock { state in
            state.ended = true
            defer { state.waiters = [] }
            return state.waiters
        }
        // The queue goes with the handle: `close` may still be about to wake it.
        self.handle.destroy(after: { rd_kafka_queue_destroy(self.queue.raw) })
        for waiter in waiters { waiter.resume() }
    }

    private func deliver(_ message: UnsafePointer<rd_kafka_message_t>) {
        guard let opaque = message.pointee._private else { return }
        // The reference that `enqueue` retained: each record has exactly one report.
        let pending = Unmanaged<PendingDelivery>.fromOpaque(opaque).takeRetainedValue()
        self.capacity.release(bytes: pending.size)
        guard message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
            return pending.complete(.failure(self.error(message.pointee.err)))
        }
        pending.complete(
            .success(Delivery(partition: message.pointee.partition, offset: message.pointee.offset))
        )
    }

    /// With an idempotent producer a fatal error hides behind each record's own.
    private func error(_ code: rd_kafka_resp_err_t) -> KafkaError {
        var text = [CChar](repeating: 0, count: 256)
        let fatal = rd_kafka_fatal_error(self.handle.raw, &text, text.count)
        return fatal == RD_KAFKA_RESP_ERR_NO_ERROR
            ? KafkaError(code) : KafkaError(code: .fatal, message: String(cString: rd_kafka_err2str(fatal)))
    }
}

/// A record under way: completed once by its report, awaited at most once.
final class PendingDelivery: Sendable {
    private enum State {
        case open
        case waiting(CheckedContinuation<KafkaProducer.Delivery, any Error>)
        case done(Result<KafkaProducer.Delivery, any Error>)
    }

    let size: Int
    private let state = Mutex<State>(.open)

    init(size: Int) { self.size = size }

    func complete(_ result: Result<KafkaProducer.Delivery, any Error>) {
        let waiter = self.state.withLock { state -> CheckedContinuation<KafkaProducer.Delivery, any Error>? in
            switch state {
            case .open:
                state = .done(result)
                return nil
            case .waiting(let continuation):
                state = .done(result)
                return continuation
            case .done: return nil
            }
        }
        waiter?.resume(with: result)
    }

    func value() async throws -> KafkaProducer.Delivery {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let result = self.state.withLock { state -> Result<KafkaProducer.Delivery, any Error>? in
                    if case .done(let result) = state { return result }
                    state = .waiting(continuation)
                    return nil
                }
                if let result { continuation.resume(with: result) }
            }
        } onCancel: {
            self.complete(.failure(CancellationError()))
        }
    }
}
