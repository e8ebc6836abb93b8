import LanternPostgres
import Synchronization
import TestSupport
import Testing

@Suite("Statements against a real PostgreSQL")
struct StatementTests {
    private static let isolations: [PostgresTransaction.Isolation] = [.readCommitted, .repeatableRead, .serializable]

    /// Which process serves a client of one connection.
    private static func process(_ client: PostgresClient) async throws -> Int {
        let row = try #require(try await client.query("SELECT pg_backend_pid() AS pid").first)
        return try row("pid")
    }

    @Test("how many rows a statement changed is answered")
    func counts() async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        #expect(try await client.execute("CREATE TABLE t (n bigint PRIMARY KEY, m bigint)") == 0)
        #expect(try await client.execute("INSERT INTO t SELECT n, 0 FROM generate_series(1, 10) AS n") == 10)
        #expect(try await client.execute("INSERT INTO t VALUES (1, 0) ON CONFLICT DO NOTHING") == 0)
        #expect(try await client.execute("UPDATE t SET m = n WHERE n > \(7)") == 3)
        #expect(try await client.execute("UPDATE t SET m = n WHERE n > \(70)") == 0)
        #expect(try await client.execute("SELECT FROM t WHERE m > \(0)") == 3)
        #expect(try await client.execute("DELETE FROM t WHERE n = ANY(\([1, 2, 99]))") == 2)
        let merged = try await client.execute(
            """
            MERGE INTO t USING (VALUES (3), (100)) AS s (n) ON t.n = s.n
            WHEN MATCHED THEN UPDATE SET m = 1 WHEN NOT MATCHED THEN INSERT VALUES (s.n, 1)
            """
        )
        #expect(merged == 2)
        client.close()
    }

    @Test("a batch answers its results in order, at the isolation it is told", arguments: Self.isolations)
    func batch(isolation: PostgresTransaction.Isolation) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        try await client.execute("CREATE TABLE t (n bigint)")
        // Unprepared, being prepared, and prepared.
        for _ in 1...3 {
            let results = try await client.batch(
                [
                    "INSERT INTO t SELECT generate_series(1, \(3))", "SELECT n FROM t ORDER BY n",
                    "SHOW transaction_isolation", "DELETE FROM t WHERE n < \(3)", "DELETE FROM t",
                ],
                isolation: isolation)
            try #require(results.count == 5)
            #expect(results[0].affectedRows == 3)
            #expect(try results[1].map { try $0("n", as: Int.self) } == [1, 2, 3])
            #expect(
                try results[2].first?("transaction_isolation", as: String.self) == isolation.rawValue.lowercased())
            #expect(results[3].affectedRows == 2)
            #expect(results[4].affectedRows == 1)
        }
        #expect(try await client.batch([], isolation: isolation).isEmpty)
        client.close()
    }

    @Test("a batch is all or none: what fails in it undoes those before", arguments: Self.isolations)
    func failingBatch(isolation: PostgresTransaction.Isolation) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        try await client.execute("CREATE TABLE t (n bigint PRIMARY KEY)")
        let process = try await Self.process(client)
        for _ in 1...3 {
            let error = await #expect(throws: PostgresError.self) {
                try await client.batch(
                    [
                        "INSERT INTO t VALUES (\(1))", "INSERT INTO t VALUES (\(2))", "INSERT INTO t VALUES (\(1))",
                        "INSERT INTO t VALUES (\(3))", "SELECT no_such_function()",
                    ],
                    isolation: isolation)
            }
            #expect(error?.code == .uniqueViolation)
            #expect(try await client.query("SELECT FROM t").isEmpty)
        }
        #expect(try await client.batch(["INSERT INTO t VALUES (4)"], isolation: isolation).first?.affectedRows == 1)
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test("a constraint that is looked at when committing fails what would commit", arguments: Self.isolations)
    func deferred(isolation: PostgresTransaction.Isolation) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        try await client.execute("CREATE TABLE t (n bigint CONSTRAINT once UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        let twice: SQL = "INSERT INTO t VALUES (1), (1)"
        let error = await #expect(throws: PostgresError.self) { try await client.batch([twice], isolation: isolation) }
        let alone = await #expect(throws: PostgresError.self) { try await client.execute(twice) }
        for error in [error, alone] { #expect(error?.code == .uniqueViolation && error?.constraint == "once") }
        #expect(try await client.query("SELECT FROM t").isEmpty)
        client.close()
    }

    // MARK: - Statements that have a method of their own

    @Test(
        "a statement that has a method of its own is refused, and told which",
        arguments: [
            ("BEGIN", "transaction("), ("begin isolation level serializable", "transaction("),
            ("START TRANSACTION", "transaction("), ("COMMIT", "transaction("), ("END", "transaction("),
            ("ROLLBACK", "transaction("), ("ABORT", "transaction("), ("  \n\tBEGIN;", "transaction("),
            ("SAVEPOINT a", "savepoint("), ("RELEASE SAVEPOINT a", "savepoint("),
            ("COPY t TO STDOUT", "copyOut("), ("COPY t FROM STDIN", "copyIn("),
            ("LISTEN a", "NotificationChannel"), ("UNLISTEN *", "NotificationChannel"),
            ("/* In one */ BEGIN", "transaction("), ("-- In one\nBEGIN", "transaction("),
        ]
    )
    func wrongMethod(text: String, method: String) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        try await client.execute("CREATE TABLE t (n bigint)")
        let process = try await Self.process(client)
        for sql in [SQL(stringLiteral: text), SQL(unchecked: text)] {
            let errors = [
                await #expect(throws: PostgresError.self) { try await client.query(sql) },
                await #expect(throws: PostgresError.self) { try await client.execute(sql) },
                await #expect(throws: PostgresError.self) {
                    try await client.batch(["INSERT INTO t VALUES (1)", sql])
                },
                await #expect(throws: PostgresError.self) { try await client.stream(sql) { _ in } },
            ]
            for error in errors {
                #expect(error?.code == .wrongMethod)
                #expect(error?.message.contains(method) == true, "\(error?.message ?? "")")
            }
            // In a transaction as well, which goes on.
            try await client.transaction { tx in
                try await tx.execute("INSERT INTO t VALUES (2)")
                let error = await #expect(throws: PostgresError.self) { try await tx.query(sql) }
                #expect(error?.code == .wrongMethod)
                try await tx.execute("DELETE FROM t")
            }
        }
        #expect(try await client.query("SELECT FROM t").isEmpty)
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test(
        "a word in a comment is no statement",
        arguments: [
            "-- Copy of another\nSELECT 1 AS one", "/* Begin, commit */ SELECT 1 AS one",
            "-- End of the day: it's (\nSELECT 1 AS one",
        ] as [SQL]
    )
    func comments(sql: SQL) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        #expect(try await client.query(sql).first?("one", as: Int.self) == 1)
        client.close()
    }
}

@Suite("What a statement was refused for")
struct StatementErrorTests {
    /// All that a log line, an assertion or a debugger writes of an error.
    private static func everything(of error: PostgresError) -> String {
        var dumped = ""
        dump(error, to: &dumped)
        return [
            error.description, error.debugDescription, error.message, "\(error)", String(reflecting: error), dumped,
        ].joined()
    }

    /// Three times: unprepared, being prepared, prepared.
    private static func errors(_ client: PostgresClient, _ sql: SQL) async throws -> [PostgresError] {
        var errors: [PostgresError] = []
        for _ in 1...3 {
            errors.append(try #require(await #expect(throws: PostgresError.self) { try await client.execute(sql) }))
        }
        return errors
    }

    @Test(
        "a violation names its constraint and table; what was sent is told in the detail, and nowhere else",
        arguments: [
            (
                "INSERT INTO child VALUES (\("marked-secret"), NULL, 'n')", .uniqueViolation, "23505", "one_word"
            ),
            (
                "INSERT INTO child VALUES ('b', \("marked-secret"), 'n')", .foreignKeyViolation, "23503", "known_owner"
            ),
            (
                "INSERT INTO child VALUES ('b', NULL, repeat(\("marked-secret"), 3))", .checkViolation, "23514",
                "short_note"
            ),
            ("INSERT INTO child VALUES (\("a marked-secret"), NULL, NULL)", .notNullViolation, "23502", nil),
            (
                "INSERT INTO child VALUES ('b', NULL, \("the marked-secret"))", .exclusionViolation, "23P01", "one_note"
            ),
        ] as [(SQL, PostgresError.Code, String, String?)]
    )
    func violations(sql: SQL, code: PostgresError.Code, sqlState: String, constraint: String?) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        try await client.batch([
            "CREATE TABLE parent (word text PRIMARY KEY)",
            """
            CREATE TABLE child (
              word  text CONSTRAINT one_word PRIMARY KEY,
              owner text CONSTRAINT known_owner REFERENCES parent,
              note  text NOT NULL CONSTRAINT short_note CHECK (length(note) < 30),
              CONSTRAINT one_note EXCLUDE USING btree (note WITH =)
            )
            """,
            "INSERT INTO child VALUES (\("marked-secret"), NULL, \("the marked-secret"))",
        ])
        for error in try await Self.errors(client, sql) {
            #expect(error.code == code && error.sqlState == sqlState)
            #expect(error.constraint == constraint && error.table == "child")
            #expect(error.detail?.contains("marked-secret") == true && error.isDataError)
            #expect(!Self.everything(of: error).contains("marked-secret"))
        }
        #expect(try await client.query("SELECT FROM child").count == 1)
        client.close()
    }

    @Test("an error in the text says where, and what to do about it where the server knows")
    func positions() async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        try await client.execute("CREATE TABLE t (word text)")
        // In characters, not in bytes.
        for error in try await Self.errors(client, "SELECT 'äöü🏮' FROM FROM t WHERE word = \("a")") {
            #expect(error.code == .server && error.sqlState == "42601" && error.position == 20)
            #expect(error.hint == nil && error.constraint == nil && error.table == nil && error.detail == nil)
            #expect(error.description.contains("42601") && error.description.contains("syntax error"))
            #expect(!error.isDataError && !error.isRetriable)
        }
        for error in try await Self.errors(client, "SELECT wrd FROM t") {
            #expect(error.code == .server && error.sqlState == "42703" && error.position == 8)
            #expect(error.hint?.contains("\"t.word\"") == true)
        }
        client.close()
    }

    @Test("a value that the server repeats is told in the detail only")
    func masked() async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        for error in try await Self.errors(client, "SELECT \("marked-secret")::bigint") {
            #expect(error.code == .server && error.sqlState == "22P02" && error.isDataError)
            #expect(error.message == "invalid input syntax for type bigint: ***")
            #expect(error.detail == "invalid input syntax for type bigint: \"marked-secret\"")
            #expect(!Self.everything(of: error).contains("marked-secret"))
        }
        client.close()
    }

    // What a value is parsed as has its own errors of class 42, which are those of a statement's text otherwise.
    @Test(
        "so is one that is no text of the language it is written in",
        arguments: ["SELECT to_tsquery(\("marked secret"))", "SELECT \("marked-secret")::regclass"] as [SQL])
    func maskedLanguages(sql: SQL) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        for error in try await Self.errors(client, sql) { #expect(!Self.everything(of: error).contains("marked")) }
        client.close()
    }

    @Test(
        "a lock that is not to be had is told apart, and not tried again",
        arguments: ["SELECT FROM t FOR UPDATE NOWAIT", "LOCK TABLE t NOWAIT", "SELECT FROM t FOR UPDATE"])
    func lockNotAvailable(text: String) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 2)
        try await client.execute("CREATE TABLE t AS SELECT 0 AS n")
        let attempts = Mutex(0)
        try await client.transaction { holder in
            try await holder.execute("UPDATE t SET n = 1")
            let error = await #expect(throws: PostgresError.self) {
                try await client.transaction { tx in
                    attempts.withLock { $0 += 1 }
                    try await tx.batch(["SET LOCAL lock_timeout = '50ms'", SQL(stringLiteral: text)])
                }
            }
            #expect(error?.code == .lockNotAvailable && error?.sqlState == "55P03")
        }
        #expect(attempts.withLock { $0 } == 1)
        client.close()
    }

    @Test("a transaction that collides again and again is an error after its last attempt", arguments: [0, 2])
    func exhausted(retries: Int) async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 2)
        try await client.execute("CREATE TABLE t AS SELECT 0 AS n")
        let error = await #expect(throws: PostgresError.self) {
            try await client.transaction(isolation: .repeatableRead, retries: retries) { tx in
                try await tx.query("SELECT FROM t")
                try await client.execute("UPDATE t SET n = n + 1")
                try await tx.execute("UPDATE t SET n = n + 1")
            }
        }
        #expect(error?.code == .serialization && error?.sqlState == "40001")
        // Once for each attempt, by the other.
        #expect(try await client.query("SELECT n FROM t").first?("n", as: Int.self) == retries + 1)
        client.close()
    }
}
