import CRDKafka
import Glibc
public import Logging
import Synchronization

/// A member of a consumer group that reads when it is asked to.
///
/// ``next(maximum:)`` answers one thing at a time: records, or that partitions were assigned or revoked. A rebalance
/// happens inside a call of `next` only, so whoever handles one batch before asking for the next has, by construction,
/// nothing in flight when its partitions go. Where to begin is the caller's word (``assign(_:)``), so offsets can live in
/// a database. One thread of its own runs librdkafka; one task at a time may call `next`.
public final class KafkaConsumer: Sendable {
    /// What `next` answers.
    public enum Event: Sendable {
        /// At least one record; each partition's in order.
        case records([KafkaRecord])
        /// The partitions that this member has from now on, in place of all it had. Nothing is read until ``assign(_:)``.
        case assigned([KafkaPartition])
        /// This member has no partitions any more.
        case revoked
    }

    private struct Demand {
        var maximum: Int
        var continuation: CheckedContinuation<Event, any Error>
    }

    private struct State {
        var demand: Demand?
        var cancelled = false
        var closing = false
        var closed = false
        var closeWaiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let wake = Semaphore()
    private let handle: KafkaHandle
    private let callbacks: KafkaCallbacks
    private let group: String
    private let logger: Logger
    private let telemetry: KafkaTelemetry

    /// Joins the group and subscribes.
    /// - Parameter topics: Names, or regular expressions where they begin with `^`; topics that appear later are found
    ///   within ten seconds.
    /// - Throws: ``KafkaError`` with code `configuration`.
    public init(configuration: KafkaConfiguration, group: String, topics: [String], logger: Logger) throws {
        let raw = try configuration.make(defaults: [
            "group.id": group,
            "auto.offset.reset": "earliest",
            // Committed by the caller, after its work.
            "enable.auto.commit": "false",
            "enable.auto.offset.store": "false",
            // Offsets are the caller's, so a whole assignment at a time is the simplest that is right.
            "partition.assignment.strategy": "range,roundrobin",
            "topic.metadata.refresh.interval.ms": "10000",
            "allow.auto.create.topics": "true",
            "queued.min.messages": "10000",
            "queued.max.messages.kbytes": "16384",
            "fetch.message.max.bytes": "1048576",
            "log.connection.close": "false",
        ])
        rd_kafka_conf_set_rebalance_cb(raw) { raw, error, list, opaque in
            KafkaConsumer.rebalance(raw, error, list, opaque)
        }
        let callbacks = KafkaCallbacks(logger: logger)
        let handle = try KafkaHandle(RD_KAFKA_CONSUMER, configuration: raw, callbacks: callbacks)
        self.handle = handle
        self.callbacks = callbacks
        self.group = group
        self.logger = logger
        self.telemetry = KafkaTelemetry(clientID: configuration.clientID)
        rd_kafka_poll_set_consumer(handle.raw)
        let list = rd_kafka_topic_partition_list_new(Int32(topics.count))
        for topic in topics { rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA) }
        let error = rd_kafka_subscribe(handle.raw, list)
        rd_kafka_topic_partition_list_destroy(list)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            handle.destroy()
            throw KafkaError(error)
        }
        try startKafkaThread("lantern-consume") { self.serve() }
    }

    /// Waits for the next event.
    /// - Parameter maximum: Most records in one answer.
    /// - Throws: ``KafkaError``, or `CancellationError` within a tenth of a second of the task's cancellation.
    public func next(maximum: Int = 500) async throws -> Event {
        try await withTaskCancellationHandler {
            try Task.checkCancellation()
            return try await withCheckedThrowingContinuation { continuation in
                let accepted = self.state.withLock { state in
                    guard state.demand == nil, !state.closing else { return false }
                    state.demand = Demand(maximum: maximum, continuation: continuation)
                    state.cancelled = false
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
        }
    }

    /// Starts reading an assignment at the given positions. Call it after each `assigned`, with all its partitions; or
    /// later, to begin elsewhere.
    public func assign(_ positions: [KafkaPosition]) throws {
        let list = rd_kafka_topic_partition_list_new(Int32(positions.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for position in positions {
            let entry = rd_kafka_topic_partition_list_add(list, position.partition.topic, position.partition.partition)
            switch position.offset {
            case .earliest: entry?.pointee.offset = Int64(RD_KAFKA_OFFSET_BEGINNING)
            case .at(let offset): entry?.pointee.offset = offset
            }
        }
        guard let error = self.handle.use({ rd_kafka_assign($0, list) }) else {
            throw KafkaError(code: .closed, message: "the consumer is closed")
        }
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(error) }
        self.callbacks.assignment.withLock { $0 = positions.map(\.partition) }
    }

    /// Tells the group how far the work is: `offset` is the next one to read. Does not wait for the answer; where the
    /// truth is in a database the group's offset is a hint, for tools that show lag.
    public func commit(_ offsets: [(partition: KafkaPartition, offset: Int64)]) {
        let list = rd_kafka_topic_partition_list_new(Int32(offsets.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for (partition, offset) in offsets {
            rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)?.pointee.offset = offset
        }
        if let error = self.handle.use({ rd_kafka_commit($0, list, 1) }), error != RD_KAFKA_RESP_ERR_NO_ERROR {
            self.logger.debug("offsets were not committed", error: KafkaError(error))
        }
    }

    /// Leaves the group. Returns when that is done, or after five seconds.
    public func close() async {
        self.state.withLock { $0.closing = true }
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

    // MARK: - The polling thread

    private func serve() {
        var lagReported = ContinuousClock.now
        while true {
            let (demand, closing) = self.state.withLock { ($0.demand, $0.closing) }
            if closing { break }
            guard let demand else {
                self.wake.wait()
                continue
            }
            let result = self.poll(demand)
            if ContinuousClock.now - lagReported > .seconds(1) {
                lagReported = .now
                self.reportLag()
            }
            guard let result else { continue }
            self.state.withLock { $0.demand = nil }
            demand.continuation.resume(with: result)
        }
        let abandoned = self.state.withLock { state in
            defer { state.demand = nil }
            return state.demand
        }
        abandoned?.continuation.resume(throwing: CancellationError())
        rd_kafka_consumer_close(self.handle.raw)
        self.handle.destroy()
        let waiters = self.state.withLock { state in
            state.closed = true
            defer { state.closeWaiters = [] }
            return state.closeWaiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// One slice of waiting: an answer for the demand, or `nil` if there is none yet.
    private func poll(_ demand: Demand) -> Result<Event, any Error>? {
        if self.state.withLock({ $0.cancelled }) { return .failure(CancellationError()) }
        if let event = self.takeRebalance() { return .success(event) }
        guard let first = rd_kafka_consumer_poll(self.handle.raw, 100) else {
            return self.takeRebalance().map { .success($0) }
        }
        var records: [KafkaRecord] = []
        var message: UnsafeMutablePointer<rd_kafka_message_t>? = first
        while let current = message {
            if current.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                records.append(Self.record(current))
            } else {
                self.report(current.pointee.err)
            }
            rd_kafka_message_destroy(current)
            // Never past a rebalance: what was polled before it belongs to the old assignment and is handed over first.
            guard records.count < demand.maximum, self.callbacks.rebalances.withLock({ $0.isEmpty }) else { break }
            message = rd_kafka_consumer_poll(self.handle.raw, 0)
        }
        guard !records.isEmpty else { return self.takeRebalance().map { .success($0) } }
        for (topic, group) in Dictionary(grouping: records, by: \.topic) {
            self.telemetry.consumed(group.count, topic: topic, group: self.group)
        }
        return .success(.records(records))
    }

    private func takeRebalance() -> Event? {
        self.callbacks.rebalances.withLock { $0.isEmpty ? nil : $0.removeFirst() }
    }

    private func report(_ error: rd_kafka_resp_err_t) {
        switch error {
        case RD_KAFKA_RESP_ERR__PARTITION_EOF: break
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
            self.logger.debug("a subscribed topic does not exist yet")
        default:
            self.logger.warning("consumer error", error: KafkaError(error))
        }
    }

    private func reportLag() {
        for partition in self.callbacks.assignment.withLock({ $0 }) {
            var low: Int64 = -1
            var high: Int64 = -1
            // Both calls read what the last fetch brought; neither asks a broker.
            guard
                rd_kafka_get_watermark_offsets(self.handle.raw, partition.topic, partition.partition, &low, &high)
                    == RD_KAFKA_RESP_ERR_NO_ERROR, high >= 0
            else { continue }
            let list = rd_kafka_topic_partition_list_new(1)
            defer { rd_kafka_topic_partition_list_destroy(list) }
            let entry = rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)
            rd_kafka_position(self.handle.raw, list)
            let position = entry?.pointee.offset ?? -1
            self.telemetry.lag(max(0, high - (position >= 0 ? position : low)), of: partition, group: self.group)
        }
    }

    private static func record(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> KafkaRecord {
        func bytes(_ pointer: UnsafeMutableRawPointer?, _ count: Int) -> [UInt8]? {
            // librdkafka owns the memory until the message is destroyed; it is copied here.
            pointer.map { Array(UnsafeRawBufferPointer(start: $0, count: count)) }
        }
        var headers: [KafkaHeader] = []
        var list: OpaquePointer?
        if rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list {
            var name: UnsafePointer<CChar>?
            var value: UnsafeRawPointer?
            var size = 0
            var index = 0
            while rd_kafka_header_get_all(list, index, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR {
                if let name {
                    headers.append(
                        KafkaHeader(
                            String(cString: name), value.map { Array(UnsafeRawBufferPointer(start: $0, count: size)) }
                        )
                    )
                }
                index += 1
            }
        }
        return KafkaRecord(
            topic: message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? "",
            partition: message.pointee.partition,
            key: bytes(message.pointee.key, message.pointee.key_len),
            value: bytes(message.pointee.payload, message.pointee.len),
            headers: headers,
            offset: message.pointee.offset
        )
    }

    // MARK: - Rebalance callback

    private static func rebalance(
        _ raw: OpaquePointer?, _ error: rd_kafka_resp_err_t,
        _ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?, _ opaque: UnsafeMutableRawPointer?
    ) {
        guard let opaque else { return }
        let callbacks = Unmanaged<KafkaCallbacks>.fromOpaque(opaque).takeUnretainedValue()
        if error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, let list {
            let partitions = (0..<Int(list.pointee.cnt)).compactMap { index -> KafkaPartition? in
                list.pointee.elems.map { elements in
                    KafkaPartition(topic: String(cString: elements[index].topic), partition: elements[index].partition)
                }
            }
            callbacks.rebalances.withLock { $0.append(.assigned(partitions)) }
        } else {
            rd_kafka_assign(raw, nil)
            callbacks.assignment.withLock { $0 = [] }
            callbacks.rebalances.withLock { $0.append(.revoked) }
        }
    }
}

/// A counting semaphore for a thread that has nothing to do.
///
/// `@unchecked Sendable` is right because POSIX semaphores are made to be used from any thread, and this one is destroyed
/// when the last reference goes.
private final class Semaphore: @unchecked Sendable {
    private let raw: UnsafeMutablePointer<sem_t>

    init() {
        self.raw = .allocate(capacity: 1)
        sem_init(self.raw, 0, 0)
    }

    deinit {
        sem_destroy(self.raw)
        self.raw.deallocate()
    }

    func signal() { sem_post(self.raw) }

    func wait() {
        while sem_wait(self.raw) != 0, errno == EINTR {}
    }
}
