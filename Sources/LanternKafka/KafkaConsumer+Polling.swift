import Synchronization
import Logging
import CRDKafka
import Glibc

extension KafkaConsumer {
    /// The thread that runs librdkafka: blocked in it while somebody asks for records, and asleep while nobody does.
    func serve() {
        var topics = TopicNames()
        while true {
            let (demand, closing) = self.state.withLock { ($0.demand, $0.closing) }
            if closing { break }
            guard let demand else {
                self.wake.wait()
                continue
            }
            guard let result = self.poll(demand, &topics) else { continue }
            self.state.withLock { $0.demand = nil }
            demand.continuation.resume(with: result)
        }
        let abandoned = self.state.withLock { state in
            defer { state.demand = nil }
            return state.demand
        }
        abandoned?.continuation.resume(throwing: CancellationError())
        self.callbacks.rebalancing.withLock { $0.giveUp(self.handle.raw) }
        rd_kafka_consumer_close(self.handle.raw)
        self.telemetry.forgetLag()
        self.destroy()
        let waiters = self.state.withLock { state in
            state.closed = true
            defer { state.closeWaiters = [] }
            return state.closeWaiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// One wait: an answer for the demand, or `nil` if there is none yet.
    private func poll(_ demand: Demand, _ topics: inout TopicNames) -> Result<Event, any Error>? {
        if self.state.withLock({ $0.cancelled }) { return .failure(CancellationError()) }
        // Whoever asks again has finished with what was revoked.
        self.callbacks.rebalancing.withLock { $0.giveUp(self.handle.raw) }
        if let event = self.takeRebalance() { return .success(event) }
        // The time limit is a net only: records, rebalances and the yield of a cancellation end the wait at once.
        guard let first = rd_kafka_consumer_poll(self.handle.raw, 1_000) else {
            return self.takeRebalance().map { .success($0) }
        }
        var records: [KafkaRecord] = []
        var bytes = 0
        var message: UnsafeMutablePointer<rd_kafka_message_t>? = first
        while let current = message {
            if current.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                if records.isEmpty { records.reserveCapacity(min(demand.maximum, 1_024)) }
                let record = KafkaRecord(current, topic: topics.name(of: current.pointee.rkt))
                bytes += record.size
                records.append(record)
            } else {
                self.report(current.pointee.err)
            }
            rd_kafka_message_destroy(current)
            // Never past a rebalance: what was polled before it belongs to the old assignment and is handed over first.
            guard records.count < demand.maximum, bytes < demand.maximumBytes,
                self.callbacks.rebalancing.withLock({ $0.changes.isEmpty })
            else { break }
            message = rd_kafka_consumer_poll(self.handle.raw, 0)
        }
        guard !records.isEmpty else { return self.takeRebalance().map { .success($0) } }
        self.telemetry.consumed(records, group: self.group)
        return .success(.records(records))
    }

    private func takeRebalance() -> Event? {
        let event = self.callbacks.rebalancing.withLock { $0.next() }
        switch event {
        case .assigned: self.telemetry.rebalanced(group: self.group)
        case .revoked(let partitions), .lost(let partitions): self.telemetry.forgetLag(of: partitions)
        case .records, nil: break
        }
        return event
    }

    private func report(_ error: rd_kafka_resp_err_t) {
        switch error {
        case RD_KAFKA_RESP_ERR__PARTITION_EOF: break
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
            self.logger.debug("a subscribed topic does not exist yet")
        case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
            self.logger.error("partitions are given up: nobody asked for records within max.poll.interval.ms")
        default:
            self.logger.warning("consumer error", error: KafkaError(error))
        }
    }
}

/// The names of topics by librdkafka's handle: a batch has few, and a name of more than 15 bytes costs an allocation.
private struct TopicNames {
    private var last: (handle: OpaquePointer, name: String)?

    mutating func name(of handle: OpaquePointer?) -> String {
        guard let handle else { return "" }
        // A message holds a reference to its topic, so a handle is not used again while records of it come.
        guard let last, last.handle == handle, last.name.withCString({ strcmp($0, rd_kafka_topic_name(handle)) == 0 })
        else {
            let name = String(cString: rd_kafka_topic_name(handle))
            self.last = (handle, name)
            return name
        }
        return last.name
    }
}

extension KafkaRecord {
    /// Copies a message out of librdkafka, which owns its memory until the message is destroyed.
    fileprivate init(_ message: UnsafeMutablePointer<rd_kafka_message_t>, topic: String) {
        func bytes(_ pointer: UnsafeMutableRawPointer?, _ count: Int) -> [UInt8]? {
            pointer.map { Array(UnsafeRawBufferPointer(start: $0, count: count)) }
        }
        var headers: [KafkaHeader] = []
        var list: OpaquePointer?
        if rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list {
            headers.reserveCapacity(rd_kafka_header_cnt(list))
            var name: UnsafePointer<CChar>?
            var value: UnsafeRawPointer?
            var size = 0
            while rd_kafka_header_get_all(list, headers.count, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR {
                headers.append(
                    KafkaHeader(
                        name.map { String(cString: $0) } ?? "",
                        value.map { Array(UnsafeRawBufferPointer(start: $0, count: size)) }
                    )
                )
            }
        }
        self.init(
            topic: topic,
            partition: message.pointee.partition,
            key: bytes(message.pointee.key, message.pointee.key_len),
            value: bytes(message.pointee.payload, message.pointee.len),
            headers: headers,
            offset: message.pointee.offset
        )
    }
}
