import LanternPostgres
import Logging
import TestSupport
import Testing

@Suite("Many values, read as text", .timeLimit(.minutes(5)))
struct TextFormatSweepTests {
    private static func expectSame(_ sql: SQL, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let differences = try await RoundTrip.shared().differences(sql)
        #expect(differences.count == 0, "\(differences.prefix(5))", sourceLocation: sourceLocation)
    }

    // MARK: - Floating point

    @Test("numbers of 64 bits, of any bits and of few digits", arguments: UInt64(1)...4)
    func doubles(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        var values = (0..<1_000).map { _ in Double(bitPattern: generator.next()) }
        for _ in 0..<500 {
            let digits = Int.random(in: -9_999...9_999, using: &generator)
            let exponent = Int.random(in: -320...305, using: &generator)
            values += [Double("\(digits)e\(exponent)"), Double("\(digits)e\(exponent % 20)")].compactMap { $0 }
        }
        try await Self.expectSame("SELECT x FROM unnest(\(values)) AS t(x)")
    }

    @Test("every power of ten and of two of 64 bits, and its neighbours")
    func powersOf64Bits() async throws {
        let tens = (-323...308).compactMap { Double("1e\($0)") }
        let twos = (-1_074...1_023).map { Double(sign: .plus, exponent: $0, significand: 1) }
        let values = (tens + twos).flatMap { [$0.nextDown, $0, $0.nextUp, -$0] }
        try await Self.expectSame("SELECT x FROM unnest(\(values)) AS t(x)")
    }

    @Test("numbers of 32 bits, of any bits and of few digits", arguments: UInt64(1)...4)
    func floats(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        var values = (0..<1_000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: generator.next())) }
        for _ in 0..<500 {
            let digits = Int.random(in: -9_999...9_999, using: &generator)
            let exponent = Int.random(in: -45...34, using: &generator)
            values += [Float("\(digits)e\(exponent)"), Float("\(digits)e\(exponent % 9)")].compactMap { $0 }
        }
        try await Self.expectSame("SELECT x FROM unnest(\(values)) AS t(x)")
    }

    @Test("every power of ten and of two of 32 bits, and its neighbours")
    func powersOf32Bits() async throws {
        let tens = (-45...38).compactMap { Float("1e\($0)") }
        let twos = (-149...127).map { Float(sign: .plus, exponent: $0, significand: 1) }
        let values = (tens + twos).flatMap { [$0.nextDown, $0, $0.nextUp, -$0] }
        try await Self.expectSame("SELECT x FROM unnest(\(values)) AS t(x)")
    }

    // MARK: - Times

    @Test("moments, local times and days", arguments: UInt64(1)...4)
    func times(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        var times: [PostgresTime] = []
        // All that a Timestamp can hold of them, and more closely where the eras meet and where either epoch is.
        for range in [
            Int64(-210_866_803_200_000_000)...Int64.max, -62_300_000_000_000_000 ... -61_900_000_000_000_000,
            -2_000_000_000_000_000...2_000_000_000_000_000,
        ] {
            for _ in 0..<200 {
                let microseconds = Int64.random(in: range, using: &generator)
                times.append(PostgresTime(Timestamp(microseconds: microseconds)))
                times.append(PostgresTime(Timestamp(microseconds: microseconds / 1_000_000 * 1_000_000)))
            }
        }
        try await Self.expectSame("SELECT x FROM unnest(\(times)) AS t(x)")
        try await Self.expectSame("SELECT x::timestamp AS x FROM unnest(\(times)) AS t(x)")
        try await Self.expectSame("SELECT x::date AS x FROM unnest(\(times)) AS t(x)")
    }

    @Test("every day around the year 1 BC, and of leap years on either side")
    func days() async throws {
        for (first, last) in [
            ("0002-01-01 BC", "0002-12-31"), ("0101-12-01 BC", "0100-04-01 BC"), ("1999-12-01", "2001-02-01"),
        ] {
            try await Self.expectSame(
                SQL(
                    stringLiteral:
                        "SELECT DATE '\(first)' + n AS x FROM generate_series(0, DATE '\(last)' - DATE '\(first)') AS t(n)"
                ))
        }
    }

    @Test("the last moments that PostgreSQL knows", arguments: ["timestamptz", "timestamp"])
    func lastMoments(type: String) async throws {
        let texts = ["294247-01-10 04:00:54.775808", "294247-12-31 00:00:00", "294276-12-31 23:59:59.999999"]
        for text in texts {
            try await Self.expectSame(SQL(stringLiteral: "SELECT CAST('\(text)' AS \(type)) AS x"))
        }
    }

    @Test(
        "the last days that PostgreSQL knows, which are beyond what its times can be",
        arguments: ["294247-01-11", "300000-02-29", "1000000-01-01", "5874897-12-31"])
    func lastDays(text: String) async throws {
        try await Self.expectSame(SQL(stringLiteral: "SELECT CAST('\(text)' AS date) AS x"))
    }

    // MARK: - What the database is set to, and what changes

    @Test(
        "how the database is set to write its values makes no difference",
        arguments: [
            "extra_float_digits = -3", "bytea_output = 'escape'", "datestyle = 'SQL, DMY'",
            "timezone = 'Asia/Kathmandu'",
        ])
    func settings(setting: String) async throws {
        let url = try await TestCluster.shared.database()
        let before = RoundTrip(url: url)
        let names = try await before.map("SELECT current_database() AS x") { try $0.first?("x", as: String.self) }
        let name = try #require(names[0])
        try await before.execute(SQL(stringLiteral: "ALTER DATABASE \(name) SET \(setting)"))
        before.close()
        let roundTrip = RoundTrip(url: url)
        for sql in [
            "SELECT \(0.1 + 0.2) AS x", "SELECT \(Float(0.1).nextUp) AS x",
            "SELECT \(PostgresBytes(UInt8.min...UInt8.max)) AS x",
            "SELECT \(Timestamp(microseconds: 1)) AS x", "SELECT '2024-02-29'::date AS x",
            "SELECT '2024-02-29 01:02:03'::timestamp AS x",
        ] as [SQL] {
            #expect(try await roundTrip.differences(sql) == [])
        }
        let numbers = try await roundTrip.map("SELECT \(0.1 + 0.2) AS x") { try $0.first?("x", as: Double.self) }
        #expect(numbers == [0.1 + 0.2, 0.1 + 0.2, 0.1 + 0.2, 0.1 + 0.2])
        roundTrip.close()
    }

    @Test("a column whose type becomes one that is not known is read on, whenever that happens", arguments: 1...3)
    func changedType(times: Int) async throws {
        let url = try await TestCluster.shared.database()
        var configuration = PostgresConfiguration(url: url, applicationName: "test")
        configuration.maximumConnections = 1
        let client = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
        try await client.execute("CREATE TYPE mood AS ENUM ('happy')")
        try await client.execute("CREATE TABLE t (x text)")
        try await client.execute("INSERT INTO t VALUES ('happy')")
        func read() async throws -> String? { try await client.query("SELECT x FROM t").first?("x", as: String.self) }
        for _ in 0..<times { #expect(try await read() == "happy") }
        try await client.execute("ALTER TABLE t ALTER x TYPE mood USING x::mood")
        for _ in 1...3 { #expect(try await read() == "happy") }
        client.close()
    }
}
