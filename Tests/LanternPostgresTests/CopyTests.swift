import Foundation
import LanternPostgres
import Logging
import TestSupport
import Testing

@Suite("COPY in and out")
struct CopyTests {
    private struct Stop: Error {}

    /// A client of one connection, with a table of numbers.
    private static func client(statementTimeout: Duration = .seconds(60)) async throws -> PostgresClient {
        var configuration = PostgresConfiguration(url: try await TestCluster.shared.database(), applicationName: "test")
        configuration.maximumConnections = 1
        configuration.statementTimeout = statementTimeout
        let client = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
        try await client.execute("CREATE TABLE t (n bigint CONSTRAINT once PRIMARY KEY, word text)")
        return client
    }

    private static func process(_ client: PostgresClient) async throws -> Int {
        try await client.query("SELECT pg_backend_pid() AS pid").first.map { try $0("pid") } ?? 0
    }

    private static func count(_ client: PostgresClient) async throws -> Int {
        try await client.query("SELECT FROM t").count
    }

    /// All that a COPY writes.
    private static func text(_ client: PostgresClient, _ sql: SQL) async throws -> String {
        let bytes = try await client.copyOut(sql) { pieces in
            var bytes: [UInt8] = []
            for try await piece in pieces { bytes += piece }
            return bytes
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    // MARK: - Values

    private static let hostile: [String?] = [
        "", " ", nil, "NULL", "\\N", "\\", "\\\\", "\\.", "\\.\n", "a\\", "\t", "a\tb", "\n", "a\nb", "\r", "a\r\nb",
        "\\t", "\\n", "\u{1}\u{8}\u{B}\u{C}\u{1B}\u{7F}", "'", "\"", "a,b", "{a,\"b\"}", "e\u{301}", "\u{301}",
        "\u{FEFF}",
        "\u{2028}", "🏮👩‍👩‍👧", "\u{10FFFF}", String(repeating: "\\\t", count: 100_000),
    ]

    @Test("texts come back byte by byte, alone and in arrays")
    func texts() async throws {
        let client = try await Self.client()
        try await client.execute("CREATE TABLE x (n bigint, word text, list text[])")
        let count = try await client.copyIn("x", columns: ["n", "word", "list"]) { rows in
            for (n, word) in Self.hostile.enumerated() { try await rows.write(n, word, [word, nil, "a", word]) }
        }
        #expect(count == Self.hostile.count)
        let found = try await client.query("SELECT word, list FROM x ORDER BY n")
        #expect(found.count == Self.hostile.count)
        // Characters may be equal whose bytes are not.
        func bytes(_ text: String?) -> [UInt8]? { text.map { Array($0.utf8) } }
        for (word, row) in zip(Self.hostile, found) {
            #expect(try bytes(row("word", as: String?.self)) == bytes(word))
            #expect(try row("list", as: [String?].self).map { bytes($0) } == [word, nil, "a", word].map { bytes($0) })
        }
        client.close()
    }

    @Test("values of every type come back as they were, and so does their NULL")
    func types() async throws {
        let client = try await Self.client()
        try await client.execute(
            """
            CREATE TABLE x (
              long bigint, int integer, short smallint, double double precision, single real, flag boolean, id uuid,
              bytes bytea, time timestamptz, exact numeric, numbers bigint[], square bigint[], times timestamptz[]
            )
            """
        )
        let id = UUID()
        let bytes = PostgresBytes(0...255)
        let times = [
            PostgresTime.infinity, .negativeInfinity, try #require(PostgresTime("2024-02-29 23:59:59.999999+00")),
            try #require(PostgresTime("0044-03-15 00:00:00+00 BC")),
            try #require(PostgresTime("294276-12-31 00:00:00+00")),
        ]
        let exact = try #require(PostgresNumeric("-123456789012345678901234567890.0000100"))
        let square = try #require(PostgresArray(dimensions: [2, 2], elements: [1, nil, 3, 4]))
        let names = [
            "long", "int", "short", "double", "single", "flag", "id", "bytes", "time", "exact", "numbers", "square",
            "times",
        ]
        try await client.copyIn("x", columns: names) { rows in
            for time in times {
                try await rows.write(
                    Int.min, Int32.max, Int16.min, 0.1, -Float.infinity, true, id, bytes, time, exact, [Int](), square,
                    times)
            }
            try await rows.write(
                nil as Int?, nil as Int32?, nil as Int16?, nil as Double?, nil as Float?, nil as Bool?, nil as UUID?,
                nil as PostgresBytes?, nil as PostgresTime?, nil as PostgresNumeric?, nil as [Int]?, nil as [Int]?,
                nil as [PostgresTime]?)
        }
        let found = try await client.query("SELECT * FROM x")
        try #require(found.count == times.count + 1)
        for (time, row) in zip(times, found) {
            #expect(try row("long", as: Int.self) == .min && row("int", as: Int32.self) == .max)
            #expect(try row("short", as: Int16.self) == .min && row("double", as: Double.self) == 0.1)
            #expect(try row("single", as: Float.self) == -.infinity && row("flag", as: Bool.self))
            #expect(try row("id", as: UUID.self) == id && row("bytes", as: PostgresBytes.self) == bytes)
            #expect(try row("time", as: PostgresTime.self) == time && row("exact", as: PostgresNumeric.self) == exact)
            #expect(try row("numbers", as: [Int].self).isEmpty)
            #expect(try row("square", as: PostgresArray<Int?>.self) == square)
            #expect(try row("times", as: [PostgresTime].self) == times)
        }
        for name in names { #expect(try found[times.count].cell(name).isNull) }
        client.close()
    }

    @Test("what COPY writes comes as the server writes it")
    func out() async throws {
        let client = try await Self.client()
        let sql: SQL = """
            COPY (
              SELECT 1, E'a\\tb\\\\c\\b\\f\\r\\nd', NULL, '', E'\\\\.', 'ä🏮', true, '{a,NULL}'::text[], '\\x00ff'::bytea,
                     'infinity'::timestamptz, 1.50
              UNION ALL
              SELECT 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2024-02-29 12:00:00+00', NULL
            ) TO STDOUT
            """
        let nulls = String(repeating: "\t\\N", count: 8)
        let written = """
            1\ta\\tb\\\\c\\b\\f\\r\\nd\t\\N\t\t\\\\.\tä🏮\tt\t{a,NULL}\t\\\\x00ff\tinfinity\t1.50
            2\(nulls)\t2024-02-29 12:00:00+00\t\\N

            """
        #expect(try await Self.text(client, sql) == written)
        #expect(
            try await Self.text(client, "COPY (SELECT 1 AS a, 'x,\"y\"' AS b) TO STDOUT (FORMAT csv, HEADER)")
                == "a,b\n1,\"x,\"\"y\"\"\"\n")
        #expect(try await Self.text(client, "COPY t TO STDOUT").isEmpty)
        client.close()
    }

    @Test("a hundred thousand rows go in and come out; and none are none")
    func many() async throws {
        let client = try await Self.client()
        #expect(try await client.copyIn("t", columns: ["n"]) { _ in } == 0)
        let count = try await client.copyIn("t", columns: ["n", "word"]) { rows in
            for n in 1...100_000 { try await rows.write(n, "number \(n)") }
        }
        #expect(count == 100_000)
        #expect(try await client.query("SELECT FROM t WHERE word = 'number ' || n").count == 100_000)
        let text = try await Self.text(client, "COPY (SELECT n, word FROM t ORDER BY n) TO STDOUT")
        let lines = text.split(separator: "\n")
        #expect(lines.count == 100_000 && lines.first == "1\tnumber 1" && lines.last == "100000\tnumber 100000")
        client.close()
    }

    @Test("names are quoted, with their schema")
    func names() async throws {
        let client = try await Self.client()
        let columns = ["The \"Key\"", "select", "UPPER", "ä b", "a.b", "\""]
        let list = columns.map { "\"\($0.replacing("\"", with: "\"\""))\" text" }.joined(separator: ", ")
        let table = "\"My \"\"Schema\".\"Order \"\"Lines\""
        try await client.execute(SQL(unchecked: "CREATE SCHEMA \"My \"\"Schema\" CREATE TABLE \(table) (\(list))"))
        try await client.copyIn("My \"Schema.Order \"Lines", columns: columns) { rows in
            try await rows.write("a", "b", "c", "d", "e", "f")
        }
        let row = try await client.query(SQL(unchecked: "SELECT * FROM \(table)")).first
        for (column, value) in zip(columns, ["a", "b", "c", "d", "e", "f"]) {
            #expect(try row?(column, as: String.self) == value)
        }
        client.close()
    }

    // MARK: - Failures

    @Test("a body that throws leaves nothing behind, whatever was sent, and the connection is the same")
    func bodyThrows() async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        for count in [0, 1, 50_000] {
            await #expect(throws: Stop.self) {
                try await client.copyIn("t", columns: ["n", "word"]) { rows in
                    for n in 0..<count { try await rows.write(n, "a word of some length") }
                    throw Stop()
                }
            }
            #expect(try await Self.count(client) == 0)
        }
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test("what the server refuses is a typed error, all is undone, and the connection is the same")
    func refused() async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        let twice = await #expect(throws: PostgresError.self) {
            try await client.copyIn("t", columns: ["n", "word"]) { rows in
                for n in 1...50_000 { try await rows.write(n == 500 ? 499 : n, "a word of some length") }
            }
        }
        #expect(twice?.code == .uniqueViolation && twice?.constraint == "once" && twice?.table == "t")
        let type = await #expect(throws: PostgresError.self) {
            try await client.copyIn("t", columns: ["n"]) { rows in try await rows.write("marked-secret") }
        }
        #expect(type?.sqlState == "22P02" && String(describing: type).contains("marked-secret") == false)
        let few = await #expect(throws: PostgresError.self) {
            try await client.copyIn("t", columns: ["n", "word"]) { try await $0.write(1) }
        }
        #expect(few?.sqlState == "22P04")
        let name = await #expect(throws: PostgresError.self) {
            try await client.copyIn("t", columns: ["nothing"]) { _ in Issue.record("it was opened") }
        }
        #expect(name?.sqlState == "42703")
        #expect(try await Self.count(client) == 0)
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test("a row whose text holds NUL is refused, and the next one goes")
    func nul() async throws {
        let client = try await Self.client()
        let count = try await client.copyIn("t", columns: ["n", "word"]) { rows in
            try await rows.write(1, "first")
            let error = await #expect(throws: PostgresError.self) { try await rows.write(2, "\\marked\0secret") }
            #expect(error?.code == .invalidParameter && String(describing: error).contains("marked") == false)
            await #expect(throws: PostgresError.self) { try await rows.write(3, ["a", "\0"]) }
            try await rows.write(4, "last")
        }
        let error = await #expect(throws: PostgresError.self) {
            try await client.copyIn("t", columns: ["n", "word"]) { rows in
                for word in ["before", "\0"] { try await rows.write(5, word) }
            }
        }
        #expect(error?.code == .invalidParameter && count == 2)
        #expect(try await client.query("SELECT word FROM t ORDER BY n").map { try $0("word") } == ["first", "last"])
        client.close()
    }

    // MARK: - In a transaction

    @Test("belongs to its transaction, and one that fails can be undone alone")
    func transaction() async throws {
        let client = try await Self.client()
        await #expect(throws: Stop.self) {
            try await client.transaction { tx in
                try await tx.copyIn("t", columns: ["n"]) { rows in for n in 1...1_000 { try await rows.write(n) } }
                if try await tx.query("SELECT FROM t").count == 1_000 { throw Stop() }
            }
        }
        #expect(try await Self.count(client) == 0)
        try await client.transaction { tx in
            try await tx.execute("INSERT INTO t VALUES (1)")
            let error = await #expect(throws: PostgresError.self) {
                try await tx.savepoint { try await tx.copyIn("t", columns: ["n"]) { try await $0.write(1) } }
            }
            #expect(error?.code == .uniqueViolation)
            #expect(try await tx.copyIn("t", columns: ["n"]) { try await $0.write(2) } == 1)
        }
        #expect(try await Self.count(client) == 2)
        client.close()
    }

    // MARK: - Out

    @Test("what is not read is given up, an error comes in its place, and the connection is the same")
    func outEnds() async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        for count in 0...3 {
            let found = try await client.copyOut("COPY (SELECT generate_series(1, 1000000)) TO STDOUT") { pieces in
                try await pieces.prefix(count).reduce(0) { found, _ in found + 1 }
            }
            #expect(found == count)
            #expect(try await Self.process(client) == process)
        }
        let error = await #expect(throws: PostgresError.self) {
            try await Self.text(client, "COPY (SELECT 1 / (n - 100000) FROM generate_series(1, 200000) AS n) TO STDOUT")
        }
        #expect(error?.sqlState == "22012")
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test(
        "a statement that is no COPY out is refused, does nothing, and the connection is the same",
        arguments: ["SELECT 1", "", "INSERT INTO t VALUES (1)", "BEGIN", "COPY t FROM STDIN", "SELEC"] as [SQL])
    func noCopy(sql: SQL) async throws {
        let client = try await Self.client(statementTimeout: .seconds(2))
        let process = try await Self.process(client)
        await #expect(throws: PostgresError.self) { try await Self.text(client, sql) }
        #expect(try await Self.process(client) == process)
        #expect(try await Self.count(client) == 0)
        client.close()
    }
}
