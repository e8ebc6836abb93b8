import CoreMetrics
import Foundation
public import LanternKafka
public import LanternPostgres
public import Logging
public import ServiceLifecycle
import Synchronization
import Tracing

/// Carries events from the outbox to Kafka: seals, publishes, marks, and announces heads.
///
/// One replica leads, elected by an advisory lock; what it writes is fenced by its term. It keeps trying for ever, with
/// backoff, whatever is down. At shutdown the leader publishes what is committed before it lets go.
public final class OutboxRelay: Service {
    private struct State {
        var draining = false
        var leading = false
    }

    private let store: OutboxStore
    private let outbox: Outbox
    private let lock: AdvisoryLock
    private let kafka: KafkaConfiguration
    private let signal: OutboxSignal
    private let channel: NotificationChannel
    private let pollInterval: Duration
    private let logger: Logger
    private let state = Mutex(State())
    private let pending: Meter
    private let oldestAge: Meter

    private static let batchSize = 500
    /// At most one notification of a replica in this time: each takes a lock that all of a server's share.
    private static let notifyInterval: Duration = .milliseconds(10)

    /// - Parameters:
    ///   - database: The pool that the service uses.
    ///   - direct: Reaches the server without a transaction pooler, for the sessions of leader and notifications.
    ///   - signal: What ``Outbox`` signals after a commit.
    ///   - pollInterval: How often a leader that has nothing to do looks for rows that nobody woke it for: a net beneath
    ///     the notifications of other replicas, which can be lost.
    public init(
        outbox: Outbox, database: PostgresClient, direct: PostgresClient, kafka: KafkaConfiguration,
        signal: OutboxSignal, logger: Logger, pollInterval: Duration = .milliseconds(250)
    ) {
        self.outbox = outbox
        self.store = OutboxStore(database: database, source: outbox.source)
        self.lock = AdvisoryLock(client: direct, name: "lantern-relay:\(outbox.source)")
        self.channel = NotificationChannel(client: direct, name: "lantern_outbox")
        self.pollInterval = pollInterval
        self.kafka = kafka
        self.signal = signal
        self.logger = logger
        self.pending = Meter(label: "lantern_outbox_pending")
        self.oldestAge = Meter(label: "lantern_outbox_oldest_age_seconds")
    }

    public func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.leadForever() }
            group.addTask { await self.notifyForever() }
            group.addTask {
                try? await gracefulShutdown()
                let leading = self.state.withLock { state in
                    state.draining = true
                    return state.leading
                }
                self.signal.here.signal()
                // A leader drains and ends by itself; a replica that waits for the lock has nothing to drain.
                if leading { try? await Task.sleep(for: .seconds(10)) }
            }
            await group.next()
            group.cancelAll()
        }
    }

    private func leadForever() async {
        var attempt = 0
        while !Task.isCancelled, !self.isDraining {
            do {
                try await self.lock.withLock { try await self.lead() }
            } catch is CancellationError {
                // Either the session died, which the next round finds out, or we are being shut down.
            } catch let error as EventError where error.code == .lostLeadership {
                self.logger.notice("leadership passed to another relay")
            } catch {
                attempt += 1
                // The first failures of an outage say it all; the log must not fill while it lasts.
                if attempt.nonzeroBitCount == 1 {
                    self.logger.warning("the relay cannot work", error: error, metadata: ["attempt": "\(attempt)"])
                }
            }
            self.state.withLock { $0.leading = false }
            // Another replica tells of the backlog now: a value that nobody renews would keep an alert on.
            self.pending.set(0)
            self.oldestAge.set(0)
            guard !Task.isCancelled, !self.isDraining else { return }
            await self.signal.here.wait(atMost: .milliseconds(min(5_000, 100 << min(attempt, 6))))
        }
    }

    /// Tells the leader, where that is another replica, of what was appended here, and hears the same of the others. Not in
    /// the transactions that append: NOTIFY would make their commits wait for each other.
    private func notifyForever() async {
        var attempt = 0
        while !Task.isCancelled {
            do {
                try await self.channel.withSession(onNotification: { _ in self.signal.here.signal() }) { session in
                    while true {
                        await self.signal.elsewhere.wait(atMost: .seconds(3_600))
                        try Task.checkCancellation()
                        if !self.state.withLock({ $0.leading }) { try await session.notify() }
                        // What is appended meanwhile is one notification.
                        try await Task.sleep(for: Self.notifyInterval)
                    }
                }
            } catch {
                // Only slower without: the leader polls.
                self.logger.debug("no session for notifications", error: error)
                attempt += 1
                try? await Task.sleep(for: .milliseconds(min(5_000, 100 << min(attempt, 6))))
            }
        }
    }

    private var isDraining: Bool { self.state.withLock { $0.draining } }

    private func lead() async throws {
        var leadership = try await self.store.takeOver()
        try await self.store.ensurePartitions()
        self.state.withLock { $0.leading = true }
        self.logger.info(
            "relay leads",
            metadata: [
                "source": "\(self.outbox.source)", "term": .stringConvertible(leadership.term),
                "epoch": .stringConvertible(leadership.epoch),
            ]
        )
        let producer = try KafkaProducer(configuration: self.kafka, logger: self.logger)
        do {
            try await self.relay(&leadership, producer)
            await producer.close(deadline: .seconds(5))
        } catch {
            // What is in the producer's queue is in the outbox as well: the next leader sends it.
            await producer.close(deadline: .zero)
            throw error
        }
    }

    private func relay(_ leadership: inout OutboxStore.Leadership, _ producer: KafkaProducer) async throws {
        var heads = HeadAnnouncements()
        var measured = ContinuousClock.now - .seconds(10)
        while true {
            try Task.checkCancellation()
            let draining = self.isDraining
            let last = try await self.store.seal(leadership, limit: Self.batchSize)
            let published = try await self.publish(&leadership, producer)
            if heads.isDue(sequence: leadership.publishedThrough, now: .now)
                || (draining && heads.isChanged(leadership.publishedThrough))
            {
                try await self.announce(leadership, producer, &heads)
            }
            if ContinuousClock.now - measured > .seconds(published > 0 ? 1 : 5) {
                measured = .now
                let backlog = try await self.store.backlog(leadership)
                self.pending.set(backlog.pending)
                self.oldestAge.set(backlog.oldestAge)
                try await self.store.ensurePartitions()
            }
            if published == 0, last == leadership.publishedThrough {
                if draining { return }
                await self.signal.here.wait(atMost: self.pollInterval)
            }
        }
    }

    /// Sends the next batch and moves the watermark once all of it is acknowledged.
    private func publish(_ leadership: inout OutboxStore.Leadership, _ producer: KafkaProducer) async throws -> Int {
        let batch = try await self.store.unpublished(leadership, limit: Self.batchSize)
        guard let last = batch.last?.event.sequence else { return 0 }
        try await producer.send(batch.map { CloudEvents.record($0.event, topic: $0.topic) })
        try await self.store.markPublished(leadership, through: last)
        leadership.publishedThrough = last
        return batch.count
    }

    private func announce(
        _ leadership: OutboxStore.Leadership, _ producer: KafkaProducer, _ heads: inout HeadAnnouncements
    ) async throws {
        let partitions = try await heads.partitions(now: .now) {
            try await producer.partitionCount(of: self.outbox.topic)
        }
        let head = SourceHead(
            source: self.outbox.source, epoch: leadership.epoch, sequence: leadership.publishedThrough,
            partitions: partitions
        )
        try await producer.send(
            (0..<partitions).map { partition in
                try head.record(
                    topic: self.outbox.topic, partition: partition, id: UUID.version7().uuidString.lowercased()
                )
            }
        )
        heads.announced(sequence: leadership.publishedThrough, now: .now)
    }
}

/// When heads are due: at most each second when something changed, each 30 seconds when idle.
struct HeadAnnouncements {
    private var last: (sequence: Int64, at: ContinuousClock.Instant)?
    private var known: (count: Int32, at: ContinuousClock.Instant)?

    func isChanged(_ sequence: Int64) -> Bool { self.last?.sequence != sequence }

    func isDue(sequence: Int64, now: ContinuousClock.Instant) -> Bool {
        guard let last else { return true }
        return now - last.at >= (last.sequence == sequence ? .seconds(30) : .seconds(1))
    }

    mutating func announced(sequence: Int64, now: ContinuousClock.Instant) {
        self.last = (sequence, now)
    }

    /// The number of partitions, asked for again every ten seconds: topics grow.
    mutating func partitions(now: ContinuousClock.Instant, _ ask: () async throws -> Int32) async throws -> Int32 {
        if let known, now - known.at < .seconds(10) { return known.count }
        let count = try await ask()
        self.known = (count, now)
        return count
    }
}
