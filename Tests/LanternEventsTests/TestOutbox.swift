import LanternPostgres
import Logging
import TestSupport

@testable import LanternEvents

/// A service's outbox in a database of its own, and relays on it.
struct TestOutbox: Sendable {
    let client: PostgresClient
    let outbox = Outbox(service: "test", wake: {})

    var store: OutboxStore { OutboxStore(database: self.client, source: self.outbox.source) }

    static func make() async throws -> TestOutbox {
        let client = try await TestCluster.shared.client()
        try await client.migrate(OutboxSchema.component, OutboxSchema.migrations, logger: .ofTests)
        return TestOutbox(client: client)
    }

    /// Commits events, each in a transaction of its own.
    func append(_ events: [ThingHappened]) async throws {
        for event in events {
            try await self.client.transaction { tx in try await self.outbox.append(event, in: tx) }
        }
    }

    /// The watermark; -1 before the first relay.
    func publishedThrough() async throws -> Int64 {
        let rows = try await self.client.query("SELECT published_through FROM outbox_head")
        return try rows.first?("published_through", as: Int64.self) ?? -1
    }

    /// Of the leader; 0 before the first.
    func term() async throws -> Int64 {
        let rows = try await self.client.query("SELECT leader_term FROM outbox_head")
        return try rows.first?("leader_term", as: Int64.self) ?? 0
    }

    /// What the collector has acknowledged of an epoch.
    func acknowledged(epoch: Int64 = 1) async throws -> Int64? {
        let rows = try await self.client.query("SELECT sequence FROM outbox_acknowledged WHERE epoch = \(epoch)")
        return try rows.first?("sequence", as: Int64.self)
    }

    // MARK: - Relays

    private static var settings: OutboxRelay.Settings {
        var settings = OutboxRelay.Settings()
        // Nobody signals, and batches are small enough that some events are always in several.
        settings.pollInterval = .milliseconds(10)
        settings.batchSize = 7
        return settings
    }

    func relay(on transport: any EventTransport, replayRate: Int = 2_000) -> OutboxRelay {
        var settings = Self.settings
        settings.replayRate = replayRate
        return OutboxRelay(
            outbox: self.outbox, database: self.client, direct: self.client, transport: transport,
            signal: OutboxSignal(), logger: .ofTests, settings: settings
        )
    }

    /// Runs a relay while `body` runs, then ends it as the death of its process would: nothing is drained.
    func relaying<Value: Sendable>(
        on transport: any EventTransport, replayRate: Int = 2_000, _ body: () async throws -> Value
    ) async throws -> Value {
        let relay = self.relay(on: transport, replayRate: replayRate)
        let running = Task { try await relay.run() }
        let result: Result<Value, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        running.cancel()
        _ = await running.result
        return try result.get()
    }

    /// One term of a relay that asked nobody whether it may lead.
    /// - Parameter draining: Ends once everything is published; not before it loses the lead otherwise.
    func lead(on transport: any EventTransport, draining: Bool) async throws {
        let signal = OutboxSignal()
        var term = RelayTerm(
            store: self.store, outbox: self.outbox,
            producer: try transport.makeProducer("term", logger: .ofTests), replays: ReplayQueue(wake: signal.here),
            signal: signal, settings: Self.settings, logger: .ofTests, leadership: try await self.store.takeOver()
        )
        try await term.run(isDraining: { draining })
    }

    /// Ends the session with which the leading relay holds its lock, as a network that breaks would.
    func endLeadersSession() async throws {
        try await self.client.query(
            """
            SELECT pg_terminate_backend(pid) FROM pg_locks
            WHERE locktype = 'advisory' AND granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        )
    }
}
