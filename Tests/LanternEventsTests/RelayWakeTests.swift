import Foundation
import LanternKafka
import LanternKafkaTesting
import LanternPostgres
import Logging
import Testing
import TestSupport

@testable import LanternEvents

/// Two replicas of a service on one database, with the poll that would hide a missing notification out of the way.
@Suite("A relay hears of what another replica appended")
struct RelayWakeTests {
    private struct Happened: DomainEvent {
        static let type = EventType("test.thing.happened", version: 1)
        var name: String
        var subject: EventSubject { EventSubject("thing", self.name, version: 1) }
    }

    private struct Replica {
        let outbox: Outbox
        let relay: OutboxRelay

        init(_ client: PostgresClient, _ broker: EmbeddedBroker, logger: Logger) {
            let signal = OutboxSignal()
            var settings = OutboxRelay.Settings()
            settings.pollInterval = .seconds(3_600)
            self.outbox = Outbox(service: "test", wake: { signal.appended() })
            self.relay = OutboxRelay(
                outbox: self.outbox, database: client, direct: client,
                transport: KafkaTransport(
                    KafkaConfiguration(bootstrapServers: broker.bootstrapServers, properties: [:], clientID: "test")
                ),
                signal: signal, logger: logger, settings: settings
            )
        }
    }

    private static func published(_ client: PostgresClient) async throws -> Int64 {
        let rows = try await client.query("SELECT published_through FROM outbox_head")
        return try rows.first?("published_through", as: Int64.self) ?? -1
    }

    private static func wait(for what: String, _ condition: () async throws -> Bool) async throws {
        let isThere: Bool? = try await eventually { try await condition() ? true : nil }
        try #require(isThere == true, "waited for \(what)")
    }

    @Test("an event of a replica that does not lead is published without a poll", .timeLimit(.minutes(1)))
    func notified() async throws {
        let broker = try EmbeddedBroker(topics: ["test.events.v1": 2])
        let client = try await TestCluster.shared.client()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        try await client.migrate(OutboxSchema.component, OutboxSchema.migrations, logger: logger)
        let first = Replica(client, broker, logger: logger)
        let second = Replica(client, broker, logger: logger)
        // By the beginning of what a session did last: this query is what another connection of the pool did last.
        func listening() async throws -> Int {
            try await client.query(
                """
                SELECT pid FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
                  AND (query LIKE 'LISTEN %' OR query LIKE 'SELECT pg_notify%')
                """
            ).count
        }

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await first.relay.run() }
            // Its first event is published by its own signal; from then on it leads, and waits.
            try await client.transaction { tx in try await first.outbox.append(Happened(name: "first"), in: tx) }
            try await Self.wait(for: "the first event") { try await Self.published(client) == 1 }
            group.addTask { try await second.relay.run() }
            try await Self.wait(for: "both to listen") { try await listening() == 2 }
            for name in ["a", "b", "c"] {
                try await client.transaction { tx in try await second.outbox.append(Happened(name: name), in: tx) }
            }
            try await Self.wait(for: "all events") { try await Self.published(client) == 4 }
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
        client.close()
    }

    @Test("a session that listens hears what it and others send, in order", .timeLimit(.minutes(1)))
    func channel() async throws {
        let client = try await TestCluster.shared.client()
        let channel = NotificationChannel(client: client, name: "a \"strange\" name")
        let (heard, continuation) = AsyncStream.makeStream(of: String.self)
        try await channel.withSession(onNotification: { continuation.yield($0) }) { session in
            try await session.notify("one")
            try await channel.withSession(onNotification: { _ in }) { other in try await other.notify("two") }
            try await session.notify()
            var payloads: [String] = []
            for await payload in heard {
                payloads.append(payload)
                if payloads.count == 3 { break }
            }
            #expect(payloads == ["one", "two", ""])
        }
        client.close()
    }

    @Test("the end of a session ends what runs on it", .timeLimit(.minutes(1)))
    func ended() async throws {
        let client = try await TestCluster.shared.client()
        let error = await #expect(throws: PostgresError.self) {
            try await NotificationChannel(client: client, name: "doomed").withSession(onNotification: { _ in }) { _ in
                try await Self.wait(for: "the session") {
                    try await client.query(
                        """
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE datname = current_database() AND query LIKE 'LISTEN "doomed"%'
                        """
                    ).count == 1
                }
                try await Task.sleep(for: .seconds(30))
            }
        }
        #expect(error?.code == .connectionLost)
        client.close()
    }
}
