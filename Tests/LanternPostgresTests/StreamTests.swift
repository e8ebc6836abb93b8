import Foundation
import LanternPostgres
import Logging
import Synchronization
import TestSupport
import Testing

@Suite("Rows that are read as they come")
struct StreamTests {
    /// AddressSanitizer keeps what was freed: how much memory is used says nothing then.
    private static let countsMemory = ProcessInfo.processInfo.environment["ASAN_OPTIONS"] == nil

    private struct Stop: Error {}

    private static func client(
        _ change: (inout PostgresConfiguration) -> Void = { _ in }
    ) async throws -> PostgresClient {
        var configuration = PostgresConfiguration(url: try await TestCluster.shared.database(), applicationName: "test")
        configuration.maximumConnections = 1
        // Of the whole stream, which a test takes long to read when it is built for debugging.
        configuration.statementTimeout = .seconds(300)
        change(&configuration)
        return PostgresClient(configuration: configuration, logger: Logger(label: "test"))
    }

    private static func process(_ client: PostgresClient) async throws -> Int {
        try await client.query("SELECT pg_backend_pid() AS pid").first.map { try $0("pid") } ?? 0
    }

    /// Bytes of memory that this process holds (proc(5)).
    private static func resident() throws -> Int {
        let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
        return try #require(fields.dropFirst().first.flatMap { Int($0) }) * sysconf(Int32(_SC_PAGESIZE))
    }

    /// Reads column `n` of all rows.
    private static func numbers(_ rows: PostgresRowStream) async throws -> [Int] {
        var numbers: [Int] = []
        for try await row in rows { numbers.append(try row("n")) }
        return numbers
    }

    // MARK: - Memory

    @Test("a million rows take no more memory than a few", .enabled(if: Self.countsMemory))
    func constantMemory() async throws {
        let client = try await Self.client()
        func read(_ count: Int) async throws -> (rows: Int, peak: Int) {
            let sql: SQL = "SELECT n, repeat('x', 200) AS filler FROM generate_series(1, \(count)) AS n"
            return try await client.stream(sql) { rows in
                var found = 0
                var peak = 0
                for try await row in rows {
                    found += 1
                    guard found % 10_000 == 0 else { continue }
                    #expect(try row("n", as: Int.self) == found)
                    peak = max(peak, try Self.resident())
                }
                return (found, peak)
            }
        }
        // What is made once is made before it is measured.
        let before = try await read(20_000).peak
        let (rows, peak) = try await read(1_000_000)
        #expect(rows == 1_000_000 && peak - before < 40 << 20, "\((peak - before) >> 20) MiB more")
        client.close()
    }

    @Test("rows of a megabyte come one by one", .enabled(if: Self.countsMemory))
    func longRows() async throws {
        let client = try await Self.client()
        let sql: SQL = """
            SELECT n, convert_to(repeat(chr(64 + n), 1048576), 'UTF8') AS bytes FROM generate_series(1, \(Int32(20))) AS n
            """
        // In text format, and where it is prepared in binary format.
        for isPrepared in [false, true] {
            if isPrepared { for _ in 1...3 { try await client.query(sql) } }
            let before = try Self.resident()
            let lengths = try await client.stream(sql) { rows in
                var lengths: [Int] = []
                for try await row in rows {
                    let cell = try row.cell("bytes")
                    let length = cell.withBytes { $0?.count ?? 0 }
                    lengths.append(cell.format == .binary ? length : (length - 2) / 2)
                    #expect(try Self.resident() - before < 40 << 20)
                    guard try row("n", as: Int.self) == 20 else { continue }
                    #expect(try row("bytes", as: PostgresBytes.self).bytes == Array(repeating: 84, count: 1 << 20))
                }
                return lengths
            }
            #expect(lengths == Array(repeating: 1 << 20, count: 20))
        }
        client.close()
    }

    // MARK: - Ends

    @Test("what is not read is given up, and the connection is the same and usable")
    func earlyExit() async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        let many: SQL = "SELECT n FROM generate_series(1, 500000) AS n"
        for count in [0, 1, 10, 300] {
            let found = try await client.stream(many) { rows in
                try await rows.prefix(count).reduce(0) { found, _ in found + 1 }
            }
            #expect(found == count)
            #expect(try await Self.process(client) == process)
            await #expect(throws: Stop.self) {
                try await client.stream(many) { rows in
                    for try await _ in rows { throw Stop() }
                }
            }
            #expect(try await Self.process(client) == process)
        }
        // Of a few rows all are under way before anybody reads.
        let first = try await client.stream("SELECT n FROM generate_series(1, 5) AS n") { rows in
            try await rows.first { _ in true }?("n", as: Int.self)
        }
        #expect(first == 1)
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test("an error in the middle comes behind all rows before it", arguments: [1, 2, 257, 5_000])
    func failing(place: Int) async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        for _ in 1...20 {
            let found = Mutex(0)
            let error = await #expect(throws: PostgresError.self) {
                try await client.stream("SELECT 1 / (n - \(place)) AS x FROM generate_series(1, 100000) AS n") { rows in
                    for try await _ in rows { found.withLock { $0 += 1 } }
                }
            }
            #expect(error?.sqlState == "22012")
            #expect(found.withLock { $0 } == place - 1)
            #expect(try await Self.process(client) == process)
        }
        client.close()
    }

    @Test("a statement that is refused is an error of the first row")
    func refused() async throws {
        let client = try await Self.client()
        let process = try await Self.process(client)
        for (sql, state) in [("SELECT FROM nowhere" as SQL, "42P01"), ("SELEC 1", "42601"), ("SELECT \("a\0b")", nil)] {
            let error = await #expect(throws: PostgresError.self) {
                try await client.stream(sql) { rows in
                    for try await _ in rows { Issue.record("a row") }
                }
            }
            #expect(error?.sqlState == state && error?.code == (state == nil ? .invalidParameter : .server))
        }
        #expect(try await Self.process(client) == process)
        client.close()
    }

    @Test("one without rows ends at once, and stays at its end")
    func empty() async throws {
        let client = try await Self.client()
        try await client.execute("CREATE TABLE t (n bigint)")
        for sql in ["SELECT n FROM t", "INSERT INTO t SELECT generate_series(1, 3)", "SELECT n FROM t WHERE n > 3"]
            as [SQL]
        {
            try await client.stream(sql) { rows in
                var iterator = rows.makeAsyncIterator()
                for _ in 1...3 {
                    let row = try await iterator.next()
                    #expect(row == nil)
                }
            }
        }
        let deleted = try await client.stream("DELETE FROM t RETURNING n") { try await Self.numbers($0) }
        #expect(deleted.sorted() == [1, 2, 3])
        #expect(try await client.query("SELECT FROM t").isEmpty)
        client.close()
    }

    // MARK: - Values

    @Test("has parameters, and answers alike whether it was prepared or not")
    func parameters() async throws {
        let client = try await Self.client()
        let hostile = "'; DROP TABLE x; -- \"\\ \u{2028} 🏮"
        let sql: SQL =
            "SELECT n, \(hostile) AS text, \(nil as Int?) AS nothing FROM generate_series(\(3), \(1_002)) AS n"
        for _ in 1...4 {
            try await client.stream(sql) { rows in
                var next = 3
                for try await row in rows {
                    #expect(try row.decode(Int.self, String.self, Int?.self) == (next, hostile, nil))
                    next += 1
                }
                #expect(next == 1_003)
            }
            #expect(try await client.query(sql).count == 1_000)
        }
        client.close()
    }

    @Test(
        "follows what was deallocated, and a table that changed",
        arguments: ["DEALLOCATE ALL", "ALTER TABLE t ADD m text"])
    func stale(command: String) async throws {
        let client = try await Self.client()
        try await client.batch(["CREATE TABLE t (n bigint)", "INSERT INTO t VALUES (1), (2)"])
        let sql: SQL = "SELECT * FROM t ORDER BY n"
        for _ in 1...3 { #expect(try await client.query(sql).count == 2) }
        try await client.execute(SQL(unchecked: command))
        for _ in 1...3 { #expect(try await client.stream(sql) { try await Self.numbers($0) } == [1, 2]) }
        client.close()
    }

    // MARK: - In a transaction

    @Test("in a transaction it sees what that did, and the transaction goes on, also where not all is read")
    func transaction() async throws {
        let client = try await Self.client()
        try await client.execute("CREATE TABLE t (n bigint)")
        await #expect(throws: Stop.self) {
            try await client.transaction { tx in
                try await tx.stream("INSERT INTO t SELECT generate_series(1, 1000)") { for try await _ in $0 {} }
                let found = try await tx.stream("SELECT n FROM t ORDER BY n") { try await Self.numbers($0) }
                #expect(found == Array(1...1_000))
                throw Stop()
            }
        }
        try await client.transaction { tx in
            let first = try await tx.stream("SELECT n FROM generate_series(1, 500000) AS n") { rows in
                try await rows.first { _ in true }?("n", as: Int.self)
            }
            #expect(first == 1)
            try await tx.execute("INSERT INTO t VALUES (7)")
            // All rows, though not the end behind them, which comes later.
            let long: SQL = "INSERT INTO t SELECT generate_series(1, 3) RETURNING n, repeat('x', 100000) AS filler"
            #expect(try await tx.stream(long) { try await $0.prefix(3).reduce(0) { found, _ in found + 1 } } == 3)
        }
        let numbers = try await client.query("SELECT n FROM t ORDER BY n").map { try $0("n", as: Int.self) }
        #expect(numbers == [1, 2, 3, 7])
        client.close()
    }

    @Test("who asks a transaction for something else within its stream is answered, and does not wait for ever")
    func within() async throws {
        let client = try await Self.client { $0.maximumConnections = 2 }
        let hasEnded = Mutex(false)
        // Not awaited: where it hangs nothing can end it.
        Task {
            try? await client.transaction { tx in
                try await tx.stream("SELECT n FROM generate_series(1, 500000) AS n") { rows in
                    for try await _ in rows {
                        try await tx.query("SELECT 1")
                        break
                    }
                }
            }
            hasEnded.withLock { $0 = true }
        }
        #expect(try await eventually(within: .seconds(10)) { hasEnded.withLock { $0 } ? true : nil } == true)
    }

    // MARK: - Connections

    @Test("two are read at once, each on a connection of its own")
    func two() async throws {
        let client = try await Self.client { $0.maximumConnections = 2 }
        let sql: SQL = "SELECT n, pg_backend_pid() AS pid FROM generate_series(1, 5000) AS n"
        try await client.stream(sql) { left in
            var left = left.makeAsyncIterator()
            try await client.stream(sql) { right in
                var next = 1
                for try await row in right {
                    let other = try #require(try await left.next())
                    #expect(try row("n", as: Int.self) == next && other("n", as: Int.self) == next)
                    #expect(try row("pid", as: Int.self) != other("pid", as: Int.self))
                    next += 1
                }
                #expect(next == 5_001)
            }
            #expect(try await left.next() == nil)
        }
        client.close()
    }

    @Test("others wait for the only connection as long as they are told, and have it afterwards")
    func onlyConnection() async throws {
        let client = try await Self.client { $0.acquireTimeout = .milliseconds(200) }
        let count = try await client.stream("SELECT n FROM generate_series(1, 10000) AS n") { rows in
            let start = ContinuousClock.now
            let error = await #expect(throws: PostgresError.self) { try await client.query("SELECT 1") }
            #expect(error?.code == .poolExhausted)
            #expect(start.duration(to: .now) < .seconds(10))
            return try await Self.numbers(rows).count
        }
        #expect(count == 10_000)
        #expect(try await client.query("SELECT 1 AS n").count == 1)
        client.close()
    }
}
