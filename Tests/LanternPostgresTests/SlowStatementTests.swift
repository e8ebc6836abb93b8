@testable import LanternPostgres
import Logging
import Synchronization
import TestSupport
import Testing

@Suite("Slow statements")
struct SlowStatementTests {
    /// Keeps the lines that were logged, with what came with them.
    private final class Lines: Sendable {
        let texts = Mutex<[String]>([])
    }

    private struct Handler: LogHandler {
        let lines: Lines
        var logLevel = Logger.Level.warning
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            self.lines.texts.withLock { $0.append("\(event.level) \(event.message) \(event.metadata ?? [:])") }
        }
    }

    private func client(_ lines: Lines, slow: Duration) async throws -> PostgresClient {
        var configuration = PostgresConfiguration(url: try await TestCluster.shared.database(), applicationName: "test")
        configuration.slowStatement = slow
        return PostgresClient(
            configuration: configuration, logger: Logger(label: "test") { _ in Handler(lines: lines) })
    }

    @Test("one that takes longer than it may is told with its text, and without a parameter's value")
    func slow() async throws {
        let lines = Lines()
        let client = try await self.client(lines, slow: .milliseconds(30))
        try await client.query("SELECT pg_sleep(0.05), \("marked-secret") AS x")
        await #expect(throws: PostgresError.self) {
            try await client.query("SELECT pg_sleep(0.05), 1 / (random() * 0)::integer, \("marked-secret") AS x")
        }
        let told = lines.texts.withLock { $0 }.filter { $0.contains("slow statement") }
        #expect(told.count == 2)
        #expect(told.allSatisfy { $0.contains("warning") && $0.contains("pg_sleep") && $0.contains("$1") })
        #expect(told.allSatisfy { !$0.contains("marked-secret") })
        client.close()
    }

    @Test("one that does not is not told")
    func quick() async throws {
        let lines = Lines()
        let client = try await self.client(lines, slow: .seconds(20))
        try await client.query("SELECT pg_sleep(0.05)")
        #expect(lines.texts.withLock { $0 }.allSatisfy { !$0.contains("slow statement") })
        client.close()
    }
}

@Suite("The end of a pool")
struct PoolEndTests {
    @Test("what runs is finished, and only then the pool has ended")
    func drains() async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 2)
        let slow = Task { try await client.query("SELECT pg_sleep(0.3), 7 AS n").first?("n", as: Int.self) }
        #expect(try await eventually { client.pool.counts.used == 1 ? true : nil } == true)
        client.close()
        #expect(try await slow.value == 7)
        let error = await #expect(throws: PostgresError.self) { try await client.query("SELECT 1") }
        #expect(error?.code == .closed)
    }
}
