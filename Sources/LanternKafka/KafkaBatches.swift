/// What to do when partitions come and go; each is optional.
public struct KafkaRebalanceHooks: Sendable {
    /// Where to begin reading partitions that come: the group's committed offsets unless said otherwise. An error ends the
    /// sequence.
    public var assigned: @Sendable ([KafkaPartition]) async throws -> [KafkaPosition]
    /// Partitions go to other members when this returns: finish what is in flight, and commit.
    public var revoked: @Sendable ([KafkaPartition]) async -> Void
    /// Partitions are others' already: abandon what is in flight.
    public var lost: @Sendable ([KafkaPartition]) async -> Void

    public init(
        assigned: @escaping @Sendable ([KafkaPartition]) async throws -> [KafkaPosition] = {
            $0.map { KafkaPosition($0, .committed) }
        },
        revoked: @escaping @Sendable ([KafkaPartition]) async -> Void = { _ in },
        lost: @escaping @Sendable ([KafkaPartition]) async -> Void = { _ in }
    ) {
        self.assigned = assigned
        self.revoked = revoked
        self.lost = lost
    }
}

/// Records that came together.
public struct KafkaBatch: Sendable {
    public let records: [KafkaRecord]
    private let consumer: KafkaConsumer

    init(records: [KafkaRecord], consumer: KafkaConsumer) {
        self.records = records
        self.consumer = consumer
    }

    /// The next offset to read in each partition of the batch.
    public var next: [KafkaPartition: Int64] {
        var next: [KafkaPartition: Int64] = [:]
        for record in self.records {
            guard let partition = record.partition, let offset = record.offset else { continue }
            next[KafkaPartition(topic: record.topic, partition: partition)] = offset + 1
        }
        return next
    }

    /// Says that the work of the batch is done, without waiting for the brokers to know. What is done and not committed
    /// is read again after a crash: at least once.
    public func commit() { self.consumer.commit(self.next) }

    /// As ``commit()``, and waits.
    /// - Throws: ``KafkaError``, `fenced` where another member has the partitions.
    public func commitAndWait() async throws { try await self.consumer.commitAndWait(self.next) }
}

/// A group's records in batches, as they come.
///
/// Ends by an error, or when the task is cancelled. Nothing is read ahead of what was asked for but what librdkafka fetches
/// (`queued.max.messages.kbytes`).
public struct KafkaBatches: AsyncSequence, Sendable {
    public typealias Element = KafkaBatch

    let consumer: KafkaConsumer
    let maximum: Int
    let hooks: KafkaRebalanceHooks

    public struct AsyncIterator: AsyncIteratorProtocol {
        let consumer: KafkaConsumer
        let maximum: Int
        let hooks: KafkaRebalanceHooks

        /// - Throws: ``KafkaError``, or what the hook for assigned partitions throws.
        public mutating func next() async throws -> KafkaBatch? {
            while !Task.isCancelled {
                let event: KafkaConsumer.Event
                do {
                    event = try await self.consumer.next(maximum: self.maximum)
                } catch is CancellationError {
                    return nil
                }
                switch event {
                case .records(let records): return KafkaBatch(records: records, consumer: self.consumer)
                case .assigned(let partitions):
                    try self.consumer.assign(try await self.hooks.assigned(partitions))
                case .revoked(let partitions): await self.hooks.revoked(partitions)
                case .lost(let partitions): await self.hooks.lost(partitions)
                }
            }
            return nil
        }
    }

    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(consumer: self.consumer, maximum: self.maximum, hooks: self.hooks)
    }
}

extension KafkaConsumer {
    /// The group's records in batches of at most `maximum`. One loop at a time.
    ///
    /// ```swift
    /// for try await batch in consumer.batches() {
    ///     try await work(batch.records)
    ///     batch.commit()
    /// }
    /// ```
    public func batches(maximum: Int = 500, hooks: KafkaRebalanceHooks = KafkaRebalanceHooks()) -> KafkaBatches {
        KafkaBatches(consumer: self, maximum: maximum, hooks: hooks)
    }
}
