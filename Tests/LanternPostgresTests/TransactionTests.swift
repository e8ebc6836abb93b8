import LanternPostgres
import Synchronization
import TestSupport
import Testing

@Suite("Transactions against a real PostgreSQL")
struct TransactionTests {
    private struct Stop: Error {}

    /// A client of one connection, and a table of numbers.
    private static func client(maximumConnections: Int = 1) async throws -> PostgresClient {
        let client = try await TestCluster.shared.client(maximumConnections: maximumConnections)
        try await client.execute("CREATE TABLE t (n bigint CONSTRAINT once UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        return client
    }

    private static func numbers(_ client: PostgresClient) async throws -> [Int] {
        try await client.query("SELECT n FROM t ORDER BY n").map { try $0("n", as: Int.self) }
    }

    private static func process(_ client: PostgresClient) async throws -> Int {
        try await client.query("SELECT pg_backend_pid() AS pid").first.map { try $0("pid") } ?? 0
    }

    /// Runs `body` in a transaction that throws behind it.
    private static func undo(
        _ client: PostgresClient, _ body: @escaping @Sendable (PostgresTransaction) async throws -> Void
    ) async {
        await #expect(throws: Stop.self) {
            try await client.transaction { tx in
                try await body(tx)
                throw Stop()
            }
        }
    }

    private static func undo(_ tx: PostgresTransaction, _ body: @Sendable () async throws -> Void) async {
        await #expect(throws: Stop.self) {
            try await tx.savepoint {
                try await body()
                throw Stop()
            }
        }
    }

    // MARK: - Ends

    @Test("commits when its body returns, and is undone when it throws; the connection is the same")
    func ends() async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        #expect(try await client.transaction { tx in try await tx.execute("INSERT INTO t VALUES (1), (2)") } == 2)
        await Self.undo(client) { tx in try await tx.execute("INSERT INTO t VALUES (3)") }
        #expect(try await Self.numbers(client) == [1, 2])
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test("a statement that failed and was passed over is an error at the end, and no hook runs")
    func swallowed() async throws {
        let client = try await Self.client()
        let hooks = Mutex(0)
        let error = await #expect(throws: PostgresError.self) {
            try await client.transaction { tx in
                tx.afterCommit { hooks.withLock { $0 += 1 } }
                try await tx.execute("INSERT INTO t VALUES (1)")
                _ = try? await tx.execute("SELECT 1 / 0")
            }
        }
        #expect(error?.code == .server && hooks.withLock { $0 } == 0)
        #expect(try await Self.numbers(client).isEmpty)
        client.close()
    }

    @Test("hooks run in order after COMMIT, not where it fails, and those of an earlier attempt never")
    func hooks() async throws {
        let client = try await Self.client(maximumConnections: 2)
        let hooks = Mutex<[String]>([])
        let error = await #expect(throws: PostgresError.self) {
            try await client.transaction { tx in
                tx.afterCommit { hooks.withLock { $0.append("failed") } }
                try await tx.execute("INSERT INTO t VALUES (1), (1)")
            }
        }
        #expect(error?.constraint == "once")
        try await client.execute("INSERT INTO t VALUES (0)")
        try await client.transaction(isolation: .repeatableRead) { tx in
            let found = try await tx.query("SELECT n FROM t").first?("n", as: Int.self) ?? -1
            for name in ["first", "second"] { tx.afterCommit { hooks.withLock { $0.append("\(found) \(name)") } } }
            if found == 0 { try await client.execute("UPDATE t SET n = n + 10") }
            try await tx.execute("UPDATE t SET n = n + 1")
            #expect(hooks.withLock { $0.isEmpty })
        }
        #expect(hooks.withLock { $0 } == ["10 first", "10 second"])
        client.close()
    }

    @Test("one that asks nothing does nothing, and its hooks run")
    func nothing() async throws {
        let client = try await Self.client()
        let observer = try await TestCluster.shared.client(maximumConnections: 1)
        let process = try await Self.process(client)
        let look: SQL = "SELECT query || ' ' || state_change AS state FROM pg_stat_activity WHERE pid = \(process)"
        let before = try await observer.query(look).first?("state", as: String.self)
        #expect(before?.contains("pg_backend_pid") == true)
        let hooks = Mutex(0)
        try await client.transaction { tx in tx.afterCommit { hooks.withLock { $0 += 1 } } }
        await Self.undo(client) { _ in #expect(hooks.withLock { $0 } == 1) }
        #expect(try await observer.query(look).first?("state", as: String.self) == before)
        client.close()
        observer.close()
    }

    @Test("what was kept of it beyond its end is refused")
    func ended() async throws {
        let client = try await Self.client()
        let kept = try await client.transaction { tx in
            try await tx.execute("INSERT INTO t VALUES (1)")
            return tx
        }
        let errors = [
            await #expect(throws: PostgresError.self) { try await kept.query("SELECT 1") },
            await #expect(throws: PostgresError.self) { try await kept.batch(["INSERT INTO t VALUES (2)"]) },
            await #expect(throws: PostgresError.self) { try await kept.savepoint {} },
            await #expect(throws: PostgresError.self) { try await kept.stream("SELECT 1") { _ in } },
            await #expect(throws: PostgresError.self) { try await kept.copyIn("t", columns: ["n"]) { _ in } },
        ]
        for error in errors { #expect(error?.code == .closed) }
        #expect(try await Self.numbers(client) == [1])
        client.close()
    }

    @Test(
        "has the isolation it is told, and leaves none behind",
        arguments: [.readCommitted, .repeatableRead, .serializable] as [PostgresTransaction.Isolation])
    func isolation(isolation: PostgresTransaction.Isolation) async throws {
        let client = try await Self.client()
        let look: SQL = "SELECT current_setting('transaction_isolation') AS level"
        let found = try await client.transaction(isolation: isolation) { tx in try await tx.query(look) }
        #expect(try found.first?("level", as: String.self) == isolation.rawValue.lowercased())
        let usual = try await client.transaction { tx in try await tx.query(look) }
        #expect(try usual.first?("level", as: String.self) == "read committed")
        client.close()
    }

    // MARK: - Savepoints

    @Test("a savepoint that throws is undone alone, however deep it is")
    func savepoints() async throws {
        let client = try await Self.client()
        try await client.transaction { tx in
            // The first thing that a transaction does may be one.
            _ = try await tx.savepoint { try await tx.execute("INSERT INTO t VALUES (1)") }
            await Self.undo(tx) { try await tx.execute("INSERT INTO t VALUES (2)") }
            let answer = try await tx.savepoint {
                try await tx.execute("INSERT INTO t VALUES (3)")
                await Self.undo(tx) {
                    try await tx.execute("INSERT INTO t VALUES (4)")
                    // Released, and undone with the one around it.
                    _ = try await tx.savepoint { try await tx.execute("INSERT INTO t VALUES (5)") }
                }
                return try await tx.execute("INSERT INTO t VALUES (6), (7)")
            }
            #expect(answer == 2)
        }
        #expect(try await Self.numbers(client) == [1, 3, 6, 7])
        client.close()
    }

    @Test("a statement that fails in a savepoint ends it, also where it is passed over; the transaction goes on")
    func failingInSavepoint() async throws {
        let client = try await Self.client()
        try await client.transaction { tx in
            for number in 1...3 {
                await #expect(throws: PostgresError.self) {
                    try await tx.savepoint { try await tx.query("SELECT 1 / 0") }
                }
                let swallowed = await #expect(throws: PostgresError.self) {
                    try await tx.savepoint {
                        try await tx.execute("INSERT INTO t VALUES (\(-number))")
                        _ = try? await tx.execute("SELECT 1 / 0")
                    }
                }
                #expect(swallowed?.sqlState == "25P02")
                try await tx.execute("INSERT INTO t VALUES (\(number))")
            }
        }
        #expect(try await Self.numbers(client) == [1, 2, 3])
        client.close()
    }

    // MARK: - What goes first

    @Test("statements of child tasks are all in it, the first ones too")
    func childTasks() async throws {
        let client = try await Self.client()
        // Whoever comes first sends BEGIN: nobody's statement may pass it.
        for _ in 1...200 {
            await Self.undo(client) { tx in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 1...8 {
                        group.addTask { try await tx.execute("INSERT INTO t VALUES (\(number))") }
                    }
                    try await group.waitForAll()
                }
            }
        }
        #expect(try await Self.numbers(client).isEmpty)
        client.close()
    }

    @Test("it is one also where its first statement was refused or cancelled before it was sent")
    func unsentFirst() async throws {
        let client = try await Self.client()
        await Self.undo(client) { tx in
            let error = await #expect(throws: PostgresError.self) { try await tx.query("SELECT \("a\0b")") }
            #expect(error?.code == .invalidParameter)
            try await tx.execute("INSERT INTO t VALUES (1)")
        }
        await Self.undo(client) { tx in
            let first = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await tx.execute("INSERT INTO t VALUES (2)")
            }
            await #expect(throws: (any Error).self) { try await first.value }
            _ = try? await tx.execute("INSERT INTO t VALUES (3)")
        }
        #expect(try await Self.numbers(client).isEmpty)
        client.close()
    }
}

@Suite("Transactions that get into each other's way")
struct CollisionTests {
    typealias Body =
        @Sendable (PostgresTransaction, Int, _ meet: @Sendable () async throws -> Void) async throws -> Void

    private final class Arrivals: Sendable { let number = Mutex(0) }

    /// Runs two whose first attempts meet before one goes on. Answers what they failed with, and how often they met.
    private static func collide(
        _ client: PostgresClient, _ isolation: PostgresTransaction.Isolation, retries: Int, _ body: @escaping Body
    ) async -> (errors: [PostgresError], attempts: Int) {
        let arrived = Arrivals()
        let errors = await withTaskGroup(of: PostgresError?.self) { group in
            for number in 1...2 {
                group.addTask {
                    do {
                        try await client.transaction(isolation: isolation, retries: retries) { tx in
                            try await body(tx, number) {
                                arrived.number.withLock { $0 += 1 }
                                _ = try await eventually { arrived.number.withLock { $0 >= 2 ? true : nil } }
                            }
                        }
                        return nil
                    } catch { return error as? PostgresError }
                }
            }
            return await group.reduce(into: []) { errors, error in errors += error.map { [$0] } ?? [] }
        }
        return (errors, arrived.number.withLock { $0 })
    }

    @Test("of two that look at what the other changes one is tried again, or told", arguments: [0, 3])
    func serialization(retries: Int) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 2)
        try await client.execute("CREATE TABLE doctor AS SELECT id, true AS on_duty FROM generate_series(1, 2) AS id")
        let (errors, attempts) = await Self.collide(client, .serializable, retries: retries) { tx, number, meet in
            let onDuty = try await tx.query("SELECT FROM doctor WHERE on_duty").count
            try await meet()
            // Somebody has to stay.
            if onDuty > 1 { try await tx.execute("UPDATE doctor SET on_duty = false WHERE id = \(number)") }
        }
        #expect(errors.map { $0.sqlState } == (retries == 0 ? ["40001"] : []))
        #expect(errors.allSatisfy { $0.code == .serialization && $0.isRetriable })
        #expect(retries == 0 ? attempts == 2 : attempts > 2)
        #expect(try await client.query("SELECT FROM doctor WHERE on_duty").count == 1)
        client.close()
    }

    @Test("of two that wait for each other one is tried again, or told", arguments: [0, 3])
    func deadlock(retries: Int) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 2)
        try await client.execute("CREATE TABLE t AS SELECT id, 0 AS n FROM generate_series(1, 2) AS id")
        let (errors, attempts) = await Self.collide(client, .readCommitted, retries: retries) { tx, number, meet in
            try await tx.execute("SET LOCAL deadlock_timeout = '50ms'")
            try await tx.execute("UPDATE t SET n = n + 1 WHERE id = \(number)")
            try await meet()
            try await tx.execute("UPDATE t SET n = n + 1 WHERE id = \(3 - number)")
        }
        #expect(errors.map { $0.sqlState } == (retries == 0 ? ["40P01"] : []))
        #expect(errors.allSatisfy { $0.code == .serialization && $0.isRetriable })
        #expect(retries == 0 ? attempts == 2 : attempts > 2)
        let sum = try await client.query("SELECT sum(n) AS n FROM t").first?("n", as: Int.self)
        #expect(sum == (retries == 0 ? 2 : 4))
        client.close()
    }
}
