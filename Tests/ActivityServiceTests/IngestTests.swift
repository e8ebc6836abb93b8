@testable import ActivityService
import Foundation
import Lantern
import TestSupport
import Testing

/// Batches as the consumer hands them over, large enough to go by COPY.
@Suite("Batches of events into the timeline")
struct IngestTests {
    private struct Stand {
        let client: PostgresClient
        let ingest = Ingest(group: "activity", wake: WakeSignal())

        init() async throws {
            self.client = try await TestCluster.shared.client()
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            try await self.client.migrate("activity", ActivitySchema.migrations, logger: logger)
            try await self.client.migrate(ConsumerSchema.component, ConsumerSchema.migrations, logger: logger)
        }

        func take(_ records: [KafkaRecord]) async throws {
            let prepared = await self.ingest.prepare(records)
            try await self.client.transaction { tx in
                try await self.ingest.handle(records, prepared: prepared, in: tx)
            }
        }

        /// How many rows there are of each kind.
        func counts() async throws -> [String: Int] {
            let rows = try await self.client.query(
                """
                SELECT (SELECT count(*) FROM event_key)::bigint AS keys, (SELECT count(*) FROM entry)::bigint AS entries,
                  (SELECT count(*) FROM unsealed WHERE kind = 'entry')::bigint AS unsealed,
                  (SELECT count(*) FROM unsealed WHERE kind = 'duplicate')::bigint AS duplicates,
                  (SELECT count(*) FROM dead_letter)::bigint AS letters
                """
            )
            let row = try #require(rows.first)
            return Dictionary(
                uniqueKeysWithValues: try ["keys", "entries", "unsealed", "duplicates", "letters"].map {
                    ($0, try row($0))
                })
        }
    }

    private func record(_ number: Int, data: String = "{}") -> KafkaRecord {
        var record = CloudEvents.record(
            EventEnvelope(
                id: "e-\(number)", source: "/services/order", type: "order.order.placed.v1",
                time: Timestamp(microseconds: 1_769_903_999_000_001), subject: "order/\(number)", subjectVersion: 1,
                epoch: 1, sequence: Int64(number), partitionKey: "order/\(number)", data: Array(data.utf8)),
            topic: "order.events.v1")
        record.partition = 0
        record.offset = Int64(number)
        return record
    }

    private func records(_ numbers: Range<Int>) -> [KafkaRecord] { numbers.map { self.record($0) } }

    @Test("each event is there once, however often and in whatever company it comes")
    func once() async throws {
        let stand = try await Stand()
        try await stand.take(self.records(0..<50))
        #expect(try await stand.counts() == ["keys": 50, "entries": 50, "unsealed": 50, "duplicates": 0, "letters": 0])
        // All again; half of them beside new ones; and after that new ones only.
        try await stand.take(self.records(0..<50))
        try await stand.take(self.records(25..<75))
        try await stand.take(self.records(75..<125))
        #expect(
            try await stand.counts() == ["keys": 125, "entries": 125, "unsealed": 125, "duplicates": 75, "letters": 0])
        stand.client.close()
    }

    @Test("one that comes twice in a batch is there once, and one whose id another has is put aside")
    func together() async throws {
        let stand = try await Stand()
        var records = self.records(0..<50)
        records.insert(self.record(7), at: 20)
        records.append(self.record(8, data: #"{"other":true}"#))
        try await stand.take(records)
        #expect(try await stand.counts() == ["keys": 50, "entries": 50, "unsealed": 50, "duplicates": 1, "letters": 1])
        let letter = try await stand.client.query("SELECT reason FROM dead_letter").first
        #expect(try letter?("reason", as: String.self) == "id_conflict")
        stand.client.close()
    }

    @Test("one that is put aside is accounted for, also where it cannot be read; but nobody speaks for another source")
    func accounted() async throws {
        let stand = try await Stand()
        func altered(_ number: Int, _ name: String, _ value: String) -> KafkaRecord {
            var record = self.record(number)
            record.headers.removeAll { $0.name == name }
            record.headers.append(KafkaHeader(name, value))
            return record
        }
        try await stand.take([
            self.record(1), altered(2, "ce_subject", String(repeating: "x", count: 1_100)),
            altered(3, "ce_specversion", "0.3"), altered(4, "ce_source", "/services/auth"),
            altered(5, "ce_sequence", "five"),
        ])
        let rows = try await stand.client.query(
            "SELECT source, epoch, sequence FROM unsealed WHERE kind = 'dead' ORDER BY sequence")
        #expect(try rows.map { try $0("sequence", as: Int64.self) } == [2, 3])
        #expect(try rows.map { try $0("epoch", as: Int64.self) } == [1, 1])
        #expect(try rows.map { try $0("source", as: String.self) } == ["/services/order", "/services/order"])
        #expect(try await stand.counts()["letters"] == 4)
        stand.client.close()
    }

    @Test("what goes by COPY is what goes by INSERT")
    func sameRows() async throws {
        let stand = try await Stand()
        try await stand.take(self.records(0..<50))
        try await stand.take(self.records(50..<51))
        let rows = try await stand.client.query(
            """
            SELECT to_jsonb(e) - ARRAY['id', 'recorded_at', 'event_id', 'sequence', 'target_id', 'data_salt', 'personal_salt',
              'record_offset'] AS same, length(data_salt) AS salt, target_id, record_offset
            FROM entry e WHERE record_offset IN (49, 50) ORDER BY record_offset
            """
        )
        #expect(try rows.map { try $0("same", as: String.self) }.count == 2)
        #expect(try rows[0]("same", as: String.self) == rows[1]("same", as: String.self))
        #expect(try rows.map { try $0("salt", as: Int.self) } == [32, 32])
        #expect(try rows.map { try $0("target_id", as: String.self) } == ["49", "50"])
        stand.client.close()
    }
}
