import Foundation
import LanternKafka
import LanternPostgres
import TestSupport
import Testing

@testable import LanternEvents

/// What cannot be handled goes aside, and what is behind it goes on, or waits, by its key.
@Suite("Records that are put aside", .serialized)
struct DeadLetterTests {
    private let transport = InProcessTransport()

    private func event(_ thing: String, _ number: Int64) -> ThingHappened {
        ThingHappened(thing: thing, number: number)
    }

    /// Data that is not of its type.
    private func poison(_ thing: String, _ number: Int64) -> KafkaRecord {
        self.event(thing, number).record(data: "no JSON")
    }

    @Test("a record that cannot be read goes aside whole, and the rest goes on", .timeLimit(.minutes(1)))
    func poison() async throws {
        let consumer = try await TestConsumer.make()
        var poison = self.poison("b", 1)
        poison.headers += [
            KafkaHeader("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            KafkaHeader("bytes", [0x00, 0xFF]), KafkaHeader("null", nil as [UInt8]?), KafkaHeader("bytes", "again"),
        ]
        let others = ThingHappened.some(20, things: ["a", "c", "d"])
        try await consumer.consuming(from: self.transport, with: consumer.inbox()) {
            try await self.transport.produce(
                others[..<10].map { $0.record() } + [poison] + others[10...].map { $0.record() })
            try await consumer.handleAll(of: self.transport)
        }
        try await consumer.expectEffects(of: others)

        let letters = try await consumer.letters()
        #expect(letters.count == 1)
        let letter = try #require(letters.first)
        #expect(letter.state == .new && letter.reason == "undecodable" && letter.consumer == TestConsumer.group)
        #expect(!letter.error.isEmpty && !letter.error.contains("no JSON"))
        #expect(letter.replays == 0 && letter.settledAt == nil && letter.settledBy == nil && letter.note == nil)
        #expect(letter.source == ThingHappened.source && letter.eventID == "b-1")
        #expect(letter.epoch == 1 && letter.sequence == 1)
        let stored = try #require(
            self.transport.records(of: ThingHappened.topic).first { $0.header("ce_id") == "b-1" })
        #expect(PublishedEvents.Content(letter.record) == PublishedEvents.Content(stored))
        #expect(letter.record.offset == stored.offset)
    }

    @Test("records behind a dead letter of their key are parked, those of other keys go on", .timeLimit(.minutes(1)))
    func parking() async throws {
        let consumer = try await TestConsumer.make()
        try await consumer.consuming(from: self.transport, with: consumer.inbox()) {
            try await self.transport.produce([
                self.event("a", 1).record(), self.poison("a", 2), self.event("b", 1).record(),
                self.event("a", 3).record(), self.event("b", 2).record(), self.event("a", 4).record(),
            ])
            try await consumer.handleAll(of: self.transport, round: 1)
            // In another batch as well.
            try await self.transport.produce([self.event("a", 5).record(), self.event("b", 3).record()])
            try await consumer.handleAll(of: self.transport, round: 2)
        }
        try await consumer.expectEffects(
            of: [self.event("a", 1), self.event("b", 1), self.event("b", 2), self.event("b", 3)])
        let letters = try await consumer.letters()
        #expect(letters.map(\.eventID) == ["a-2", "a-3", "a-4", "a-5"])
        #expect(letters.map(\.state) == [.new, .parked, .parked, .parked])
        #expect(letters.map(\.reason) == ["undecodable", "parked", "parked", "parked"])
    }

    @Test("a member that comes later parks them as well: what waits is in the database", .timeLimit(.minutes(1)))
    func parkingAfterRestart() async throws {
        let consumer = try await TestConsumer.make()
        try await consumer.consuming(from: self.transport, with: consumer.inbox()) {
            try await self.transport.produce([self.poison("a", 1)])
            try await consumer.handleAll(of: self.transport, round: 1)
        }
        try await consumer.consuming(from: self.transport, with: consumer.inbox()) {
            try await self.transport.produce([self.event("a", 2).record(), self.event("b", 1).record()])
            try await consumer.handleAll(of: self.transport, round: 2)
        }
        try await consumer.expectEffects(of: [self.event("b", 1)])
        #expect(try await consumer.letters().map(\.state) == [.new, .parked])
    }

    @Test("a consumer that keeps no order parks nothing", .timeLimit(.minutes(1)))
    func withoutOrder() async throws {
        let consumer = try await TestConsumer.make()
        try await consumer.consuming(from: self.transport, with: consumer.inbox(keepsOrder: false)) {
            try await self.transport.produce([
                self.event("a", 1).record(), self.poison("a", 2), self.event("a", 3).record(),
            ])
            try await consumer.handleAll(of: self.transport)
        }
        try await consumer.expectEffects(of: [self.event("a", 1), self.event("a", 3)])
        #expect(try await consumer.letters().map(\.eventID) == ["a-2"])
    }

    @Test("what one consumer has put aside keeps no other one waiting", .timeLimit(.minutes(1)))
    func otherConsumer() async throws {
        let consumer = try await TestConsumer.make()
        let other = Inbox<ThingHappened>(consumer: "other", topic: ThingHappened.topic) { event, tx in
            try await consumer.note(event.thing, event.number, in: tx)
        }
        try await consumer.consuming(from: self.transport, with: consumer.inbox()) {
            try await self.transport.produce([self.poison("a", 1)])
            try await consumer.handleAll(of: self.transport)
        }
        try await consumer.client.transaction { tx in
            try await other.handle([ThingHappened(thing: "a", number: 2).record()], in: tx)
        }
        try await consumer.expectEffects(of: [self.event("a", 2)])
        #expect(try await consumer.letters().count == 1)
    }

    @Test("records without a key wait for nobody", .timeLimit(.minutes(1)))
    func withoutKey() async throws {
        let consumer = try await TestConsumer.make()
        func keyless(_ record: KafkaRecord) -> KafkaRecord {
            var record = record
            record.key = nil
            record.partition = 0
            return record
        }
        try await consumer.consuming(from: self.transport, with: consumer.inbox()) {
            try await self.transport.produce([
                keyless(self.poison("a", 1)), keyless(self.event("a", 2).record()),
            ])
            try await consumer.handleAll(of: self.transport)
        }
        try await consumer.expectEffects(of: [self.event("a", 2)])
    }

    @Test(
        "whatever is wrong with a record, it goes aside with its reason, and an event of another type does not",
        .timeLimit(.minutes(1)))
    func reasons() async throws {
        let consumer = try await TestConsumer.make()
        func changed(_ number: Int64, _ name: String, _ value: String?) -> KafkaRecord {
            var record = ThingHappened(thing: "thing \(number)", number: number).record()
            record.headers.removeAll { $0.name == name }
            if let value { record.headers.append(KafkaHeader(name, value)) }
            return record
        }
        struct Refusal: Error {}
        let inbox = consumer.inbox { event, tx in
            if event.number == 7 { throw Refusal() }
            if event.number == 8 { try await tx.query("INSERT INTO effect (thing, number) VALUES (NULL, 8)") }
            if event.number == 9 { throw EventError(code: .idConflict, message: "told so") }
        }
        try await consumer.consuming(from: self.transport, with: inbox) {
            try await self.transport.produce([
                changed(1, "ce_specversion", nil), changed(2, "ce_specversion", "0.3"),
                changed(3, "ce_time", "yesterday"), changed(4, "ce_source", "/services/other"),
                changed(5, "ce_type", "test.thing.happened.v2"), changed(6, "ce_type", "test.thing.unheard.v1"),
                changed(7, "", nil), changed(8, "", nil), changed(9, "", nil), changed(10, "", nil),
            ])
            try await consumer.handleAll(of: self.transport)
        }
        try await consumer.expectEffects(of: [ThingHappened(thing: "thing 10", number: 10)])
        let reasons = Dictionary(
            uniqueKeysWithValues: try await consumer.letters().map { ($0.eventID ?? "", $0.reason) })
        #expect(
            reasons == [
                "thing 1-1": "not_a_cloudevent", "thing 2-2": "unsupported_version", "thing 3-3": "invalid_attribute",
                "thing 4-4": "source_mismatch", "thing 5-5": "newer_version", "thing 7-7": "handler_failed",
                "thing 8-8": "store_refused", "thing 9-9": "id_conflict",
            ])
    }

    @Test("the list is given from the newest on, page by page, and filtered")
    func list() async throws {
        let consumer = try await TestConsumer.make()
        let letters = DeadLetters(consumer: TestConsumer.group)
        for number in 1...7 {
            try await consumer.client.transaction { tx in
                try await letters.add(
                    ThingHappened(thing: "a", number: Int64(number)).record(),
                    EventError(code: number == 3 ? .undecodable : .parked, message: "told so"), in: tx)
            }
        }
        let store = DeadLetterStore(database: consumer.client)
        var ids: [String] = []
        var before: UUID?
        repeat {
            let page = try await store.list(DeadLetterFilter(), before: before, limit: 3)
            ids += page.compactMap(\.eventID)
            before = page.count == 3 ? page.last?.id : nil
        } while before != nil
        #expect(ids == (1...7).reversed().map { "a-\($0)" })

        func found(_ filter: DeadLetterFilter) async throws -> Int {
            try await store.list(filter, before: nil, limit: 100).count
        }
        #expect(try await found(DeadLetterFilter(state: .new)) == 1)
        #expect(try await found(DeadLetterFilter(state: .parked)) == 6)
        #expect(try await found(DeadLetterFilter(state: .parked, reason: "undecodable")) == 0)
        #expect(try await found(DeadLetterFilter(reason: "undecodable")) == 1)
        #expect(try await found(DeadLetterFilter(consumer: TestConsumer.group, topic: ThingHappened.topic)) == 7)
        #expect(try await found(DeadLetterFilter(consumer: "other")) == 0)
        #expect(try await found(DeadLetterFilter(topic: "other")) == 0)
        #expect(try await store.find(UUID())?.id == nil)
    }
}
