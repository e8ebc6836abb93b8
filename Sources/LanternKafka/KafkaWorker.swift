public import Logging
import Synchronization
import Tracing

/// Handles a group's records several at a time, each at least once, those of one key in order.
///
/// Records are spread over lanes by partition and key; a lane handles one after the other. The group's offset in a
/// partition moves to the first record that is not done. When partitions are taken away, what is in flight of them is
/// finished and committed first, for at most ``drainDeadline``; when they are lost, the results of what is in flight count
/// for nothing. While handlers work the consumer goes on asking, so the membership does not depend on their speed.
public struct KafkaWorker: Sendable {
    private let consumer: KafkaConsumer
    private let group: String
    private let concurrency: Int
    private let maximumBuffered: Int
    private let drainDeadline: Duration
    private let logger: Logger
    private let handler: @Sendable (KafkaRecord) async throws -> Void

    /// - Parameters:
    ///   - concurrency: Lanes: most handlers at once.
    ///   - maximumBuffered: Most records in memory that are not done; beyond it partitions are paused.
    ///   - drainDeadline: How long partitions that go wait for what is in flight.
    ///   - handler: An error ends ``run()``, and the record is read again by whoever has the partition next. Runs in the
    ///     record's span.
    public init(
        consumer: KafkaConsumer, concurrency: Int = 16, maximumBuffered: Int = 2_000,
        drainDeadline: Duration = .seconds(10), logger: Logger,
        handler: @escaping @Sendable (KafkaRecord) async throws -> Void
    ) {
        self.consumer = consumer
        self.group = consumer.group
        self.concurrency = max(1, concurrency)
        self.maximumBuffered = max(1, maximumBuffered)
        self.drainDeadline = drainDeadline
        self.logger = logger
        self.handler = handler
    }

    /// Works until the task is cancelled; then what is in flight is finished within the deadline and committed. Handlers
    /// that are at work beyond it are cancelled, and waited for as long once more: one that ignores that is left behind, so
    /// that it cannot keep a service from ending. Does not close the consumer.
    /// - Throws: What a handler threw, or ``KafkaError``.
    public func run() async throws {
        let progress = WorkerProgress()
        // Bounded by `maximumBuffered`, which counts for all lanes together.
        let lanes = (0..<self.concurrency).map { _ in AsyncStream.makeStream(of: Job.self) }
        // Not children: when `run` is cancelled, what is in flight is finished first.
        let workers = lanes.map { lane in
            progress.laneStarted()
            return Task {
                await self.work(lane.stream, progress)
                progress.laneEnded()
            }
        }
        let outcome: Result<Void, any Error>
        do {
            try await self.run(lanes.map(\.continuation), progress)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        // The task may be cancelled: a task of its own can wait.
        await Task { await self.drain(progress.partitions, progress) }.value
        for lane in lanes { lane.continuation.finish() }
        for worker in workers { worker.cancel() }
        await Task { await self.whenEnded(progress) }.value
        if let failure = progress.failure { throw failure }
        try outcome.get()
    }

    private func run(_ lanes: [AsyncStream<Job>.Continuation], _ progress: WorkerProgress) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.feed(lanes, progress) }
            group.addTask { await progress.whenFailed() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private struct Job: Sendable {
        var record: KafkaRecord
        var partition: KafkaPartition
        /// Of the partition's assignment: what was handed out before it was lost counts for nothing.
        var assignment: Int
    }

    private func feed(_ lanes: [AsyncStream<Job>.Continuation], _ progress: WorkerProgress) async throws {
        var paused: Set<KafkaPartition> = []
        // Of a run before this one, which may have read what it did not finish: begun anew where the group's offset is.
        let held = self.consumer.assigned
        if !held.isEmpty {
            progress.assigned(held)
            try self.consumer.seek(held.map { KafkaPosition($0, .committed) })
            try self.consumer.resume(held)
        }
        while !Task.isCancelled {
            let event: KafkaConsumer.Event
            do {
                event = try await self.next(progress, &paused)
            } catch is CancellationError {
                break
            }
            switch event {
            case .assigned(let partitions):
                progress.assigned(partitions)
                try self.consumer.assign(partitions.map { KafkaPosition($0, .committed) })
                // While too much is in memory, what comes has to wait as the rest does.
                if !paused.isEmpty {
                    try self.consumer.pause(partitions)
                    paused.formUnion(partitions)
                }
            case .revoked(let partitions):
                // Not cut short by a cancellation: others have these partitions next.
                await Task { await self.drain(partitions, progress) }.value
                paused.subtract(partitions)
            case .lost(let partitions):
                progress.removed(partitions)
                paused.subtract(partitions)
            case .records(let records):
                for record in records {
                    guard let number = record.partition, let offset = record.offset else { continue }
                    let partition = KafkaPartition(topic: record.topic, partition: number)
                    guard let assignment = progress.started(partition, offset) else { continue }
                    lanes[self.lane(of: record)].yield(
                        Job(record: record, partition: partition, assignment: assignment))
                }
            }
        }
    }

    /// Asks on, with partitions paused while too much is in memory: so rebalances are heard of, and records are not.
    private func next(
        _ progress: WorkerProgress, _ paused: inout Set<KafkaPartition>
    ) async throws -> KafkaConsumer.Event {
        if progress.inFlight >= self.maximumBuffered, paused.isEmpty {
            let partitions = progress.partitions
            try self.consumer.pause(partitions)
            paused = Set(partitions)
        }
        guard !paused.isEmpty else {
            let room = max(1, self.maximumBuffered - progress.inFlight)
            return try await self.consumer.next(maximum: min(self.maximumBuffered / 4 + 1, room))
        }
        return try await withThrowingTaskGroup(of: KafkaConsumer.Event?.self) { group in
            group.addTask { try await self.consumer.next(maximum: 1) }
            group.addTask {
                await progress.whenBelow(self.maximumBuffered / 2)
                return nil
            }
            while let event = try await group.next() {
                if let event {
                    group.cancelAll()
                    return event
                }
                try self.consumer.resume(Array(paused))
                paused = []
            }
            throw CancellationError()
        }
    }

    private func lane(of record: KafkaRecord) -> Int {
        var hash: UInt64 = 14_695_981_039_346_656_037
        func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 1_099_511_628_211 }
        if let key = record.key {
            for byte in key { mix(byte) }
        } else {
            // Without a key the partition is the order.
            for byte in record.topic.utf8 { mix(byte) }
            mix(UInt8(truncatingIfNeeded: record.partition ?? 0))
        }
        return Int(hash % UInt64(self.concurrency))
    }

    private func work(_ lane: AsyncStream<Job>, _ progress: WorkerProgress) async {
        for await job in lane {
            guard progress.failure == nil, progress.isCurrent(job.partition, job.assignment) else { continue }
            do {
                try await KafkaProcessing.process(job.record, group: self.group) { try await self.handler(job.record) }
            } catch {
                return progress.fail(error)
            }
            progress.finished(job.partition, job.assignment, job.record.offset ?? 0) { next in
                self.consumer.commit([job.partition: next])
            }
        }
    }

    /// Waits for the handlers, which were cancelled.
    private func whenEnded(_ progress: WorkerProgress) async {
        await self.withinDeadline { await progress.whenLanesEnded() }
        let left = progress.lanes
        guard left > 0 else { return }
        self.logger.error(
            "handlers that do not end when they are cancelled are left behind", metadata: ["handlers": "\(left)"])
    }

    private func withinDeadline(_ body: @escaping @Sendable () async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await body() }
            group.addTask { try? await Task.sleep(for: self.drainDeadline) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Waits for what is in flight, and commits what is done.
    private func drain(_ partitions: [KafkaPartition], _ progress: WorkerProgress) async {
        await self.withinDeadline { await progress.whenIdle(partitions) }
        let left = progress.inFlight(of: partitions)
        if left > 0 {
            self.logger.warning(
                "partitions go before their records are done; these will be handled again",
                metadata: ["records": "\(left)"]
            )
        }
        do {
            try await self.consumer.commitAndWait(progress.offsets(of: partitions))
        } catch {
            self.logger.warning("offsets were not committed; records will be handled again", error: error)
        }
        progress.removed(partitions)
    }
}
