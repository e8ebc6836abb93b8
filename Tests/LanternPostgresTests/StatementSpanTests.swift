import LanternPostgres
import LanternTracing
import LanternTracingTesting
import Logging
import Synchronization
import TestSupport
import Testing
import Tracing

@Suite("The spans of statements")
struct StatementSpanTests {
    private func withClient(
        slow: Duration = .seconds(60), logger: Logger = Logger(label: "test"),
        _ body: nonisolated(nonsending) (PostgresClient) async throws -> Void
    ) async throws -> CollectedSpans {
        var configuration = PostgresConfiguration(url: try await TestCluster.shared.database(), applicationName: "test")
        configuration.slowStatement = slow
        let client = PostgresClient(configuration: configuration, logger: logger)
        defer { client.close() }
        return try await CollectedSpans.during {
            try await withSpan("work", ofKind: .server) { _ in try await body(client) }
        }
    }

    @Test("what others do within a stream is within its statement")
    func stream() async throws {
        let spans = try await self.withClient { client in
            let count = try await client.stream("SELECT generate_series(1, 3) AS n") { rows in
                var count = 0
                for try await _ in rows { count += 1 }
                withSpan("inner") { _ in }
                return count
            }
            #expect(count == 3)
            try await client.query("SELECT 1 AS n")
        }
        try spans.expectTrace {
            server("work") {
                client("SELECT") { span("inner") }.with("db.query.text", "SELECT generate_series(1, 3) AS n").failed(
                    false)
                client("SELECT").with("db.query.text", "SELECT 1 AS n").failed(false)
            }
        }
    }

    @Test("a failure is that of its own span only")
    func failures() async throws {
        let spans = try await self.withClient { client in
            for divisor in [1, 0, 2] {
                _ = try? await client.query("SELECT 10 / \(Int32(divisor)) AS n")
            }
        }
        let statements = spans.spans.filter { $0.kind == .client }.sorted { $0.start < $1.start }
        #expect(statements.map { $0.status?.code == .error } == [false, true, false])
        #expect(
            statements.map { $0.attributes.get("db.response.status_code") } == [
                nil, SpanAttribute.string("22012"), nil,
            ]
        )
        #expect(statements.map { $0.attributes.get("error.type") != nil } == [false, true, false])
        #expect(statements.map { $0.events.map(\.name) } == [[], ["exception"], []])
        for statement in statements {
            #expect(statement.attributes.get("db.query.text") == SpanAttribute.string("SELECT 10 / $1 AS n"))
            #expect(statement.attributes.get("db.system.name") == SpanAttribute.string("postgresql"))
        }
    }

    @Test("several statements in one round trip are one span with all their texts")
    func batch() async throws {
        let spans = try await self.withClient { client in
            try await client.batch(["SELECT 1 AS n", "SELECT 2 AS n"])
            try await client.batch(["SELECT 3 AS n"])
        }
        let texts = spans.spans.filter { $0.kind == .client }.sorted { $0.start < $1.start }.map {
            $0.attributes.get("db.query.text").map { "\($0)" } ?? ""
        }
        #expect(texts.count == 2)
        #expect(texts.first?.contains("SELECT 1 AS n") == true && texts.first?.contains("SELECT 2 AS n") == true)
        #expect(texts.last?.contains("SELECT 3 AS n") == true && texts.last?.contains("SELECT 1") == false)
    }

    @Test("the line of a slow one is in its span")
    func slow() async throws {
        let told = Mutex<[SpanID?]>([])
        let logger = Logger(label: "test") { _ in
            SpanNoting { told.withLock { $0.append(InstrumentationContext.current?.spanContext?.spanID) } }
        }
        let spans = try await self.withClient(slow: .milliseconds(20), logger: logger) { client in
            try await client.query("SELECT pg_sleep(0.03)")
        }
        let statement = try #require(spans.spans.first { $0.kind == .client })
        #expect(told.withLock { $0 }.contains(statement.context.spanID))
    }
}

/// Calls back for each slow statement that is told.
private struct SpanNoting: LogHandler {
    let note: @Sendable () -> Void
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .warning

    init(_ note: @escaping @Sendable () -> Void) { self.note = note }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) { if event.message == "slow statement" { self.note() } }
}
