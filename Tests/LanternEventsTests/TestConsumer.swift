import LanternKafka
import LanternPostgres
import Logging
import TestSupport
import Testing

@testable import LanternEvents

/// The database of a consumer, and a table in which handled events leave their mark.
struct TestConsumer: Sendable {
    static let group = "test.thing.happened"

    let client: PostgresClient

    static func make() async throws -> TestConsumer {
        let client = try await TestCluster.shared.client()
        try await client.migrate(ConsumerSchema.component, ConsumerSchema.migrations, logger: .ofTests)
        // Not unique: what happens twice must show.
        try await client.query(
            """
            CREATE TABLE effect (
              position bigint GENERATED ALWAYS AS IDENTITY (CACHE 1), thing text NOT NULL, number bigint NOT NULL
            )
            """
        )
        return TestConsumer(client: client)
    }

    // MARK: - Handling

    func note(_ thing: String, _ number: Int64, in tx: PostgresTransaction) async throws {
        try await tx.query("INSERT INTO effect (thing, number) VALUES (\(thing), \(number))")
    }

    /// Notes each event.
    /// - Parameter also: Runs after that, in the same transaction.
    func inbox(
        keepsOrder: Bool = true,
        also: @escaping @Sendable (ThingHappened, PostgresTransaction) async throws -> Void = { _, _ in }
    ) -> Inbox<ThingHappened> {
        Inbox(consumer: Self.group, topic: ThingHappened.topic, keepsOrder: keepsOrder) { event, tx in
            try await self.note(event.thing, event.number, in: tx)
            try await also(event, tx)
        }
    }

    /// A member of the group, until it is cancelled.
    func start(from transport: any EventTransport, with handler: any RecordHandler) -> Task<Void, any Error> {
        let consumer = EventConsumer(
            transport: transport, topics: [ThingHappened.topic], group: Self.group, database: self.client,
            handler: handler, logger: .ofTests
        )
        return Task { try await consumer.run() }
    }

    /// Runs a member of the group while `body` runs.
    func consuming<Value: Sendable>(
        from transport: any EventTransport, with handler: any RecordHandler, _ body: () async throws -> Value
    ) async throws -> Value {
        let running = self.start(from: transport, with: handler)
        let result: Result<Value, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        running.cancel()
        _ = await running.result
        return try result.get()
    }

    // MARK: - What came of it

    /// In the order in which they were made.
    func effects() async throws -> [ThingHappened] {
        try await self.client.query("SELECT thing, number FROM effect WHERE thing <> 'end' ORDER BY position").map {
            ThingHappened(thing: try $0("thing"), number: try $0("number"))
        }
    }

    /// The oldest first.
    func letters(_ state: DeadLetter.State? = nil) async throws -> [DeadLetter] {
        try await DeadLetterStore(database: self.client)
            .list(DeadLetterFilter(state: state), before: nil, limit: 1_000).reversed()
    }

    /// Waits until all that the topic holds is handled: an event is put behind it in each partition.
    /// - Parameter round: Another one each time.
    func handleAll(of transport: InProcessTransport, round: Int64 = 1) async throws {
        let partitions = transport.count(of: ThingHappened.topic)
        try await transport.produce(
            (0..<partitions).map {
                ThingHappened(thing: "end", number: round * 1_000 + Int64($0)).record(partition: $0)
            })
        try await wait(for: "the end of all partitions") {
            let rows = try await self.client.query(
                """
                SELECT count(DISTINCT number) AS ends FROM effect
                WHERE thing = 'end' AND number BETWEEN \(round * 1_000) AND \(round * 1_000 + 999)
                """
            )
            return try rows.first?("ends", as: Int.self) == Int(partitions)
        }
    }

    /// Says that each of these events had its effect once, in the order of its thing, and that nothing else had one.
    func expectEffects(
        of events: [ThingHappened], sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let effects = try await self.effects()
        let counts = Dictionary(effects.map { ($0, 1) }, uniquingKeysWith: +)
        #expect(events.filter { counts[$0] == nil } == [], "lost", sourceLocation: sourceLocation)
        #expect(counts.filter { $0.value > 1 }.keys.count == 0, "doubled", sourceLocation: sourceLocation)
        #expect(counts.count == events.count, "nothing else happened", sourceLocation: sourceLocation)
        for (thing, of) in Dictionary(grouping: effects, by: \.thing) {
            #expect(
                of.map(\.number) == of.map(\.number).sorted(), "the order of \(thing)", sourceLocation: sourceLocation)
        }
    }
}

extension EventTransport {
    /// Sends records, as any producer would.
    func produce(_ records: [KafkaRecord]) async throws {
        let producer = try self.makeProducer("test", logger: .ofTests)
        try await producer.send(records)
        await producer.close(deadline: .seconds(5))
    }
}
