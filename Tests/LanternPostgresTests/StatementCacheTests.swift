import LanternPostgres
import Logging
import Synchronization
import TestSupport
import Testing

@Suite("Prepared statements against a real PostgreSQL")
struct StatementCacheTests {
    /// A client of one connection.
    private static func client(size: Int = 256) async throws -> PostgresClient {
        var configuration = PostgresConfiguration(url: try await TestCluster.shared.database(), applicationName: "test")
        configuration.maximumConnections = 1
        configuration.statementCacheSize = size
        return PostgresClient(configuration: configuration, logger: Logger(label: "test"))
    }

    private static let look = SQL(unchecked: "SELECT statement FROM pg_prepared_statements ORDER BY prepare_time, name")

    /// What is prepared on the server, seen by a statement that is not.
    private static func prepared(_ client: PostgresClient) async throws -> [String] {
        try await client.query(Self.look).map { try $0("statement", as: String.self) }
    }

    private static func process(_ client: PostgresClient) async throws -> Int {
        try await client.query(SQL(unchecked: "SELECT pg_backend_pid() AS pid")).first.map { try $0("pid") } ?? 0
    }

    /// A statement of its own text, which answers its number.
    private static func statement(_ number: Int) -> SQL { SQL(stringLiteral: "SELECT \(number) AS x") }

    // MARK: - What is prepared

    @Test("a statement is prepared when it comes the second time, once")
    func secondUse() async throws {
        let client = try await Self.client()
        for use in 1...5 {
            #expect(try await client.query("SELECT \(use) AS x").first?("x", as: Int.self) == use)
            #expect(try await Self.prepared(client) == (use == 1 ? [] : ["SELECT $1 AS x"]))
        }
        // In a transaction that is undone it stays.
        struct Stop: Error {}
        await #expect(throws: Stop.self) {
            try await client.transaction { tx in
                for use in 1...2 { try await tx.query("SELECT \(use) AS y") }
                throw Stop()
            }
        }
        #expect(try await client.query("SELECT \(7) AS y").first?("y", as: Int.self) == 7)
        #expect(try await Self.prepared(client).filter { $0 == "SELECT $1 AS y" }.count == 1)
        client.close()
    }

    @Test("no more are kept on the server than told, and those used last")
    func bounded() async throws {
        let client = try await Self.client(size: 4)
        for _ in 1...2 {
            for number in 1...20 {
                for _ in 1...2 {
                    #expect(try await client.query(Self.statement(number)).first?("x", as: Int.self) == number)
                }
                #expect(try await Self.prepared(client).count <= 5)
            }
        }
        for number in [17, 18, 19, 20, 17, 21, 21] { try await client.query(Self.statement(number)) }
        let kept = try await Self.prepared(client)
        #expect(Set(kept) == Set([17, 19, 20, 21].map { Self.statement($0).text }))
        client.close()
    }

    @Test("nor where all are asked in transactions, or in one batch")
    func boundedInTransactions() async throws {
        let client = try await Self.client(size: 4)
        for number in 1...20 {
            for _ in 1...2 { _ = try await client.transaction { tx in try await tx.query(Self.statement(number)) } }
        }
        let kept = try await client.transaction { tx in try await tx.query(Self.look).count }
        #expect(kept <= 5)
        for _ in 1...3 {
            let results = try await client.batch((1...20).map { Self.statement($0) })
            #expect(try results.map { try $0.first?("x", as: Int.self) } == Array(1...20))
        }
        _ = try await Self.prepared(client)
        #expect(try await Self.prepared(client).count <= 5)
        client.close()
    }

    @Test("what the program does not write out is never prepared, and nothing where none are kept")
    func unprepared() async throws {
        let client = try await Self.client()
        let none = try await Self.client(size: 0)
        var appended: SQL = "SELECT \(1)"
        appended.append(SQL(unchecked: " AS x"))
        for _ in 1...4 {
            try await client.query(SQL(unchecked: "SELECT 1 AS x"))
            try await client.query("SELECT \(2) AS \(SQL(unchecked: "x"))")
            try await client.query(appended)
            try await client.batch([SQL(unchecked: "SELECT 1 AS x"), appended])
            #expect(try await Self.prepared(client).isEmpty)
            #expect(try await none.query("SELECT \(3) AS x").first?("x", as: Int.self) == 3)
            #expect(try await none.transaction { tx in try await tx.query("SELECT \(3) AS x") }.count == 1)
            #expect(try await Self.prepared(none).isEmpty)
        }
        client.close()
        none.close()
    }

    @Test("the same text with values of other types works, whichever came first")
    func types() async throws {
        let client = try await Self.client()
        for round in 1...3 {
            #expect(try await client.query("SELECT \(round) AS x").first?("x", as: Int.self) == round)
            #expect(try await client.query("SELECT \("text") AS x").first?("x", as: String.self) == "text")
            #expect(try await client.query("SELECT \(Int32(7)) AS x").first?("x", as: Int32.self) == 7)
            #expect(try await client.query("SELECT \([1, 2]) AS x").first?("x", as: [Int].self) == [1, 2])
            #expect(try await client.query("SELECT \(nil as Bool?) AS x").first?("x", as: Bool?.self) == .some(nil))
        }
        #expect(try await Self.prepared(client) == ["SELECT $1 AS x"])
        client.close()
    }

    // MARK: - What is gone or another by now

    @Test("what somebody deallocated is prepared anew", arguments: ["DISCARD ALL", "DEALLOCATE ALL"])
    func deallocated(command: String) async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        try await client.execute("CREATE TABLE t (n bigint)")
        for _ in 1...3 {
            for _ in 1...3 {
                #expect(try await client.query("SELECT \(1) AS x").first?("x", as: Int.self) == 1)
                #expect(try await client.batch(["INSERT INTO t VALUES (\(1))", "SELECT \(2) AS y"]).count == 2)
            }
            #expect(try await Self.prepared(client).count == 3)
            try await client.execute(SQL(unchecked: command))
        }
        // Once each, however often they were sent.
        #expect(try await client.query("SELECT FROM t").count == 9)
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test(
        "in a transaction that is an error, and the whole is tried again", arguments: ["DISCARD ALL", "DEALLOCATE ALL"])
    func deallocatedInTransaction(command: String) async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        try await client.execute("CREATE TABLE t (n bigint)")
        let attempts = Mutex(0)
        let body = { @Sendable (tx: PostgresTransaction) -> Int in
            attempts.withLock { $0 += 1 }
            return try await tx.execute("INSERT INTO t VALUES (\(1))")
        }
        for _ in 1...3 { _ = try await client.transaction(body) }
        try await client.execute(SQL(unchecked: command))
        let error = await #expect(throws: PostgresError.self) { try await client.transaction(retries: 0, body) }
        #expect(error?.code == .stalePlan && error?.isRetriable == true)
        for _ in 1...3 { _ = try await client.transaction(body) }
        try await client.execute(SQL(unchecked: command))
        attempts.withLock { $0 = 0 }
        #expect(try await client.transaction(body) == 1)
        #expect(attempts.withLock { $0 } == 2)
        #expect(try await client.query("SELECT FROM t").count == 7)
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test("a transaction may deallocate all itself, and commits once")
    func deallocatedWithin() async throws {
        let client = try await Self.client()
        try await client.execute("CREATE TABLE t (n bigint)")
        for number in 1...5 {
            try await client.transaction { tx in
                try await tx.execute("INSERT INTO t VALUES (\(number))")
                try await tx.execute(SQL(unchecked: "DEALLOCATE ALL"))
            }
        }
        #expect(
            try await client.query("SELECT n FROM t").map { try $0("n", as: Int.self) }.sorted() == [1, 2, 3, 4, 5])
        client.close()
    }

    @Test("a table that changes is followed, and what was prepared before is not left behind")
    func changedTable() async throws {
        let client = try await Self.client()
        try await client.batch(["CREATE TABLE t (n bigint)", "INSERT INTO t VALUES (1)"])
        let all: SQL = "SELECT * FROM t WHERE n::text = \("1")"
        for _ in 1...3 { #expect(try await client.query(all).first?.columns == ["n"]) }
        for column in ["a", "b", "c", "d", "e"] {
            try await client.execute(SQL(unchecked: "ALTER TABLE t ADD COLUMN \(column) text DEFAULT '\(column)'"))
            for _ in 1...3 { #expect(try await client.query(all).first?(column, as: String.self) == column) }
        }
        try await client.execute("ALTER TABLE t ALTER COLUMN n TYPE text USING 'number ' || n")
        let number: SQL = "SELECT n FROM t"
        for _ in 1...3 { #expect(try await client.query(number).first?("n", as: String.self) == "number 1") }
        try await client.execute("ALTER TABLE t ALTER COLUMN n TYPE bigint USING 1")
        for _ in 1...3 { #expect(try await client.query(number).first?("n", as: Int.self) == 1) }
        let attempts = Mutex(0)
        try await client.execute("ALTER TABLE t DROP COLUMN e")
        let columns = try await client.transaction { tx in
            attempts.withLock { $0 += 1 }
            return try await tx.query(all).first?.columns
        }
        #expect(columns == ["n", "a", "b", "c", "d"] && attempts.withLock { $0 } == 2)
        #expect(try await Self.prepared(client).filter { $0 == all.text }.count <= 1)
        client.close()
    }

    // MARK: - What cannot be prepared

    @Test("an error is the same each time", arguments: ["SELEC \(1) AS x", "SELECT \(1) FROM nowhere"] as [SQL])
    func errors(sql: SQL) async throws {
        let client = try await Self.client()
        var errors: [PostgresError] = []
        for _ in 1...5 {
            errors.append(try #require(await #expect(throws: PostgresError.self) { try await client.query(sql) }))
        }
        #expect(Set(errors.map { "\($0.description) \($0.position ?? 0)" }).count == 1)
        #expect(errors.allSatisfy { $0.code == .server && $0.sqlState?.hasPrefix("42") == true && $0.position != nil })
        #expect(try await Self.prepared(client).isEmpty)
        // What was missing may come.
        try await client.execute("CREATE TABLE nowhere ()")
        if sql.text.hasPrefix("SELECT") { for _ in 1...3 { #expect(try await client.query(sql).isEmpty) } }
        client.close()
    }

    // MARK: - Many at once

    /// What became of many uses of one statement that nobody asked before.
    private static func atOnce(_ client: PostgresClient, _ sql: @escaping @Sendable (Int) -> SQL) async -> [String] {
        await withTaskGroup(of: String.self) { group in
            for number in 1...200 {
                group.addTask {
                    do {
                        let value = try await client.query(sql(number)).first?("x", as: Int.self)
                        return value == number ? "right" : "\(value ?? 0) for \(number)"
                    } catch { return "\(error)" }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
    }

    @Test("many tasks that use a new statement at once are all answered, and it is prepared once")
    func manyAtOnce() async throws {
        let client = try await Self.client()
        let outcomes = await Self.atOnce(client) { "SELECT \($0) AS x" }
        #expect(outcomes.count == 200 && Set(outcomes) == ["right"])
        #expect(try await Self.prepared(client) == ["SELECT $1 AS x"])
        client.close()
    }

    @Test("many tasks that use at once what cannot be prepared are all told why, and the others stay as they are")
    func manyErrorsAtOnce() async throws {
        let client = try await Self.client()
        for round in 1...4 {
            for number in 1...30 { try await client.query(Self.statement(number % 10)) }
            let outcomes = await Self.atOnce(client) { "SELECT \($0) AS x FROM nowhere" }
            #expect(Set(outcomes) == ["PostgreSQL server 42P01: relation \"nowhere\" does not exist"])
            #expect(try await Self.prepared(client).count == 10, "in round \(round)")
        }
        client.close()
    }
}
