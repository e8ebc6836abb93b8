import Synchronization
import Logging
import CRDKafka
import Synchronization

extension KafkaConsumer {
    /// The thread that runs librdkafka: blocked in it while somebody asks for records, and asleep while nobody does.
    func serve() {
        while true {
            let (demand, closing) = self.state.withLock { ($0.demand, $0.closing) }
            if closing { break }
            guard let demand else {
                self.wake.wait()
                continue
            }
            guard let result = self.poll(demand) else { continue }
            self.state.withLock { $0.demand = nil }
            demand.continuation.resume(with: result)
        }
        let abandoned = self.state.withLock { state in
            defer { state.demand = nil }
            state.leaving = true
            return state.demand.map { ($0.continuation, state.cancelled) }
        }
        if let (waiting, isCancelled) = abandoned {
            waiting.resume(throwing: isCancelled ? CancellationError() : Self.closed)
        }
        self.callbacks.rebalancing.withLock { $0.giveUpAll(self.handle.raw) }
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
    private func poll(_ demand: Demand) -> Result<Event, any Error>? {
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
        var topics = TopicNames()
        defer { topics.forget() }
        var message: UnsafeMutablePointer<rd_kafka_message_t>? = first
        while let current = message {
            if current.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                if records.isEmpty { records.reserveCapacity(min(demand.maximum, 1_024)) }
                topics.name(of: current) { topic in
                    records.append(KafkaRecord(current, topic: topic, size: &bytes))
                }
            } else {
                self.report(current.pointee.err)
                rd_kafka_message_destroy(current)
            }
            // Never past a rebalance: what was polled before it belongs to the old assignment and is handed over first.
            guard records.count < demand.maximum, bytes < demand.maximumBytes,
                !self.callbacks.hasChanges.load(ordering: .relaxed)
            else { break }
            // What is there already. One at a time, because bytes are counted before the next; by this call, because the one
            // above looks at the clock three times for each record.
            message = nil
            if rd_kafka_consume_batch_queue(self.queue.raw, 0, &message, 1) < 1 { message = nil }
        }
        guard !records.isEmpty else { return self.takeRebalance().map { .success($0) } }
        self.telemetry.consumed(records, group: self.group)
        return .success(.records(records))
    }

    private func takeRebalance() -> Event? {
        guard self.callbacks.hasChanges.load(ordering: .relaxed) else { return nil }
        let event = self.callbacks.rebalancing.withLock { rebalancing in
            let event = rebalancing.next()
            self.callbacks.hasChanges.store(!rebalancing.changes.isEmpty, ordering: .relaxed)
            return event
        }
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

/// The name of the topic that the last message came from: a batch has few, and making a `String` for each record would
/// cost more than the rest. Keeps the message whose topic it knows, and with it the topic: so its handle stands for no other.
private struct TopicNames: ~Copyable {
    private var last: (message: UnsafeMutablePointer<rd_kafka_message_t>, name: String)?

    /// Takes the message, which is destroyed here, sooner or later.
    mutating func name(
        of message: UnsafeMutablePointer<rd_kafka_message_t>, _ body: (String) -> Void
    ) {
        if let last, last.message.pointee.rkt == message.pointee.rkt {
            body(last.name)
            rd_kafka_message_destroy(message)
            return
        }
        let name = message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? ""
        self.forget()
        self.last = (message, name)
        body(name)
    }

    mutating func forget() {
        if let last { rd_kafka_message_destroy(last.message) }
        self.last = nil
    }
}

extension KafkaRecord {
    /// Copies a message out of librdkafka, which owns its memory until the message is destroyed.
    fileprivate init(_ message: UnsafeMutablePointer<rd_kafka_message_t>, topic: String, size: inout Int) {
        func bytes(_ pointer: UnsafeMutableRawPointer?, _ count: Int) -> [UInt8]? {
            pointer.map { Array(UnsafeRawBufferPointer(start: $0, count: count)) }
        }
        size += message.pointee.len + message.pointee.key_len
        var headers: [KafkaHeader] = []
        var list: OpaquePointer?
        if rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list {
            headers.reserveCapacity(rd_kafka_header_cnt(list))
            var name: UnsafePointer<CChar>?
            var value: UnsafeRawPointer?
            var length = 0
            while rd_kafka_header_get_all(list, headers.count, &name, &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR {
                headers.append(
                    KafkaHeader(
                        name.map { String(cString: $0) } ?? "",
                        value.map { Array(UnsafeRawBufferPointer(start: $0, count: length)) }
                    )
                )
                size += length
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
