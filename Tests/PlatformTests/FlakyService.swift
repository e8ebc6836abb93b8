import Lantern
import LanternKafkaTesting
import LanternLogging
import LanternTracing
import Synchronization
import Testing
import TestSupport

/// A small service beside the platform: it handles placed orders, and fails as often as it is told.
struct FlakyService: LanternService {
    static let name = "flaky"
    static let group = "flaky.order.order.placed"

    /// Read while the service is assembled: a service is a type, and each test has its own.
    @TaskLocal private static var failures = Failures(0)

    private final class Failures: Sendable {
        private let left: Mutex<Int>

        init(_ count: Int) { self.left = Mutex(count) }

        func takeOne() throws {
            let fails = self.left.withLock { left in
                defer { left -= 1 }
                return left > 0
            }
            if fails { throw Failure() }
        }
    }

    private struct Failure: Error {}

    /// What it reads of order's event.
    private struct OrderSeen: DomainEvent {
        static let type = EventType("order.order.placed", version: 1)
        var order_id: String
        var subject: EventSubject { EventSubject("order", self.order_id, version: 1) }
    }

    static func assemble(_ platform: Platform) async throws {
        let failures = self.failures
        let database = try platform.postgres(migrations: [])
        try platform.consume(OrderSeen.self, from: "order.events.v1", in: database) { _, _ in try failures.takeOne() }
    }

    /// Runs it while `body` runs.
    /// - Parameters:
    ///   - times: How often its handler fails before it succeeds.
    ///   - body: Is given its spans.
    static func run(
        beside platform: TestPlatform, failing times: Int, _ body: (InMemorySpanProcessor) async throws -> Void
    ) async throws {
        let spans = InMemorySpanProcessor()
        let environment = [
            "HTTP_PORT": "0", "DATABASE_URL": try await TestCluster.shared.database(self.name),
            "KAFKA_BOOTSTRAP_SERVERS": platform.broker.bootstrapServers, "KAFKA_FETCH_WAIT_MAX_MS": "10",
            "KAFKA_SESSION_TIMEOUT_MS": "6000",
        ]
        let logs = MemorySink()
        let host = try await self.$failures.withValue(Failures(times)) {
            try await ServiceHost(
                Self.self, environment: environment, overrides: .init(logSink: logs, spanProcessor: spans)
            )
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await host.run() }
            do {
                let ready = try await eventually(within: .seconds(60)) { await host.isReady ? true : nil }
                try #require(ready == true, "it did not become ready: \(logs.lines.suffix(5))")
                try await body(spans)
            } catch {
                await host.shutDown()
                throw error
            }
            await host.shutDown()
            try await group.waitForAll()
        }
    }

    /// Its attempts to handle orders, the first one first.
    static func attempts(in spans: InMemorySpanProcessor) -> [FinishedSpan] {
        spans.spans.filter { $0.name == "process order.events.v1" }.sorted { $0.start < $1.start }
    }
}
