import Foundation
import LanternPostgres
import Logging
import Synchronization
import Testing
import TestSupport

@Suite("A pool against a real PostgreSQL")
struct ClientTests {
    @Test("values are bound and come back as they were")
    func roundTrip() async throws {
        let client = try await TestCluster.shared.client()
        let hostile = "'; DROP TABLE x; -- \"\\ \u{2028} 🏮"
        let id = UUID()
        let time = try #require(Timestamp("2024-02-29T23:59:59.999999Z"))
        let bytes = PostgresBytes([0, 1, 255, 92])
        let rows = try await client.query(
            """
            SELECT \(hostile) AS text, \(Int64.min) AS number, \(id) AS id, \(time) AS time, \(bytes) AS bytes,
                   \(["a", "b,\"c\"", "NULL"]) AS list, \(nil as String?) AS nothing, \(true) AS flag, \(0.1) AS double
            """
        )
        let row = try #require(rows.first)
        #expect(try row("text", as: String.self) == hostile)
        #expect(try row("number", as: Int64.self) == Int64.min)
        #expect(try row("id", as: UUID.self) == id)
        #expect(try row("time", as: Timestamp.self) == time)
        #expect(try row("bytes", as: PostgresBytes.self) == bytes)
        #expect(try row("list", as: [String].self) == ["a", "b,\"c\"", "NULL"])
        #expect(try row("nothing", as: String?.self) == nil)
        #expect(try row("flag", as: Bool.self))
        #expect(try row("double", as: Double.self) == 0.1)
        client.close()
    }

    @Test("a transaction that throws leaves nothing behind, and the connection is usable")
    func rollBack() async throws {
        struct Stop: Error {}
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        try await client.query("CREATE TABLE t (n bigint PRIMARY KEY)")
        await #expect(throws: Stop.self) {
            try await client.transaction { tx in
                try await tx.query("INSERT INTO t VALUES (1)")
                throw Stop()
            }
        }
        #expect(try await client.query("SELECT FROM t").isEmpty)
        client.close()
    }

    @Test("an error inside a transaction that is swallowed cannot commit")
    func swallowed() async throws {
        let client = try await TestCluster.shared.client()
        try await client.query("CREATE TABLE t (n bigint PRIMARY KEY)")
        await #expect(throws: PostgresError.self) {
            try await client.transaction { tx in
                try await tx.query("INSERT INTO t VALUES (1)")
                _ = try? await tx.query("INSERT INTO t VALUES (1)")
            }
        }
        #expect(try await client.query("SELECT FROM t").isEmpty)
        client.close()
    }

    @Test("a unique violation names its constraint and not the value")
    func uniqueViolation() async throws {
        let client = try await TestCluster.shared.client()
        try await client.query("CREATE TABLE t (word text CONSTRAINT one_word PRIMARY KEY)")
        try await client.query("INSERT INTO t VALUES (\("marked-secret"))")
        let error = await #expect(throws: PostgresError.self) {
            try await client.query("INSERT INTO t VALUES (\("marked-secret"))")
        }
        #expect(error?.code == .uniqueViolation)
        #expect(error?.constraint == "one_word")
        #expect(error.map { !"\($0)".contains("marked-secret") } == true)
        client.close()
    }

    @Test("text with NUL is refused before it is sent")
    func nul() async throws {
        let client = try await TestCluster.shared.client()
        let error = await #expect(throws: PostgresError.self) { try await client.query("SELECT \("a\0b") AS text") }
        #expect(error?.code == .invalidParameter)
        client.close()
    }

    @Test("commit hooks run after a commit and never after a rollback")
    func hooks() async throws {
        struct Stop: Error {}
        let client = try await TestCluster.shared.client()
        let count = Mutex(0)
        try await client.transaction { tx in
            try await tx.query("SELECT 1")
            tx.afterCommit { count.withLock { $0 += 1 } }
            #expect(count.withLock { $0 } == 0)
        }
        #expect(count.withLock { $0 } == 1)
        _ = try? await client.transaction { tx in
            tx.afterCommit { count.withLock { $0 += 1 } }
            throw Stop()
        }
        #expect(count.withLock { $0 } == 1)
        client.close()
    }

    @Test("many tasks share few connections, and money is neither made nor lost")
    func contention() async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 4)
        try await client.query("CREATE TABLE account (id bigint PRIMARY KEY, amount bigint NOT NULL)")
        try await client.query("INSERT INTO account SELECT n, 100 FROM generate_series(1, 4) AS n")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask {
                    let from = number % 4 + 1
                    let to = (number + 1) % 4 + 1
                    try await client.transaction(isolation: .serializable, retries: 50) { tx in
                        try await tx.query("UPDATE account SET amount = amount - 1 WHERE id = \(from)")
                        try await tx.query("UPDATE account SET amount = amount + 1 WHERE id = \(to)")
                    }
                }
            }
            try await group.waitForAll()
        }
        let sum = try await client.query("SELECT sum(amount)::bigint AS sum FROM account")
        #expect(try sum.first?("sum", as: Int.self) == 400)
        client.close()
    }

    @Test("cancelling the task ends the statement on the server and frees the pool")
    func cancellation() async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        let start = ContinuousClock.now
        let sleeping = Task { try await client.query("SELECT pg_sleep(30)") }
        // Until it runs there, cancelling it would prove nothing.
        let observer = try await TestCluster.shared.client(maximumConnections: 1)
        let seen = try await eventually {
            try await observer.query(
                "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'"
            )
            .isEmpty ? nil : true
        }
        #expect(seen == true)
        sleeping.cancel()
        await #expect(throws: (any Error).self) { try await sleeping.value }
        #expect(try await client.query("SELECT 1 AS one").count == 1)
        #expect(start.duration(to: .now) < .seconds(25))
        client.close()
        observer.close()
    }

    @Test("connections that the server killed are replaced")
    func killed() async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 2)
        let observer = try await TestCluster.shared.client(maximumConnections: 1)
        let pid = try #require(try await client.query("SELECT pg_backend_pid()::bigint AS pid").first)
        try await observer.query("SELECT pg_terminate_backend(\(try pid("pid", as: Int.self))::bigint::integer)")
        let works = try await eventually { try? await client.query("SELECT 1 AS one").count }
        #expect(works == 1)
        client.close()
        observer.close()
    }

    @Test("a waiter is refused at its time limit while all connections are in use")
    func exhausted() async throws {
        var configuration = PostgresConfiguration(url: try await TestCluster.shared.database(), applicationName: "test")
        configuration.maximumConnections = 1
        configuration.acquireTimeout = .milliseconds(100)
        let client = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
        let error = await #expect(throws: PostgresError.self) {
            try await client.transaction { tx in
                try await tx.query("SELECT 1")
                try await client.query("SELECT 2")
            }
        }
        #expect(error?.code == .poolExhausted)
        client.close()
    }

    @Test("a server that stays away is an error in time, without user or password in it")
    func away() async throws {
        var configuration = PostgresConfiguration(
            url: "postgresql://somebody:marked-secret@127.0.0.1:1/nowhere", applicationName: "test")
        configuration.acquireTimeout = .milliseconds(300)
        let client = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
        let error = await #expect(throws: PostgresError.self) { try await client.query("SELECT 1") }
        #expect(error?.code == .connect)
        #expect(error.map { !"\($0)".contains("marked-secret") } == true)
        client.close()
    }
}

@Suite("Migrations")
struct MigrationTests {
    private let first = Migration(1, "one", "CREATE TABLE a (n bigint)", "INSERT INTO a VALUES (1)")
    private let second = Migration(2, "two", "INSERT INTO a VALUES (2)")

    @Test("replicas that start at once apply each step once")
    func concurrent() async throws {
        let client = try await TestCluster.shared.client()
        let logger = Logger(label: "test")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<5 {
                group.addTask { try await client.migrate("x", [self.first, self.second], logger: logger) }
            }
            try await group.waitForAll()
        }
        #expect(try await client.query("SELECT FROM a").count == 2)
        client.close()
    }

    @Test("a step that fails leaves nothing behind")
    func failing() async throws {
        let client = try await TestCluster.shared.client()
        let broken = Migration(1, "broken", "CREATE TABLE a (n bigint)", "SELECT no_such_function()")
        await #expect(throws: PostgresError.self) {
            try await client.migrate("x", [broken], logger: Logger(label: "test"))
        }
        #expect(try await client.query("SELECT to_regclass('a') IS NULL AS gone").first?("gone", as: Bool.self) == true)
        client.close()
    }

    @Test("a changed step and an older program are refused")
    func history() async throws {
        let client = try await TestCluster.shared.client()
        let logger = Logger(label: "test")
        try await client.migrate("x", [self.first, self.second], logger: logger)
        let older = await #expect(throws: PostgresError.self) {
            try await client.migrate("x", [self.first], logger: logger)
        }
        #expect(older?.code == .migration)
        let changed = Migration(2, "two", "INSERT INTO a VALUES (3)")
        let error = await #expect(throws: PostgresError.self) {
            try await client.migrate("x", [self.first, changed], logger: logger)
        }
        #expect(error?.code == .migration)
        client.close()
    }
}

@Suite("Advisory locks")
struct AdvisoryLockTests {
    @Test("one of several leads at a time, and the next takes over when its session dies")
    func election() async throws {
        let client = try await TestCluster.shared.client()
        let leaders = Mutex<[Int]>([])
        let tasks = (1...2).map { number in
            Task { @Sendable in
                try await AdvisoryLock(client: client, name: "x").withLock(retry: .milliseconds(20)) {
                    leaders.withLock { $0.append(number) }
                    try await Task.sleep(for: .seconds(60))
                }
            }
        }
        #expect(try await eventually { leaders.withLock { $0.count == 1 ? true : nil } } == true)
        try await client.query(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        #expect(try await eventually { leaders.withLock { Set($0).count == 2 ? true : nil } } == true)
        tasks.forEach { $0.cancel() }
        client.close()
    }
}
