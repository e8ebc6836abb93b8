import CoreMetrics
public import LanternKafka
public import LanternPostgres
public import Logging
public import ServiceLifecycle
import Synchronization

/// Does the work of records, in the transaction that moves the offsets.
public protocol RecordHandler: Sendable {
    /// Handles records in order. Everything it writes through `tx` commits together with the offsets, or not at all.
    /// - Throws: ``EventError`` for a record that can never be handled; ``PostgresError`` for a database that is away;
    ///   anything else is tried again a few times before the record is put aside.
    func handle(_ records: [KafkaRecord], in tx: PostgresTransaction) async throws

    /// What can be worked out of records without the database: runs while the transaction before theirs does.
    func prepare(_ records: [KafkaRecord]) async -> (any Sendable)?

    /// As ``handle(_:in:)``, with what ``prepare(_:)`` made of the same records; `nil` where it was not called for them.
    func handle(_ records: [KafkaRecord], prepared: (any Sendable)?, in tx: PostgresTransaction) async throws

    /// Called in the transaction that puts a record aside.
    func deadLettered(_ record: KafkaRecord, _ error: EventError, in tx: PostgresTransaction) async throws

    /// Called after a transaction with work has committed.
    func committed()
}

extension RecordHandler {
    public func prepare(_ records: [KafkaRecord]) async -> (any Sendable)? { nil }

    public func handle(_ records: [KafkaRecord], prepared: (any Sendable)?, in tx: PostgresTransaction) async throws {
        try await self.handle(records, in: tx)
    }

    public func deadLettered(_ record: KafkaRecord, _ error: EventError, in tx: PostgresTransaction) async throws {}
    public func committed() {}
}

/// Reads topics as a member of a group and hands the records to a handler, exactly once in effect.
///
/// Offsets live in the database and are moved by the transaction of the work, fenced by the value it expects; whoever
/// lost a partition meanwhile rolls back. A batch that fails is taken apart until the record at fault stands alone; that
/// one is put aside and the rest goes on. While the database is away nothing is lost and nothing is skipped: it waits.
public final class EventConsumer: Service {
    private let transport: any EventTransport
    private let topics: [String]
    private let group: String
    private let database: PostgresClient
    private let handler: any RecordHandler
    private let offsets: ConsumerOffsets
    private let deadLetters: DeadLetters
    let logger: Logger
    private let ready: @Sendable () async throws -> Void

    /// Records that are asked for at once, and those of one transaction.
    private static let fetchSize = 2_000
    private static let batchSize = 500
    private static let batchBytes = 8 << 20
    private static let handlerAttempts = 5

    /// - Parameters:
    ///   - topics: Names, or regular expressions where they begin with `^`.
    ///   - ready: Awaited before the first record is read: migrations.
    public init(
        transport: any EventTransport, topics: [String], group: String, database: PostgresClient,
        handler: any RecordHandler, logger: Logger, ready: @escaping @Sendable () async throws -> Void = {}
    ) {
        self.transport = transport
        self.topics = topics
        self.group = group
        self.database = database
        self.handler = handler
        self.offsets = ConsumerOffsets(group: group)
        self.deadLetters = DeadLetters(consumer: group)
        self.logger = logger
        self.ready = ready
    }

    /// Reads until the group shuts down; the batch in hand is finished first.
    public func run() async throws {
        do { try await cancelWhenGracefulShutdown { try await self.ready() } } catch is CancellationError { return }
        DeadLetters.prepareMetrics()
        let consumer = try self.transport.makeConsumer(group: self.group, topics: self.topics, logger: self.logger)
        var progress: [KafkaPartition: PartitionProgress] = [:]
        var attempt = 0
        var isBehind = false
        // Given to us, and not read yet.
        var waiting: Set<KafkaPartition> = []
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            do {
                if isBehind {
                    // What was in hand when it failed is not done: reading on would skip it. The topic may have been made
                    // anew just then, so the record before is looked at again.
                    progress = progress.mapValues { PartitionProgress(stored: $0.stored, lastID: $0.lastID) }
                    try consumer.seek(self.positions(progress))
                    isBehind = false
                }
                if !waiting.isEmpty {
                    let partitions = Array(waiting)
                    let new = try await self.retrying { try await self.offsets.load(partitions, from: self.database) }
                    try consumer.assign(self.positions(new))
                    progress.merge(new) { $1 }
                    waiting = []
                }
                let event = try await cancelWhenGracefulShutdown {
                    try await consumer.next(maximum: Self.fetchSize, maximumBytes: Self.batchBytes)
                }
                switch event {
                case .assigned(let partitions):
                    waiting.formUnion(partitions)
                    // There from the start: an alert on its rise would miss a series that begins above 0.
                    for topic in Set(partitions.map(\.topic)) { _ = self.skippedOffsets(of: topic) }
                    self.logger.info("partitions assigned", metadata: ["partitions": "\(partitions.count)"])
                case .revoked(let partitions):
                    waiting.subtract(partitions)
                    for partition in partitions { progress[partition] = nil }
                    self.logger.info("partitions revoked", metadata: ["partitions": "\(partitions.count)"])
                case .lost(let partitions):
                    waiting.subtract(partitions)
                    for partition in partitions { progress[partition] = nil }
                    self.logger.notice("partitions lost", metadata: ["partitions": "\(partitions.count)"])
                case .records(let records):
                    try await self.take(records, &progress, consumer)
                }
                attempt = 0
            } catch is CancellationError where Task.isCancelled || Task.isShuttingDownGracefully {
                break
            } catch {
                attempt += 1
                isBehind = true
                self.logger.warning("consumer goes on after an error", error: error)
                try? await Task.sleep(for: .milliseconds(min(5_000, 50 << min(attempt, 7))))
            }
        }
        await consumer.close()
    }

    private func positions(_ progress: [KafkaPartition: PartitionProgress]) -> [KafkaPosition] {
        progress.map { partition, state in KafkaPosition(partition, state.start.map { .at($0) } ?? .earliest) }
    }

    private func take(
        _ records: [KafkaRecord], _ progress: inout [KafkaPartition: PartitionProgress], _ consumer: any EventReader
    ) async throws {
        var new: [KafkaRecord] = []
        var restarted: Set<KafkaPartition> = []
        new.reserveCapacity(records.count)
        for record in records {
            // As the one before: only the first of a partition can be anything else than new.
            if record.offset != nil, restarted.isEmpty, let last = new.last, last.partition == record.partition,
                last.topic == record.topic
            {
                new.append(record)
                continue
            }
            let partition = KafkaPartition(topic: record.topic, partition: record.partition ?? 0)
            guard let offset = record.offset, !restarted.contains(partition) else { continue }
            let skipped = progress[partition]?.skipped ?? 0
            let decision = progress[partition]?.decide(offset: offset, id: fingerprint(record))
            if let now = progress[partition]?.skipped, now > skipped { self.noteSkipped(now - skipped, partition) }
            switch decision {
            case .take: new.append(record)
            case .skip: break
            case .restart: restarted.insert(partition)
            case nil: break  // Not ours any more.
            }
        }
        if !restarted.isEmpty {
            self.logger.warning(
                "topic was made anew; reading from its start",
                metadata: ["partitions": "\(restarted.sorted { $0.partition < $1.partition })"]
            )
        }
        if !new.isEmpty {
            do {
                try await self.processInTurn(new, &progress)
            } catch let error as EventError where error.code == .fenced {
                // Read again what the database says, and begin there.
                self.logger.notice("offsets were moved by another member", error: error)
                let partitions = Array(progress.keys)
                progress = try await self.retrying { try await self.offsets.load(partitions, from: self.database) }
                try consumer.seek(self.positions(progress))
                return
            }
            consumer.commit(progress.mapValues(\.stored))
        }
        if !restarted.isEmpty {
            try consumer.seek(restarted.map { KafkaPosition($0, .earliest) })
        }
    }

    /// What the brokers had given up before it was read: of a service with heads the timeline asks for it again.
    private func noteSkipped(_ count: Int64, _ partition: KafkaPartition) {
        self.logger.warning(
            "the brokers do not have records any more that were not read",
            metadata: ["partition": "\(partition)", "offsets": "\(count)"])
        self.skippedOffsets(of: partition.topic).increment(by: count)
    }

    private func skippedOffsets(of topic: String) -> Counter {
        Counter(
            label: "lantern_consumer_skipped_offsets_total",
            dimensions: [
                ("messaging_destination_name", topic), ("messaging_consumer_group_name", self.group),
            ])
    }

    /// Handles records, batch by batch; the next is prepared while the transaction of one runs.
    private func processInTurn(
        _ records: [KafkaRecord], _ progress: inout [KafkaPartition: PartitionProgress]
    ) async throws {
        var rest = records[...]
        var batch = Array(rest.prefix(Self.batchSize))
        rest = rest.dropFirst(Self.batchSize)
        var prepared = await self.handler.prepare(batch)
        while !batch.isEmpty {
            let next = Array(rest.prefix(Self.batchSize))
            rest = rest.dropFirst(Self.batchSize)
            async let preparing = next.isEmpty ? nil : self.handler.prepare(next)
            try await self.process(batch, prepared: prepared, &progress)
            batch = next
            prepared = await preparing
        }
    }

    /// Handles records, in one transaction if it can be, one by one around a record at fault.
    private func process(
        _ records: [KafkaRecord], prepared: (any Sendable)? = nil,
        _ progress: inout [KafkaPartition: PartitionProgress]
    ) async throws {
        var failures = 0
        while true {
            do {
                try await self.commit(records, progress) { tx in
                    try await self.handler.handle(records, prepared: prepared, in: tx)
                }
                break
            } catch {
                switch Self.disposition(of: error) {
                case .stop: throw error
                case .wait:
                    failures += 1
                    if failures.nonzeroBitCount == 1 {
                        self.logger.warning(
                            "records wait for the database", error: error, metadata: ["attempt": "\(failures)"])
                    }
                    if (error as? PostgresError)?.code == .unknownOutcome {
                        // If it did commit, the fence tells: the offsets have moved.
                        throw EventError(code: .fenced, message: "the outcome of a transaction is unknown")
                    }
                    try await Task.sleep(for: .milliseconds(min(5_000, 50 << min(failures, 7))))
                    continue
                case .retry(let poison), .poison(let poison):
                    guard records.count == 1 else {
                        for record in records { try await self.process([record], &progress) }
                        return
                    }
                    failures += 1
                    if case .retry = Self.disposition(of: error), failures < Self.handlerAttempts {
                        try await Task.sleep(for: .milliseconds(20 << failures))
                        continue
                    }
                    try await self.putAside(records[0], poison, progress)
                }
            }
            break
        }
        for (partition, last) in Self.ends(of: records) {
            progress[partition]?.committed(next: (last.offset ?? 0) + 1, lastID: fingerprint(last))
        }
        self.handler.committed()
    }

    private func putAside(
        _ record: KafkaRecord, _ error: EventError, _ progress: [KafkaPartition: PartitionProgress]
    ) async throws {
        try await self.deadLetters.trace(record, error, logger: self.logger) {
            try await self.settle(record, error, progress)
        }
    }

    private func settle(
        _ record: KafkaRecord, _ error: EventError, _ progress: [KafkaPartition: PartitionProgress]
    ) async throws {
        try await self.retrying {
            try await self.commit([record], progress) { tx in
                try await self.deadLetters.add(record, error, in: tx)
                try await self.handler.deadLettered(record, error, in: tx)
            }
        }
    }

    private func commit(
        _ records: [KafkaRecord], _ progress: [KafkaPartition: PartitionProgress],
        _ work: @Sendable (PostgresTransaction) async throws -> Void
    ) async throws {
        let ends = Self.ends(of: records)
        try await self.database.transaction { tx in
            let moves = try ends.map { partition, last in
                guard let state = progress[partition] else {
                    throw EventError(code: .fenced, message: "\(partition) is not assigned")
                }
                return ConsumerOffsets.Move(
                    partition: partition, expected: state.stored, next: (last.offset ?? 0) + 1,
                    lastID: fingerprint(last))
            }
            try await self.offsets.move(moves, in: tx)
            try await work(tx)
        }
    }

    /// The last record of each partition. There are few partitions, so the list is searched.
    private static func ends(of records: [KafkaRecord]) -> [(partition: KafkaPartition, last: KafkaRecord)] {
        var ends: [(partition: KafkaPartition, last: KafkaRecord)] = []
        for record in records.reversed()
        where !ends.contains(where: { $0.last.partition == record.partition && $0.last.topic == record.topic }) {
            ends.append((KafkaPartition(topic: record.topic, partition: record.partition ?? 0), record))
        }
        return ends
    }
}
