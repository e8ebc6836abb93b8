import ActivityService
import BenchmarkSupport
import LanternEvents
import LanternPostgres

/// A million events from outbox to timeline in one process, and what it holds of them. The load waits for the consumer,
/// because the embedded broker keeps little.
enum MemoryRun {
    private static let count = 1_000_000
    private static let step = 5_000

    static func run(_ servers: String) async throws {
        let (_, source) = try await EventsBenchmark.database("bench")
        let (_, timeline) = try await EventsBenchmark.database("bench")
        try await source.migrate(OutboxSchema.component, OutboxSchema.migrations, logger: EventsBenchmark.logger)
        try await timeline.migrate("activity", ActivitySchema.migrations, logger: EventsBenchmark.logger)
        try await timeline.migrate(ConsumerSchema.component, ConsumerSchema.migrations, logger: EventsBenchmark.logger)
        let signal = OutboxSignal()
        let outbox = Outbox(service: "bench", wake: { signal.appended() })
        let transport = EventsBenchmark.transport(servers)
        let relay = OutboxRelay(
            outbox: outbox, database: source, direct: source, transport: transport, signal: signal,
            logger: EventsBenchmark.logger
        )
        let consumer = EventConsumer(
            transport: transport, topics: [EventsBenchmark.topic], group: "memory", database: timeline,
            handler: Ingest(group: "memory", wake: WakeSignal()), logger: EventsBenchmark.logger
        )
        let running = Task {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await relay.run() }
                group.addTask { try await consumer.run() }
                try await group.waitForAll()
            }
        }
        func stored() async throws -> Int {
            try await timeline.query("SELECT count(*) AS stored FROM entry WHERE source = \(EventsBenchmark.source)")
                .first?("stored") ?? 0
        }
        let start = ContinuousClock.now
        var appended = 0
        var early = 0
        while appended < Self.count {
            try await EventsBenchmark.append(Self.step, to: source)
            signal.appended()
            appended += Self.step
            // Two steps on their way at most; the count is looked at seldom, because it reads all.
            if appended % (2 * Self.step) == 0 {
                let goal = appended - 2 * Self.step
                try await EventsBenchmark.until {
                    try await timeline.query("SELECT count(*) AS keys FROM unsealed").first?("keys", as: Int.self) ?? 0
                        >= goal
                }
            }
            if appended == Self.count / 10 { early = ProcessMemory.resident() }
        }
        try await EventsBenchmark.until { try await stored() == Self.count }
        let seconds = EventsBenchmark.seconds(since: start)
        let late = ProcessMemory.resident()
        running.cancel()
        _ = await running.result
        Comparison(
            name: "memory-over-a-million", ours: Double(late) / 1_048_576, baseline: Double(early) / 1_048_576,
            unit: "MiB",
            what:
                "resident after 1,000,000 events and after 100,000; \(Int(Double(Self.count) / seconds)) a second from"
                + " append to timeline, appending included"
        ).report()
        source.close()
        timeline.close()
    }
}
