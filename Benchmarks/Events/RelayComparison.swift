import BenchmarkSupport
import CEventsBaseline
import LanternEvents
import LanternPostgres

/// The relay beside the same SELECT-and-produce loop in C. Rows are sealed before: both only read, send, and mark.
enum RelayComparison {
    private static let count = 60_000

    static func run(_ servers: String) async throws {
        let (url, client) = try await EventsBenchmark.database("bench")
        try await client.migrate(OutboxSchema.component, OutboxSchema.migrations, logger: EventsBenchmark.logger)
        try await EventsBenchmark.append(Self.count, to: client)
        // A first relay seals and publishes all, and says how fast it is with sealing.
        let whole = try await Self.relay(servers, client)
        try await client.query("ANALYZE outbox")
        let result = try await EventsBenchmark.medians(rounds: 5) {
            try await Self.reset(client)
            return try await Self.relay(servers, client)
        } _: {
            try await Self.reset(client)
            var events = 0
            let seconds = try EventsBenchmark.c {
                lantern_c_relay(url, EventsBenchmark.source, servers, EventsBenchmark.topic, 500, $0, $1, $2, &events)
            }
            guard events == Self.count else { throw EventsBenchmark.BaselineError(description: "\(events) events") }
            return seconds
        }
        let count = Double(Self.count)
        Comparison(
            name: "relay", ours: result.ours / count * 1e6, baseline: result.theirs / count * 1e6, unit: "µs",
            what:
                "the same loop in C, an event; bar: at least 0.5 times as many; \(Int(count / result.ours)) a second and"
                + " \(Int(count / result.theirs)); with sealing \(Int(count / whole)) a second; \(result.spread)"
        ).report()
        client.close()
    }

    private static func reset(_ client: PostgresClient) async throws {
        try await client.query("UPDATE outbox_head SET published_through = 0")
        try await client.query("VACUUM outbox_head")
    }

    /// Seconds from the first published batch to the last, for as many events as all.
    private static func relay(_ servers: String, _ client: PostgresClient) async throws -> Double {
        let signal = OutboxSignal()
        let outbox = Outbox(service: "bench", wake: { signal.appended() })
        let relay = OutboxRelay(
            outbox: outbox, database: client, direct: client, transport: EventsBenchmark.transport(servers),
            signal: signal, logger: EventsBenchmark.logger
        )
        let running = Task { try await relay.run() }
        func published() async throws -> Int {
            try await client.query("SELECT published_through FROM outbox_head").first?("published_through") ?? 0
        }
        var first = 0
        try await EventsBenchmark.until {
            first = try await published()
            return first > 0
        }
        let start = ContinuousClock.now
        try await EventsBenchmark.until { try await published() == Self.count }
        let seconds = EventsBenchmark.seconds(since: start)
        running.cancel()
        _ = await running.result
        return seconds * Double(Self.count) / Double(Self.count - first)
    }
}
