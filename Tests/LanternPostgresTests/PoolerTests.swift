import Foundation
import Glibc
import LanternLocal
import LanternPostgres
import Logging
import Synchronization
import TestSupport
import Testing

/// A PgBouncer in transaction mode before the server of all tests, with two connections for each database. It ends with the
/// process, whatever ends that.
private actor Pooler {
    static let executable = "/usr/sbin/pgbouncer"
    static let shared = Pooler()

    private var starting: Task<(port: Int, process: ChildProcess), any Error>?

    /// The connection URIs of a new database: by the pooler, and directly. Its time is that of Tokyo.
    func database() async throws -> (pooled: String, direct: String) {
        let direct = try await TestCluster.shared.database("pooled")
        var url = try #require(URLComponents(string: direct))
        if self.starting == nil { self.starting = Task { [url] in try await Self.start(before: url) } }
        url.port = try await self.starting?.value.port
        let name = String(url.path.dropFirst())
        let client = PostgresClient.make(direct)
        try await client.execute(SQL(unchecked: "ALTER DATABASE \(name) SET timezone = 'Asia/Tokyo'"))
        client.close()
        return (try #require(url.string), direct)
    }

    private static func start(before server: URLComponents) async throws -> (port: Int, process: ChildProcess) {
        let port = try LocalPort.free()
        // The folder of the server, which the next run removes.
        let file = "/tmp/lantern-test-\(getpid())/pgbouncer"
        let configuration = """
            [databases]
            * = host=127.0.0.1 port=\(server.port ?? 0) user=\(server.user ?? "") password=\(server.password ?? "")
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = \(port)
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            default_pool_size = 2
            max_client_conn = 500
            """
        try configuration.write(toFile: "\(file).ini", atomically: true, encoding: .utf8)
        chmod("\(file).ini", 0o600)
        // PgBouncer refuses to run as root.
        let user = SystemUser.isRoot ? SystemUser(named: "postgres") ?? SystemUser(named: "nobody") : nil
        if let user { chown("\(file).ini", user.id, user.group) }
        let process = try await ChildProcess.start(
            .init(Self.executable, ["\(file).ini"], directory: "/", logFile: "\(file).log", user: user))
        let answers = try await eventually { () -> Bool? in
            if let code = process.exitCode { throw LocalError("pgbouncer ended with \(code): see \(file).log") }
            return LocalPort.isInUse(port) ? true : nil
        }
        try #require(answers == true)
        return (port, process)
    }
}

extension PostgresClient {
    fileprivate static func make(
        _ url: String, _ change: (inout PostgresConfiguration) -> Void = { _ in }
    ) -> PostgresClient {
        var configuration = PostgresConfiguration(url: url, applicationName: "test")
        change(&configuration)
        return PostgresClient(configuration: configuration, logger: Logger(label: "test"))
    }
}

@Suite(
    "Behind a transaction pooler",
    .enabled(if: FileManager.default.isExecutableFile(atPath: Pooler.executable), "needs pgbouncer"),
    .timeLimit(.minutes(5)))
struct PoolerTests {
    private static let tasks = 50

    /// A client of 50 connections to the pooler, which has two to the server, and one beside it.
    private static func clients() async throws -> (pooled: PostgresClient, direct: PostgresClient) {
        let urls = try await Pooler.shared.database()
        let pooled = PostgresClient.make(urls.pooled) { configuration in
            configuration.isPooled = true
            configuration.maximumConnections = Self.tasks
            configuration.acquireTimeout = .seconds(60)
        }
        return (pooled, PostgresClient.make(urls.direct))
    }

    private static func inTasks<Value: Sendable>(
        _ body: @escaping @Sendable (Int) async throws -> Value
    ) async throws -> [Value] {
        try await withThrowingTaskGroup(of: Value.self) { group in
            for number in 1...Self.tasks { group.addTask { try await body(number) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    /// Of every session of the server that the pooler has: whether something is prepared, its time zone and its time limit.
    private static func sessions(_ client: PostgresClient) async throws -> (processes: Set<Int>, states: Set<String>) {
        let rows = try await Self.inTasks { _ in
            let result = try await client.query(
                """
                SELECT pg_backend_pid() AS pid, concat_ws(
                  ' ', (SELECT count(*) FROM pg_prepared_statements), current_setting('TimeZone'),
                  current_setting('statement_timeout')) AS state
                """
            )
            let row = try #require(result.first)
            return try row.decode(Int.self, String.self)
        }
        return (Set(rows.map { $0.0 }), Set(rows.map { $0.1 }))
    }

    @Test("queries of many tasks are answered; nothing is prepared, each is in UTC, and no setting is left")
    func queries() async throws {
        let (client, direct) = try await Self.clients()
        let right = try await Self.inTasks { number in
            for round in 1...20 {
                let row = try await client.query("SELECT \(number) AS n, \("round \(round)") AS text").first
                guard try row?("n", as: Int.self) == number, try row?("text", as: String.self) == "round \(round)"
                else {
                    return false
                }
            }
            let results = try await client.batch([
                "SELECT \(number) AS n", "SELECT current_setting('TimeZone') AS zone",
            ])
            return try results.first?.first?("n", as: Int.self) == number
                && results.last?.first?("zone", as: String.self) == "UTC"
        }
        #expect(right == Array(repeating: true, count: Self.tasks))
        let (processes, states) = try await Self.sessions(client)
        #expect((1...2).contains(processes.count))
        #expect(states == ["0 UTC 0"])
        client.close()
        direct.close()
    }

    @Test("the hour is that of UTC, in text and as a value")
    func time() async throws {
        let (client, direct) = try await Self.clients()
        let sql: SQL =
            "SELECT '2024-02-29 12:00:00+00'::timestamptz AS time, '2024-02-29 12:00:00+00'::timestamptz::text AS text"
        let texts = try await Self.inTasks { _ in try await client.query(sql).first?("text", as: String.self) }
        #expect(Set(texts) == ["2024-02-29 12:00:00+00"])
        let times = try await Self.inTasks { _ in try await client.query(sql).first?("time", as: Timestamp.self) }
        #expect(Set(times) == [Timestamp("2024-02-29T12:00:00Z")])
        // As it would not be by itself.
        let usual = try await client.query("SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'").first
        #expect(try usual?("reset_val", as: String.self) == "Asia/Tokyo")
        client.close()
        direct.close()
    }

    @Test("transactions of many tasks stay together, with savepoints, and are undone")
    func transactions() async throws {
        struct Stop: Error {}
        let (client, direct) = try await Self.clients()
        try await direct.batch([
            "CREATE TABLE account (id bigint PRIMARY KEY, amount bigint NOT NULL)", "INSERT INTO account VALUES (1, 0)",
        ])
        let processes = try await Self.inTasks { number in
            let processes = try await client.transaction { tx in
                var processes: Set<Int> = []
                for _ in 1...3 {
                    let row = try #require(try await tx.query("SELECT pg_backend_pid() AS pid").first)
                    processes.insert(try row("pid"))
                    try await tx.execute("UPDATE account SET amount = amount + \(number) WHERE id = 1")
                }
                _ = try? await tx.savepoint { try await tx.execute("SELECT 1 / 0") }
                return processes
            }
            _ = try? await client.transaction { tx in
                try await tx.execute("UPDATE account SET amount = 0 WHERE id = 1")
                throw Stop()
            }
            return processes
        }
        #expect(processes.allSatisfy { $0.count == 1 } && Set(processes.joined()).count <= 2)
        let sum = try await direct.query("SELECT amount FROM account").first?("amount", as: Int.self)
        #expect(sum == 3 * (1...Self.tasks).reduce(0, +))
        #expect(try await Self.sessions(client).states == ["0 UTC 0"])
        client.close()
        direct.close()
    }

    @Test("streams of many tasks are read whole, and one that is left early leaves nothing behind")
    func streams() async throws {
        let (client, direct) = try await Self.clients()
        let sums = try await Self.inTasks { number in
            try await client.stream("SELECT n FROM generate_series(1, \(1_000 + number)) AS n") { rows in
                var count = 0
                for try await row in rows { count += try row("n", as: Int.self) > 0 ? 1 : 0 }
                return count - number
            }
        }
        #expect(Set(sums) == [1_000])
        for _ in 1...5 {
            let first = try await client.stream("SELECT n FROM generate_series(1, 500000) AS n") { rows in
                try await rows.first { _ in true }?("n", as: Int.self)
            }
            #expect(first == 1)
            #expect(try await client.query("SELECT 1 AS n").first?("n", as: Int.self) == 1)
        }
        #expect(try await Self.sessions(client).states == ["0 UTC 0"])
        client.close()
        direct.close()
    }

    @Test("COPY of many tasks goes in and out")
    func copies() async throws {
        let (client, direct) = try await Self.clients()
        try await direct.execute("CREATE TABLE t (n bigint, word text)")
        let counts = try await Self.inTasks { number in
            try await client.copyIn("t", columns: ["n", "word"]) { rows in
                for n in 1...1_000 { try await rows.write(n, "of \(number)") }
            }
        }
        #expect(Set(counts) == [1_000])
        let lines = try await Self.inTasks { number in
            let sql = SQL(unchecked: "COPY (SELECT n FROM t WHERE word = 'of \(number)') TO STDOUT")
            return try await client.copyOut(sql) { pieces in
                var lines = 0
                for try await piece in pieces { lines += piece.count { $0 == UInt8(ascii: "\n") } }
                return lines
            }
        }
        #expect(Set(lines) == [1_000])
        #expect(try await direct.query("SELECT FROM t").count == Self.tasks * 1_000)
        client.close()
        direct.close()
    }

    @Test("what needs a session is refused, also where nobody said that there is a pooler", arguments: [true, false])
    func sessions(isPooled: Bool) async throws {
        let urls = try await Pooler.shared.database()
        let client = PostgresClient.make(urls.pooled) { $0.isPooled = isPooled }
        let hasRun = Mutex(false)
        let errors = [
            await #expect(throws: PostgresError.self) {
                try await AdvisoryLock(client: client, name: "x").withLock { hasRun.withLock { $0 = true } }
            },
            await #expect(throws: PostgresError.self) {
                try await NotificationChannel(client: client, name: "x").withNotifications { _, _ in
                    hasRun.withLock { $0 = true }
                }
            },
            await #expect(throws: PostgresError.self) {
                try await NotificationChannel(client: client, name: "x").withSession(onNotification: { _ in }) { _ in
                    hasRun.withLock { $0 = true }
                }
            },
        ]
        for error in errors { #expect(error?.code == .pooled) }
        #expect(!hasRun.withLock { $0 })
        let direct = PostgresClient.make(urls.direct)
        #expect(try await AdvisoryLock(client: direct, name: "x").withLock { 7 } == 7)
        client.close()
        direct.close()
    }
}
