import Foundation
import LanternKafka
import LanternPostgres
import Synchronization
import TestSupport
import Testing

@testable import LanternEvents

/// The topic of dead letters: a copy of every row, for tools that watch topics.
@Suite("Dead letters on their topic", .serialized)
struct DeadLetterPublisherTests {
    private static let topic = "test.dead-letters.v1"
    private let transport = InProcessTransport()

    private var published: [KafkaRecord] { self.transport.records(of: Self.topic) }

    private func publishing(
        _ consumer: TestConsumer, on transport: any EventTransport, _ body: () async throws -> Void
    ) async throws {
        let publisher = DeadLetterPublisher(
            service: "test", database: consumer.client, direct: consumer.client, transport: transport,
            logger: .ofTests
        )
        let running = Task { try await publisher.run() }
        let result: Result<Void, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        running.cancel()
        _ = await running.result
        try result.get()
    }

    /// Puts aside records as they stand in a partition.
    private func putAside(_ records: [KafkaRecord], _ error: EventError, _ consumer: TestConsumer) async throws {
        for record in records {
            try await consumer.client.transaction { tx in
                try await DeadLetters(consumer: TestConsumer.group).add(record, error, in: tx)
            }
        }
    }

    private func records(_ numbers: ClosedRange<Int64>) -> [KafkaRecord] {
        numbers.map { number in
            var record = ThingHappened(thing: "a", number: number).record(partition: 1)
            record.offset = 100 + number
            return record
        }
    }

    private func ids(_ records: [KafkaRecord]) -> [String] {
        records.compactMap { $0.header("lantern_dead_letter_id") }
    }

    @Test("every letter is there, with what it was and what is known of it", .timeLimit(.minutes(1)))
    func whole() async throws {
        let consumer = try await TestConsumer.make()
        var strange = KafkaRecord(
            topic: "foreign.events.v1", partition: 2, key: nil, value: nil,
            headers: [
                KafkaHeader("n", "1"), KafkaHeader("n", [0xFF]), KafkaHeader("empty", []),
                KafkaHeader("null", nil as [UInt8]?),
            ], offset: 7
        )
        let plain = self.records(1...1)[0]
        try await self.putAside([plain], EventError(code: .undecodable, message: "not its shape"), consumer)
        try await self.putAside([strange], EventError(code: .notACloudEvent, message: "no é event"), consumer)
        strange.key = [0x00, 0xFF]
        strange.value = [0xFE]
        try await self.putAside([strange], EventError(code: .parked, message: ""), consumer)
        try await self.publishing(consumer, on: self.transport) {
            try await wait(for: "three letters") { self.published.count == 3 }
        }
        for letter in try await consumer.letters() {
            let id = letter.id.uuidString.lowercased()
            let record = try #require(self.published.first { $0.header("lantern_dead_letter_id") == id })
            #expect(record.key == letter.record.key)
            #expect(record.value == letter.record.value)
            let count = letter.record.headers.count
            #expect(Array(record.headers.prefix(count)) == letter.record.headers, "the headers as they were")
            #expect(
                Array(record.headers.dropFirst(count)) == [
                    KafkaHeader("lantern_dead_letter_id", id),
                    KafkaHeader("lantern_dead_letter_reason", letter.reason),
                    KafkaHeader("lantern_dead_letter_error", letter.error),
                    KafkaHeader("lantern_dead_letter_consumer", TestConsumer.group),
                    KafkaHeader("lantern_dead_letter_time", letter.recordedAt.description),
                    KafkaHeader("lantern_dead_letter_topic", letter.record.topic),
                    KafkaHeader("lantern_dead_letter_partition", "\(letter.record.partition ?? -1)"),
                    KafkaHeader("lantern_dead_letter_offset", "\(letter.record.offset ?? -1)"),
                ])
        }
        #expect(
            Set(self.published.map { $0.header("lantern_dead_letter_reason") })
                == ["undecodable", "not_a_cloudevent", "parked"])
        let foreign = self.published.filter { $0.header("lantern_dead_letter_topic") == "foreign.events.v1" }
        #expect(foreign.map { $0.header("lantern_dead_letter_partition") } == ["2", "2"])
        #expect(foreign.map { $0.header("lantern_dead_letter_offset") } == ["7", "7"])
    }

    @Test("more than a batch of them come, in order for each key", .timeLimit(.minutes(1)))
    func many() async throws {
        let consumer = try await TestConsumer.make()
        try await self.putAside(self.records(1...250), EventError(code: .parked, message: "waits"), consumer)
        try await self.publishing(consumer, on: self.transport) {
            try await wait(for: "all letters") { self.published.count >= 250 }
        }
        #expect(self.published.compactMap { PublishedEvents.sequence($0) } == (1...250).map { Int64($0) })
    }

    @Test("a publisher that begins anew sends what is new, and nothing twice", .timeLimit(.minutes(1)))
    func restart() async throws {
        let consumer = try await TestConsumer.make()
        let error = EventError(code: .undecodable, message: "not its shape")
        try await self.putAside(self.records(1...3), error, consumer)
        try await self.publishing(consumer, on: self.transport) {
            try await wait(for: "three letters") { try await self.unpublished(consumer) == 0 }
        }
        try await self.putAside(self.records(4...5), error, consumer)
        try await self.publishing(consumer, on: self.transport) {
            try await wait(for: "two more") { try await self.unpublished(consumer) == 0 }
        }
        #expect(self.published.count == 5)
        #expect(Set(self.ids(self.published)).count == 5)
    }

    @Test("one that died before it noted what it had sent sends it again, under the same id", .timeLimit(.minutes(1)))
    func sentAndNotNoted() async throws {
        let consumer = try await TestConsumer.make()
        try await self.putAside(self.records(1...3), EventError(code: .undecodable, message: "no"), consumer)
        let hung = NoteBook<Int>()
        let dying = FaultyTransport(self.transport) { records, send in
            _ = try await send(records)
            hung.note(records.count)
            try await Task.sleep(for: .seconds(3_600))
            return []
        }
        try await self.publishing(consumer, on: dying) {
            try await wait(for: "the first publisher to have sent") { hung.all == [3] }
        }
        #expect(try await self.unpublished(consumer) == 3)
        try await self.publishing(consumer, on: self.transport) {
            try await wait(for: "the second one") { try await self.unpublished(consumer) == 0 }
        }
        let ids = self.ids(self.published)
        #expect(ids.count == 6)
        #expect(Array(ids[..<3]) == Array(ids[3...]))
    }

    @Test(
        "a letter that is too large for its topic goes without its value, and keeps no other one back",
        .timeLimit(.minutes(1)))
    func tooLarge() async throws {
        let consumer = try await TestConsumer.make()
        var records = self.records(1...3)
        records[1].value = Array(repeating: 0x20, count: 10_000)
        try await self.putAside(records, EventError(code: .undecodable, message: "no"), consumer)
        let small = FaultyTransport(self.transport) { records, send in
            if records.contains(where: { ($0.value?.count ?? 0) > 5_000 }) {
                throw KafkaError(code: .tooLarge, message: "as a broker would say")
            }
            return try await send(records)
        }
        try await self.publishing(consumer, on: small) {
            try await wait(for: "all letters") { try await self.unpublished(consumer) == 0 }
        }
        #expect(self.published.compactMap { PublishedEvents.sequence($0) } == [1, 2, 3])
        #expect(self.published.map { $0.value == nil } == [false, true, false])
        #expect(try await consumer.letters()[1].record.value?.count == 10_000, "the row has it")
    }

    @Test("a transport that fails for a while costs no letter", .timeLimit(.minutes(1)))
    func failing() async throws {
        let consumer = try await TestConsumer.make()
        try await self.putAside(self.records(1...2), EventError(code: .undecodable, message: "no"), consumer)
        let failures = NoteBook<Int>()
        let faulty = FaultyTransport(self.transport) { records, send in
            guard failures.all.count >= 2 else {
                failures.note(records.count)
                throw KafkaError(code: .retriable, message: "told to fail")
            }
            return try await send(records)
        }
        try await self.publishing(consumer, on: faulty) {
            try await wait(for: "both letters") { try await self.unpublished(consumer) == 0 }
            #expect(faulty.made.producers == 3 && faulty.made.closedProducers == 2)
        }
        #expect(self.published.count == 2)
    }

    @Test("a service without dead letters makes no producer for them", .timeLimit(.minutes(1)))
    func none() async throws {
        let consumer = try await TestConsumer.make()
        let counting = FaultyTransport(self.transport)
        try await self.publishing(consumer, on: counting) {
            try await wait(for: "the leader") {
                try await consumer.client.query(
                    """
                    SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    """
                ).count == 1
            }
            #expect(counting.made.producers == 0)
            try await self.putAside(self.records(1...1), EventError(code: .undecodable, message: "no"), consumer)
            try await wait(for: "the first letter") { self.published.count == 1 }
            #expect(counting.made.producers == 1)
        }
    }

    private func unpublished(_ consumer: TestConsumer) async throws -> Int {
        let rows = try await consumer.client.query(
            "SELECT count(*) AS waiting FROM dead_letter WHERE published_at IS NULL")
        return try rows.first?("waiting", as: Int.self) ?? -1
    }
}
