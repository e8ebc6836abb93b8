import CoreMetrics
import Foundation
import LanternKafka
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
    private let transport: any EventTransport
    private let signal: OutboxSignal
    private let channel: NotificationChannel
    private let settings: Settings
    private let logger: Logger
    private let state = Mutex(State())
    private let pending: Meter
    private let oldestAge: Meter

    /// How a relay works.
    public struct Settings: Sendable {
        /// How often a leader that has nothing to do looks for rows that nobody woke it for: a net beneath the
        /// notifications of other replicas, which can be lost.
        public var pollInterval: Duration = .milliseconds(250)
        /// Rows are kept at least as long, acknowledged or not: what was lost later can be sent again.
        public var minimumAge: Duration = .seconds(7 * 86_400)
        /// How often partitions are looked at that may be dropped.
        public var retentionInterval: Duration = .seconds(600)
        /// Rows of one round.
        public var batchSize = 1_000
        /// Events a second that are sent again on request: healing must not crowd out what is new.
        public var replayRate = 2_000

        public init() {}
    }

    /// At most one notification of a replica in this time: each takes a lock that all of a server's share.
    private static let notifyInterval: Duration = .milliseconds(10)

    /// - Parameters:
    ///   - database: The pool that the service uses.
    ///   - direct: Reaches the server without a transaction pooler, for the sessions of leader and notifications.
    ///   - signal: What ``Outbox`` signals after a commit.
    public init(
        outbox: Outbox, database: PostgresClient, direct: PostgresClient, transport: any EventTransport,
        signal: OutboxSignal, logger: Logger, settings: Settings = Settings()
    ) {
        self.outbox = outbox
        self.store = OutboxStore(database: database, source: outbox.source)
        self.lock = AdvisoryLock(client: direct, name: "lantern-relay:\(outbox.source)")
        self.channel = NotificationChannel(client: direct, name: "lantern_outbox")
        self.settings = settings
        self.transport = transport
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
            let began = ContinuousClock.now
            do {
                try await self.lock.withLock { try await self.lead() }
            } catch is CancellationError {
                // Either the session died, which the next round finds out, or we are being shut down.
            } catch let error as EventError where error.code == .lostLeadership {
                self.logger.notice("leadership passed to another relay")
            } catch {
                // Whoever led for a while begins to count anew.
                attempt = ContinuousClock.now - began > .seconds(30) ? 1 : attempt + 1
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
        let leadership = try await self.store.takeOver()
        try await self.store.ensurePartitions()
        self.state.withLock { $0.leading = true }
        self.logger.info(
            "relay leads",
            metadata: [
                "source": "\(self.outbox.source)", "term": .stringConvertible(leadership.term),
                "epoch": .stringConvertible(leadership.epoch),
            ]
        )
        let producer = try self.transport.makeProducer("relay", logger: self.logger)
        let replays = ReplayQueue(wake: self.signal.here)
        var term = RelayTerm(
            store: self.store, outbox: self.outbox, producer: producer, replays: replays, signal: self.signal,
            settings: self.settings, logger: self.logger, leadership: leadership
        )
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await self.listen(replays) }
                group.addTask { try await self.keepHouse() }
                defer { group.cancelAll() }
                try await term.run(isDraining: { self.isDraining })
            }
            await producer.close(deadline: .seconds(5))
        } catch {
            // What is in the producer's queue is in the outbox as well: the next leader sends it.
            await producer.close(deadline: .zero)
            throw error
        }
    }

    /// Hears what the collector of events acknowledges and misses.
    private func listen(_ replays: ReplayQueue) async {
        var attempt = 0
        while !Task.isCancelled {
            do {
                let reader = try await self.transport.makeReader(
                    of: ControlMessage.topic, "control", logger: self.logger)
                do {
                    while true {
                        let event = try await reader.next(maximum: 100, maximumBytes: 1 << 20)
                        guard case .records(let records) = event else { continue }
                        for record in records { try await self.take(ControlMessage(record), replays) }
                        attempt = 0
                    }
                } catch {
                    await reader.close()
                    throw error
                }
            } catch is CancellationError {
                return
            } catch {
                attempt += 1
                self.logger.debug("the control topic cannot be read", error: error)
                try? await Task.sleep(for: .milliseconds(min(10_000, 200 << min(attempt, 6))))
            }
        }
    }

    private func take(_ message: ControlMessage?, _ replays: ReplayQueue) async throws {
        switch message {
        case .acknowledged(let source, let through) where source == self.outbox.source:
            try await self.store.acknowledge(through)
        case .replayRequested(let source, let epoch, let missing) where source == self.outbox.source:
            self.logger.notice(
                "events are asked for again",
                metadata: ["epoch": "\(epoch)", "count": "\(missing.count)", "ranges": "\(missing.literal)"]
            )
            replays.add(missing, epoch: epoch)
        default: break
        }
    }

    /// Measures the backlog, and makes and drops partitions, also while the brokers are away.
    private func keepHouse() async throws {
        let clock = ContinuousClock()
        var dropped = clock.now
        let size = Meter(label: "lantern_outbox_bytes")
        while true {
            do {
                let backlog = try await self.store.backlog()
                self.pending.set(backlog.pending)
                self.oldestAge.set(backlog.oldestAge)
                try await self.store.ensurePartitions()
                if clock.now >= dropped {
                    dropped = clock.now + self.settings.retentionInterval
                    size.set(try await self.store.size())
                    let names = try await self.store.dropPartitions(olderThan: self.settings.minimumAge)
                    if !names.isEmpty {
                        self.logger.info("outbox partitions dropped", metadata: ["partitions": "\(names)"])
                    }
                }
            } catch  where !Task.isCancelled {
                // The leader's own statements say what is wrong.
                self.logger.debug("the outbox cannot be measured", error: error)
            }
            try await Task.sleep(for: .seconds(1))
        }
    }
}
