import Synchronization
import Logging
import CRDKafka
import Synchronization

extension KafkaConsumer {
    /// The thread that waits in librdkafka while somebody asks for records that are not there yet, and is asleep while
    /// nobody does.
    func serve() {
        while true {
            let (demand, closing) = self.state.withLock { ($0.demand, $0.closing && !$0.isTaking) }
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

    /// An answer without a wait, for the caller itself: under load records are there already, and waking a thread to hand
    /// them over would take longer than to take them. `nil` where there is nothing, or somebody else asks.
    func takeWhatIsThere(maximum: Int, maximumBytes: Int) -> Answer? {
        let isOurs = self.state.withLock { state in
            guard state.demand == nil, !state.isTaking, !state.closing else { return false }
            // Keeps the thread from closing meanwhile; there is no demand that it could poll for.
            state.isTaking = true
            return true
        }
        guard isOurs else { return nil }
        defer {
            let closing = self.state.withLock { state in
                state.isTaking = false
                return state.closing
            }
            if closing { self.wake.signal() }
        }
        if let event = self.beginTurn() { return .event(event) }
        var messages = KafkaMessages()
        var bytes = 0
        self.collect(&messages, &bytes, maximum: maximum, maximumBytes: maximumBytes)
        return self.answer(messages)
    }

    /// One wait: an answer for the demand, or `nil` if there is none yet.
    private func poll(_ demand: Demand) -> Result<Answer, any Error>? {
        if self.state.withLock({ $0.cancelled }) { return .failure(CancellationError()) }
        if let event = self.beginTurn() { return .success(.event(event)) }
        var messages = KafkaMessages()
        var bytes = 0
        // The time limit is a net only: records, rebalances and the yield of a cancellation end the wait at once.
        if let first = rd_kafka_consumer_poll(self.handle.raw, 1_000) {
            self.take(first, &messages, &bytes)
            self.collect(&messages, &bytes, maximum: demand.maximum, maximumBytes: demand.maximumBytes)
        }
        return self.answer(messages).map { .success($0) }
    }

    /// What is due before records are polled for. Whoever asks again has finished with what was revoked.
    /// - Returns: What the caller has to hear first, if there is anything.
    private func beginTurn() -> Event? {
        self.callbacks.rebalancing.withLock { $0.giveUp(self.handle.raw) }
        return self.takeRebalance()
    }

    /// What is there already.
    private func collect(_ messages: inout KafkaMessages, _ bytes: inout Int, maximum: Int, maximumBytes: Int) {
        var isEmpty = false
        // Never past a rebalance: what was polled before it belongs to the old assignment and is handed over first.
        while !isEmpty, messages.count < maximum, bytes < maximumBytes,
            !self.callbacks.hasChanges.load(ordering: .relaxed)
        {
            self.taking.withLock { _ in
                for _ in 0..<Self.share where messages.count < maximum && bytes < maximumBytes {
                    // And no `rd_kafka_consume_batch_queue`: librdkafka 2.0 drops from the batch what came before a pause or
                    // a rebalance that it hears of meanwhile, and has counted it as read, so that nobody ever would.
                    guard let message = rd_kafka_consume_queue(self.queue.raw, 0) else {
                        isEmpty = true
                        return
                    }
                    self.take(message, &messages, &bytes)
                }
            }
        }
    }

    private func answer(_ messages: KafkaMessages) -> Answer? {
        guard !messages.isEmpty else { return self.takeRebalance().map { .event($0) } }
        // Given back by the caller, who copies the messages and frees them.
        self.handle.lend()
        return .messages(messages)
    }

    /// Most messages that are taken before somebody else may change positions.
    private static let share = 32

    private func take(_ message: KafkaMessages.Pointer, _ messages: inout KafkaMessages, _ bytes: inout Int) {
        if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
            messages.append(message)
            bytes += message.pointee.len + message.pointee.key_len
        } else {
            self.report(message.pointee.err)
            rd_kafka_message_destroy(message)
        }
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
