import Foundation
import LanternKafka
import LanternPostgres
import TestSupport
import Testing

@testable import LanternEvents

/// What a source does when the collector of events acknowledges, and when it asks for events again.
@Suite("A relay listens to the control topic", .serialized)
struct RelayReplayTests {
    /// One partition: so what is sent later on the control topic is also heard later.
    private let transport = InProcessTransport(partitions: 1)

    private func tell(_ messages: ControlMessage...) async throws {
        try await self.transport.produce(try messages.map { try $0.record() })
    }

    private func request(
        _ sequences: [Int64], source: String = ThingHappened.source, epoch: Int64 = 1
    ) -> ControlMessage {
        .replayRequested(source: source, epoch: epoch, missing: SequenceRanges(sequences))
    }

    private var sequences: [Int64] { PublishedEvents(self.transport).sequences }

    /// Runs a relay that has published so many events and listens, while `body` runs.
    private func relaying(
        _ outbox: TestOutbox, published count: Int64, on faulty: FaultyTransport? = nil, replayRate: Int = 2_000,
        _ body: () async throws -> Void
    ) async throws {
        let transport = faulty ?? FaultyTransport(self.transport)
        try await outbox.relaying(on: transport, replayRate: replayRate) {
            try await wait(for: "\(count) events") { try await outbox.publishedThrough() == count }
            try await wait(for: "the relay to listen") { transport.made.readers == 1 }
            try await body()
        }
    }

    @Test(
        "exactly what is asked for is sent again, byte for byte as it was sent at first", .timeLimit(.minutes(1)))
    func replay() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(10))
        try await self.relaying(outbox, published: 10) {
            let first = PublishedEvents(self.transport).records
            #expect(first.compactMap { PublishedEvents.sequence($0) } == (1...10).map { Int64($0) })
            try await self.tell(self.request([3, 4, 7]))
            try await wait(for: "three events again") { self.sequences.count == 13 }
            // Had more been on its way, it would be there before this one.
            try await outbox.append([ThingHappened(thing: "after", number: 1)])
            try await wait(for: "the event after them") { self.sequences.last == 11 }

            let all = PublishedEvents(self.transport).records
            #expect(all.count == 14)
            let again = all[10..<13].map { PublishedEvents.Content($0) }
            #expect(again == [2, 3, 6].map { PublishedEvents.Content(first[$0]) })
            PublishedEvents(self.transport).expectComplete(11)
        }
        #expect(try await outbox.publishedThrough() == 11, "the watermark does not know of it")
    }

    @Test(
        "what the outbox does not have any more is left out, and the relay goes on", .timeLimit(.minutes(1)))
    func gone() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(5))
        try await self.relaying(outbox, published: 5) {
            try await outbox.client.query("DELETE FROM outbox WHERE sequence IN (2, 3)")
            try await self.tell(
                // Of an epoch that was never, and of one that will be.
                self.request([1, 2], epoch: 7), self.request([2, 3]), self.request([100, 101]),
                self.request([1, 2, 3, 4])
            )
            try await wait(for: "what is left") { self.sequences.count == 7 }
            #expect(self.sequences.suffix(2) == [1, 4])
            try await outbox.append([ThingHappened(thing: "after", number: 1)])
            try await wait(for: "the event after them") { self.sequences.last == 6 }
            #expect(self.sequences.count == 8)
        }
    }

    @Test("what other sources are asked for, and what is no request, is none of its business", .timeLimit(.minutes(1)))
    func otherSources() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(5))
        try await self.relaying(outbox, published: 5) {
            let hostile = KafkaRecord(
                topic: ControlMessage.topic,
                value: Array(#"{"source":"/services/test","epoch":1,"ranges":[[-3,9]]}"#.utf8),
                headers: [
                    KafkaHeader("ce_source", ControlMessage.sender),
                    KafkaHeader("ce_type", "lantern.replay.requested.v1"),
                ]
            )
            try await self.transport.produce([hostile, KafkaRecord(topic: ControlMessage.topic, value: nil)])
            try await self.tell(
                self.request([1, 2], source: "/services/other"), self.request([1], source: "/services/tes"),
                self.request([1], source: "/services/test/"), self.request([5])
            )
            try await wait(for: "the one that is asked of this source") { self.sequences.count >= 6 }
            #expect(self.sequences == [1, 2, 3, 4, 5, 5])
        }
    }

    @Test("replays take no more than their share, and keep nothing new back", .timeLimit(.minutes(1)))
    func rate() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(15))
        let sent = SendTimes()
        let faulty = FaultyTransport(self.transport) { records, send in
            sent.note(records)
            return try await send(records)
        }
        // Two events a second: all of them would take seven seconds and more.
        try await self.relaying(outbox, published: 15, on: faulty, replayRate: 2) {
            try await self.tell(self.request((1...15).map { Int64($0) }))
            try await wait(for: "the first of them") { self.sequences.count > 15 }
            try await outbox.append([ThingHappened(thing: "new", number: 1)])
            try await wait(for: "the new event") { try await outbox.publishedThrough() == 16 }
            #expect(self.sequences.count < 31, "it waited for all the old ones")
            try await wait(for: "three times two of them") { self.sequences.count >= 22 }
        }
        // Behind the three batches of the beginning.
        let replays = Array(sent.all.dropFirst(3).filter { $0.sequences != [16] }.prefix(3))
        #expect(replays.map(\.sequences) == [[1, 2], [3, 4], [5, 6]])
        for (before, after) in zip(replays, replays.dropFirst()) {
            #expect(after.at - before.at >= .seconds(1), "two took a second")
        }
    }

    @Test("a number that is asked for again while it waits is sent once")
    func askedTwice() {
        let queue = ReplayQueue(wake: WakeSignal())
        #expect(queue.isEmpty)
        queue.add(SequenceRanges([1, 2, 3]), epoch: 2)
        queue.add(SequenceRanges([2, 3, 4]), epoch: 2)
        queue.add(SequenceRanges([9]), epoch: 1)
        // The oldest epoch first.
        let taken = (1...4).map { _ in queue.take(3) }
        #expect(taken.map { $0?.epoch } == [1, 2, 2, nil])
        #expect(
            taken.map { $0?.ranges } == [SequenceRanges([9]), SequenceRanges([1, 2, 3]), SequenceRanges([4]), nil])
        #expect(queue.isEmpty)
    }

    // MARK: - Acknowledgements

    @Test("acknowledgements are kept, for each epoch, and never go back", .timeLimit(.minutes(1)))
    func acknowledgements() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(5))
        try await self.relaying(outbox, published: 5) {
            try await self.tell(
                .acknowledged(source: ThingHappened.source, through: [.init(epoch: 1, sequence: 4)]),
                .acknowledged(source: ThingHappened.source, through: [.init(epoch: 1, sequence: 2)]),
                .acknowledged(
                    source: ThingHappened.source, through: [.init(epoch: 1, sequence: 3), .init(epoch: 2, sequence: 0)]),
                .acknowledged(source: "/services/other", through: [.init(epoch: 1, sequence: 5)]),
                self.request([5])
            )
            // Heard after all the others.
            try await wait(for: "the request") { self.sequences.count == 6 }
            #expect(try await outbox.acknowledged() == 4)
            #expect(try await outbox.acknowledged(epoch: 2) == 0)
            try await self.tell(.acknowledged(source: ThingHappened.source, through: [.init(epoch: 1, sequence: 5)]))
            try await wait(for: "the next one") { try await outbox.acknowledged() == 5 }
        }
        let rows = try await outbox.client.query("SELECT DISTINCT source FROM outbox_acknowledged")
        #expect(try rows.map { try $0("source", as: String.self) } == [ThingHappened.source])
    }

    // MARK: - Epochs

    @Test("a new epoch begins where it is told to, and only there")
    func takeOver() async throws {
        let outbox = try await TestOutbox.make()
        let first = try await outbox.store.takeOver()
        #expect(first.epoch == 1 && first.previous == nil)
        try await outbox.append(ThingHappened.some(3))
        #expect(try await outbox.store.seal(first, limit: 10) == 3)
        try await outbox.store.markPublished(first, through: 2)
        let same = try await outbox.store.takeOver()
        #expect(same.epoch == 1 && same.publishedThrough == 2 && same.previous == nil)
        let new = try await outbox.store.takeOver(newEpoch: true)
        #expect(new.epoch == 2 && new.publishedThrough == 0 && new.term == same.term + 1)
        #expect(new.previous == ControlMessage.EpochSequence(epoch: 1, sequence: 2))
        let lost = await #expect(throws: EventError.self) { _ = try await outbox.store.seal(same, limit: 10) }
        #expect(lost?.code == .lostLeadership)
        // What was numbered and not published has the first number of the new one.
        #expect(try await outbox.store.seal(new, limit: 10) == 1)
        #expect(try await outbox.store.sealed(epoch: 1, after: 0, limit: 10).map(\.event.sequence) == [1, 2])
        #expect(try await outbox.store.sealed(epoch: 2, after: 0, limit: 10).map(\.event.sequence) == [1])
    }

    @Test("heads of a new epoch say where the one before it ended", .timeLimit(.minutes(1)))
    func heads() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(3))
        try await outbox.relaying(on: self.transport) {
            try await wait(for: "a head of the first epoch") { self.transport.heads().last?.sequence == 3 }
        }
        #expect(self.transport.heads().allSatisfy { $0.epoch == 1 && $0.previous == nil })
        try await outbox.store.takeOver(newEpoch: true)
        try await outbox.append(ThingHappened.some(2, things: ["later"]))
        try await outbox.relaying(on: self.transport) {
            try await wait(for: "a head of the second epoch") {
                self.transport.heads().last.map { $0.epoch == 2 && $0.sequence == 2 } == true
            }
        }
        let second = self.transport.heads().filter { $0.epoch == 2 }
        let end = ControlMessage.EpochSequence(epoch: 1, sequence: 3)
        #expect(second.allSatisfy { $0.previous == end && $0.source == ThingHappened.source })
        #expect(self.transport.heads().allSatisfy { $0.partitions == 1 })
    }

    @Test("what is asked for of an older epoch is sent under its old number", .timeLimit(.minutes(1)))
    func olderEpoch() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(3))
        try await outbox.relaying(on: self.transport) {
            try await wait(for: "three events") { try await outbox.publishedThrough() == 3 }
        }
        let first = PublishedEvents(self.transport).records.map { PublishedEvents.Content($0) }
        try await outbox.store.takeOver(newEpoch: true)
        try await outbox.append([ThingHappened(thing: "later", number: 1)])
        try await self.relaying(outbox, published: 1) {
            try await self.tell(self.request([2]))
            try await wait(for: "the second event again") { self.sequences.count == 5 }
            #expect(PublishedEvents(self.transport).records.last.map { PublishedEvents.Content($0) } == first[1])
        }
    }
}

/// When events were sent.
private final class SendTimes: Sendable {
    struct Call: Sendable {
        var at: ContinuousClock.Instant
        var sequences: [Int64]
    }

    private let calls = NoteBook<Call>()
    var all: [Call] { self.calls.all }

    func note(_ records: [KafkaRecord]) {
        let sequences = records.filter(\.isEvent).compactMap { PublishedEvents.sequence($0) }
        if !sequences.isEmpty { self.calls.note(Call(at: .now, sequences: sequences)) }
    }
}
