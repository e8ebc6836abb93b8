import LanternEvents
import LanternPostgres
import TestSupport
import Testing

@Suite("What consumers forget")
struct ConsumerRetentionTests {
    private func client() async throws -> PostgresClient {
        let client = try await TestCluster.shared.client()
        try await client.migrate(ConsumerSchema.component, ConsumerSchema.migrations, logger: .ofTests)
        return client
    }

    @Test("old ids go, however many there are, and young ones stay")
    func inbox() async throws {
        let client = try await self.client()
        for (name, count, age) in [("old", 12_000, "31 days"), ("young", 100, "29 days")] {
            try await client.query(
                """
                INSERT INTO inbox (consumer, source, event_id, handled_at)
                SELECT 'c', \(name), n::text, clock_timestamp() - (\(age))::interval FROM generate_series(1, \(count)) AS n
                """
            )
        }
        let retention = ConsumerRetention(database: client)
        #expect(try await retention.forget(olderThan: .seconds(30 * 86_400)).events == 12_000)
        let left = try await client.query("SELECT source, count(*)::bigint AS count FROM inbox GROUP BY source")
        #expect(try left.map { try $0("source", as: String.self) } == ["young"])
        #expect(try left.first?("count", as: Int.self) == 100)
        #expect(try await retention.forget(olderThan: .seconds(30 * 86_400)).events == 0)
        client.close()
    }

    @Test("of old letters those go that are settled and in their topic, and no other")
    func letters() async throws {
        let client = try await self.client()
        for (state, settled, published) in [
            ("new", false, true), ("parked", false, true), ("replayed", true, true), ("discarded", true, true),
            ("discarded", true, false),
        ] {
            try await client.query(
                """
                INSERT INTO dead_letter (id, recorded_at, state, consumer, reason, error, topic, partition, record_offset,
                  header_names, header_values, settled_at, published_at)
                VALUES (gen_random_uuid(), clock_timestamp() - interval '40 days', \(state), 'c', 'undecodable', '', 't', 0, 0,
                  '{}', '{}', CASE WHEN \(settled) THEN clock_timestamp() - interval '31 days' END,
                  CASE WHEN \(published) THEN clock_timestamp() - interval '31 days' END)
                """
            )
        }
        #expect(try await ConsumerRetention(database: client).forget(olderThan: .seconds(32 * 86_400)).letters == 0)
        #expect(try await ConsumerRetention(database: client).forget(olderThan: .seconds(30 * 86_400)).letters == 2)
        let left = try await client.query("SELECT state FROM dead_letter ORDER BY state")
        #expect(try left.map { try $0("state", as: String.self) } == ["discarded", "new", "parked"])
        client.close()
    }
}
