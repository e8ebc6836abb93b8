import Foundation
import LanternKafka
import LanternPostgres
import TestSupport
import Testing

@testable import LanternEvents

/// A database that answers, and refuses: a table that is not there, a standby that was promoted too late. Whatever the
/// error, what was not handled and not put aside is still to be done.
@Suite("A consumer whose database refuses it for a while", .serialized)
struct ConsumerOutageTests {
    private let transport = InProcessTransport(partitions: 1)

    private static let before = ThingHappened(thing: "before", number: 1)
    private static let poison = ThingHappened(thing: "poison", number: 1)
    private static let after = ThingHappened(thing: "after", number: 1)
    private static let later = ThingHappened(thing: "later", number: 1)

    /// Refuses the poison, at once. Without order, so that it asks nothing of the dead letters.
    private func inbox(_ consumer: TestConsumer) -> Inbox<ThingHappened> {
        consumer.inbox(keepsOrder: false) { event, _ in
            if event == Self.poison { throw EventError(code: .undecodable, message: "poison") }
        }
    }

    private func produce(_ events: ThingHappened...) async throws {
        try await self.transport.produce(events.map { $0.record() })
    }

    /// Gives a consumer that would skip something the time to do so. One that waits for its database does not do it, ever.
    private func waitForSkipping(_ consumer: TestConsumer) async throws {
        _ = try await eventually(within: .seconds(3)) { () -> Bool? in
            try await consumer.effects().contains(Self.later) ? true : nil
        }
    }

    @Test(
        "a record that cannot be put aside now is put aside later, and nothing behind it is skipped",
        .timeLimit(.minutes(1)))
    func lettersAway() async throws {
        let consumer = try await TestConsumer.make()
        try await consumer.client.query("ALTER TABLE dead_letter RENAME TO dead_letter_away")
        try await consumer.consuming(from: self.transport, with: self.inbox(consumer)) {
            try await self.produce(Self.before, Self.poison, Self.after)
            try await wait(for: "the record before it") { try await consumer.effects().contains(Self.before) }
            try await self.produce(Self.later)
            try await self.waitForSkipping(consumer)
            try await consumer.client.query("ALTER TABLE dead_letter_away RENAME TO dead_letter")
            try await wait(for: "the last record") { try await consumer.effects().contains(Self.later) }
            try await consumer.handleAll(of: self.transport)
        }
        #expect(try await consumer.effects() == [Self.before, Self.after, Self.later])
        #expect(try await consumer.letters().map(\.eventID) == ["poison-1"])
    }

    @Test("a record whose putting aside did not commit is put aside all the same", .timeLimit(.minutes(1)))
    func putAsideInDoubt() async throws {
        let consumer = try await TestConsumer.make()
        for statement in [
            "CREATE SEQUENCE death",
            """
            CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF nextval('death') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
              RETURN NULL;
            END $$
            """,
            """
            CREATE CONSTRAINT TRIGGER die AFTER INSERT ON dead_letter DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION die()
            """,
        ] { try await consumer.client.query(SQL(unchecked: statement)) }
        try await consumer.consuming(from: self.transport, with: self.inbox(consumer)) {
            try await self.produce(Self.before, Self.poison, Self.after)
            try await wait(for: "the record before it") { try await consumer.effects().contains(Self.before) }
            try await self.produce(Self.later)
            try await wait(for: "the last record") { try await consumer.effects().contains(Self.later) }
            try await consumer.handleAll(of: self.transport)
        }
        #expect(try await consumer.effects() == [Self.before, Self.after, Self.later])
        #expect(try await consumer.letters().map(\.eventID) == ["poison-1"])
    }

    @Test(
        "a table that the handler needs and does not find is waited for, or its records are put aside: none is skipped",
        .timeLimit(.minutes(1)))
    func effectsAway() async throws {
        let consumer = try await TestConsumer.make()
        let events = ThingHappened.some(4)
        try await consumer.client.query("ALTER TABLE effect RENAME TO effect_away")
        try await consumer.client.query("ALTER TABLE dead_letter RENAME TO dead_letter_away")
        let attempts = NoteBook<Int>()
        let handler = Refused(inbox: consumer.inbox(keepsOrder: false), attempts: attempts)
        try await consumer.consuming(from: self.transport, with: handler) {
            try await self.transport.produce(events.map { $0.record() })
            // The batch, and then the first of it five times.
            try await wait(for: "the first record to have failed") { attempts.all.count >= 6 }
            _ = try await eventually(within: .seconds(2)) { () -> Bool? in attempts.all.count > 6 ? true : nil }
            try await consumer.client.query("ALTER TABLE dead_letter_away RENAME TO dead_letter")
            try await consumer.client.query("ALTER TABLE effect_away RENAME TO effect")
            try await consumer.handleAll(of: self.transport)
        }
        let settled = Set(try await consumer.effects().map { "\($0.thing)-\($0.number)" })
            .union(try await consumer.letters().compactMap(\.eventID))
        #expect(settled == Set(events.map { "\($0.thing)-\($0.number)" }))
        #expect(try await consumer.effects().count + consumer.letters().count == events.count, "each once")
    }

    /// Counts how often it is asked.
    private struct Refused: RecordHandler {
        let inbox: Inbox<ThingHappened>
        let attempts: NoteBook<Int>

        func handle(_ records: [KafkaRecord], in tx: PostgresTransaction) async throws {
            self.attempts.note(records.count)
            try await self.inbox.handle(records, in: tx)
        }
    }

    @Test(
        "partitions whose offsets could not be read when they came are read as soon as they can be",
        .timeLimit(.minutes(1)))
    func offsetsAway() async throws {
        let consumer = try await TestConsumer.make()
        try await consumer.client.query("ALTER TABLE consumer_offset RENAME TO consumer_offset_away")
        let asked = NoteBook<Bool>()
        var counting = FaultyTransport(self.transport)
        counting.onRead = { CountingReader(base: $0, asked: asked) }
        try await self.produce(Self.before)
        try await consumer.consuming(from: counting, with: self.inbox(consumer)) {
            // One that goes on without its partitions asks again; one that waits does not.
            _ = try await eventually(within: .seconds(3)) { () -> Bool? in asked.all.count > 1 ? true : nil }
            try await consumer.client.query("ALTER TABLE consumer_offset_away RENAME TO consumer_offset")
            try await wait(for: "the record") { try await consumer.effects() == [Self.before] }
        }
    }

    /// Counts how often it is asked.
    private struct CountingReader: EventReader {
        let base: any EventReader
        let asked: NoteBook<Bool>

        func next(maximum: Int, maximumBytes: Int) async throws -> KafkaConsumer.Event {
            self.asked.note(true)
            return try await self.base.next(maximum: maximum, maximumBytes: maximumBytes)
        }

        func assign(_ positions: [KafkaPosition]) throws { try self.base.assign(positions) }
        func seek(_ positions: [KafkaPosition]) throws { try self.base.seek(positions) }
        func commit(_ offsets: [KafkaPartition: Int64]) { self.base.commit(offsets) }
        func close() async { await self.base.close() }
    }

    @Test("a topic that was made anew meanwhile is read from its start all the same", .timeLimit(.minutes(1)))
    func madeAnew() async throws {
        let consumer = try await TestConsumer.make()
        try await consumer.consuming(from: self.transport, with: self.inbox(consumer)) {
            try await self.transport.produce(ThingHappened.some(10, things: ["old"]).map { $0.record() })
            try await consumer.handleAll(of: self.transport)
        }
        // Longer than the one before, and its first record cannot be settled for now.
        let second = InProcessTransport(partitions: 1)
        let events = ThingHappened.some(30, things: ["new"])
        try await second.produce([Self.poison.record()] + events.map { $0.record() })
        try await consumer.client.query("ALTER TABLE dead_letter RENAME TO dead_letter_away")
        try await consumer.consuming(from: second, with: self.inbox(consumer)) {
            // One that goes on where it was in the old topic comes to the end of the new one soon.
            _ = try await eventually(within: .seconds(3)) { () -> Bool? in
                try await consumer.effects().last == events.last ? true : nil
            }
            try await consumer.client.query("ALTER TABLE dead_letter_away RENAME TO dead_letter")
            try await consumer.handleAll(of: second, round: 2)
        }
        #expect(try await consumer.effects().filter { $0.thing == "new" } == events)
        #expect(try await consumer.letters().map(\.eventID) == ["poison-1"])
    }

    @Test("a handler in which something was cancelled does not end the consumer", .timeLimit(.minutes(1)))
    func cancelledInside() async throws {
        let consumer = try await TestConsumer.make()
        let cancelled = NoteBook<ThingHappened>()
        let inbox = consumer.inbox { event, _ in
            if event == Self.before, cancelled.all.isEmpty {
                cancelled.note(event)
                // As a call that was given up after its time.
                throw CancellationError()
            }
        }
        try await consumer.consuming(from: self.transport, with: inbox) {
            try await self.produce(Self.before, Self.after)
            try await consumer.handleAll(of: self.transport)
        }
        #expect(cancelled.all == [Self.before])
        try await consumer.expectEffects(of: [Self.before, Self.after])
    }
}
