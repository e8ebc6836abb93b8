import LanternKafkaTesting
import Foundation
import Lantern
import LanternKafkaTesting
import LanternTracing
import LanternTracingTesting
import TestSupport

extension TestPlatform {
    var services: [Running] { [self.auth, self.order, self.activity] }

    /// The spans of all services so far, and of one that runs beside them.
    func spans(and other: InMemorySpanProcessor? = nil) -> CollectedSpans {
        CollectedSpans(self.services.flatMap(\.spans.spans) + (other?.spans ?? []))
    }

    /// Waits until these trees are among the spans of all services: what follows a request ends after its answer.
    /// - Throws: `TraceMismatch` where they are not there in time.
    func expectTrace(
        and other: InMemorySpanProcessor? = nil, @TraceBuilder _ expected: () -> [ExpectedSpan]
    ) async throws {
        let isThere: Bool? = try await eventually {
            do {
                try self.spans(and: other).expectTrace(expected)
                return true
            } catch {
                return nil
            }
        }
        if isThere == nil { try self.spans(and: other).expectTrace(expected) }
    }

    /// Runs `work` with a client of a service's database.
    func withDatabase<Value: Sendable>(
        of service: Running, _ work: (PostgresClient) async throws -> Value
    ) async throws -> Value {
        let client = PostgresClient(
            configuration: PostgresConfiguration(url: service.database, applicationName: "test"),
            logger: Logger(label: "test")
        )
        defer { client.close() }
        return try await work(client)
    }

    /// The reasons for which activity has put records aside.
    func deadLetterReasons() async throws -> [String] {
        try await self.withDatabase(of: self.activity) { database in
            try await database.query("SELECT reason FROM dead_letter ORDER BY recorded_at").map { try $0("reason") }
        }
    }

    /// Sends records as any program would. No tracer is bound in a test, so nothing is added to them.
    func produce(_ records: [KafkaRecord]) async throws {
        let producer = try KafkaProducer(
            configuration: KafkaConfiguration(bootstrapServers: self.broker.bootstrapServers, clientID: "foreign"),
            logger: Logger(label: "test")
        )
        do { try await producer.send(records) } catch {
            await producer.close(deadline: .zero)
            throw error
        }
        await producer.close(deadline: .seconds(5))
    }

    /// The first record of a topic that meets a condition, once it is there; `nil` where it is not there in time.
    func record(on topic: String, _ isWanted: @escaping @Sendable (KafkaRecord) -> Bool) async throws -> KafkaRecord? {
        let consumer = try KafkaConsumer(
            configuration: KafkaConfiguration(
                bootstrapServers: self.broker.bootstrapServers,
                properties: ["fetch.wait.max.ms": "10", "session.timeout.ms": "6000"], clientID: "reader"
            ),
            group: "reader-\(UUID().uuidString)", topics: [topic], logger: Logger(label: "test")
        )
        let found = await withTaskGroup(of: Result<KafkaRecord?, any Error>.self) { group in
            group.addTask { await Self.read(consumer, isWanted) }
            group.addTask {
                try? await Task.sleep(for: .seconds(30))
                return .success(nil)
            }
            let first = await group.next() ?? .success(nil)
            group.cancelAll()
            return first
        }
        await consumer.close()
        return try found.get()
    }

    private static func read(
        _ consumer: KafkaConsumer, _ isWanted: (KafkaRecord) -> Bool
    ) async -> Result<KafkaRecord?, any Error> {
        do {
            while true {
                switch try await consumer.next() {
                case .assigned(let partitions):
                    try consumer.assign(partitions.map { KafkaPosition($0, .earliest) })
                case .revoked, .lost: break
                case .records(let records):
                    if let record = records.first(where: isWanted) { return .success(record) }
                }
            }
        } catch {
            return .failure(error)
        }
    }
}
