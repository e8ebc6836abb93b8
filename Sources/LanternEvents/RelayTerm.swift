import LanternPostgres
import CoreMetrics
import Foundation
import LanternKafka
import Logging

/// What a leading relay does, from when it takes over until it loses the lead or drains: seal, publish, mark, announce, and
/// send again what is asked for.
struct RelayTerm {
    private let store: OutboxStore
    private let outbox: Outbox
    private let producer: any EventProducer
    private let replays: ReplayQueue
    private let signal: OutboxSignal
    private let settings: OutboxRelay.Settings
    private let logger: Logger
    private let replayed: Counter
    private var leadership: OutboxStore.Leadership
    private var heads = HeadAnnouncements()
    private var nextReplay = ContinuousClock.now

    init(
        store: OutboxStore, outbox: Outbox, producer: any EventProducer, replays: ReplayQueue, signal: OutboxSignal,
        settings: OutboxRelay.Settings, logger: Logger, leadership: OutboxStore.Leadership
    ) {
        self.store = store
        self.outbox = outbox
        self.producer = producer
        self.replays = replays
        self.signal = signal
        self.settings = settings
        self.logger = logger
        self.leadership = leadership
        self.replayed = Counter(label: "lantern_outbox_replayed_total")
    }

    /// Ends when drained: what is committed is published and announced.
    /// - Throws: ``EventError`` with code `lostLeadership`, errors of the database, of the transport.
    mutating func run(isDraining: () -> Bool) async throws {
        while true {
            try Task.checkCancellation()
            let draining = isDraining()
            let last = try await self.store.seal(self.leadership, limit: self.settings.batchSize)
            let published = try await self.publish(through: last)
            if !draining { try await self.replay() }
            if self.heads.isDue(sequence: self.leadership.publishedThrough, now: .now)
                || (draining && self.heads.isChanged(self.leadership.publishedThrough))
            {
                await self.announce()
            }
            if published == 0, last == self.leadership.publishedThrough {
                if draining { return }
                await self.signal.here.wait(atMost: self.idleTime)
            }
        }
    }

    /// How long there is nothing to do unless somebody signals.
    private var idleTime: Duration {
        self.replays.isEmpty
            ? self.settings.pollInterval
            : max(.milliseconds(1), min(self.settings.pollInterval, ContinuousClock.now.duration(to: self.nextReplay)))
    }

    /// Sends what is sealed and not marked, batch by batch; the next batch is read while one is on its way. The watermark
    /// moves with each.
    private mutating func publish(through last: Int64) async throws -> Int {
        guard last > self.leadership.publishedThrough else { return 0 }
        var count = 0
        var batch = try await self.read(after: self.leadership.publishedThrough)
        while let end = batch.last?.event.sequence {
            // Sealing a batch gives up to so many numbers: a backlog is read ahead, fresh events are not waited for.
            let (next, sent) = try await self.send(batch, readingAfter: end < last ? end : nil)
            try await self.store.markPublished(self.leadership, through: end)
            self.leadership.publishedThrough = end
            count += sent
            batch = next
        }
        return count
    }

    private func read(after sequence: Int64?) async throws -> [(topic: String, event: EventEnvelope)] {
        guard let sequence else { return [] }
        return try await self.store.sealed(
            epoch: self.leadership.epoch, after: sequence, limit: self.settings.batchSize)
    }

    private func send(
        _ batch: [(topic: String, event: EventEnvelope)], readingAfter sequence: Int64?
    ) async throws -> (next: [(topic: String, event: EventEnvelope)], sent: Int) {
        async let next = self.read(after: sequence)
        try await self.producer.send(batch.map { CloudEvents.record($0.event, topic: $0.topic) })
        return (try await next, batch.count)
    }

    /// Sends again what was asked for, byte for byte as before, no faster than the settings say.
    private mutating func replay() async throws {
        guard ContinuousClock.now >= self.nextReplay, let oldest = self.replays.epoch else { return }
        let beyond = self.replays.clip(oldest, to: try await self.store.lastSequence(of: oldest))
        if !beyond.isEmpty { self.noteMissing(beyond, of: oldest, found: 0) }
        guard
            let (epoch, ranges) = self.replays.take(min(self.settings.batchSize, self.settings.replayRate))
        else { return }
        let events = try await self.store.sealed(epoch: epoch, in: ranges)
        if !events.isEmpty {
            try await self.producer.send(events.map { CloudEvents.record($0.event, topic: $0.topic) })
            self.replayed.increment(by: events.count)
        }
        if Int64(events.count) < ranges.count { self.noteMissing(ranges, of: epoch, found: events.count) }
        self.nextReplay = .now + .seconds(Double(max(1, ranges.count)) / Double(max(1, self.settings.replayRate)))
    }

    /// What nobody can send again: it is lost, or whoever asks is wrong.
    private func noteMissing(_ ranges: SequenceRanges, of epoch: Int64, found: Int) {
        let some = ranges.prefix(ranges: 10, count: .max)
        self.logger.error(
            "events that are asked for are not in the outbox",
            metadata: [
                "epoch": "\(epoch)", "ranges": "\(some.literal)\(some == ranges ? "" : " and more")",
                "found": "\(found)",
            ]
        )
    }

    /// Heads are for those who look for gaps: without them nothing is lost, and it is tried again in a second.
    private mutating func announce() async {
        do {
            let topic = self.outbox.topic
            // Each time, and after what the head tells of was acknowledged: of a topic that grows, events may be in a
            // partition already that one would not have counted before.
            let partitions = try await self.producer.partitionCount(of: topic)
            let head = SourceHead(
                source: self.outbox.source, epoch: self.leadership.epoch, sequence: self.leadership.publishedThrough,
                partitions: partitions, previous: self.leadership.previous
            )
            try await self.producer.send(
                (0..<partitions).map { partition in
                    try head.record(topic: topic, partition: partition, id: UUID.version7().uuidString.lowercased())
                }
            )
            self.heads.announced(sequence: self.leadership.publishedThrough, now: .now)
        } catch {
            self.heads.failed(now: .now)
            self.logger.debug("heads were not announced", error: error)
        }
    }
}
