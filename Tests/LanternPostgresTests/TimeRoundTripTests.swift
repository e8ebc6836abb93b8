import LanternPostgres
import Testing

@Suite("Times on their way to a real PostgreSQL and back")
struct TimeRoundTripTests {
    /// What PostgreSQL can keep, as far as a `Timestamp` can: from 4714-11-24 BC to 294247-01-10.
    private static let range = Int64(-210_866_803_200_000_000)...Int64.max

    @Test(
        "times of the years 1 to 9999, to the microsecond",
        arguments: [
            "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999999Z",
            "9999-12-31T23:59:59Z",
            "1582-10-04T12:00:00Z", "1600-02-29T06:07:08Z", "1900-02-28T23:59:59.999999Z",
            "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z",
            "1999-12-31T23:59:59.999999Z", "2000-01-01T00:00:00Z", "2000-01-01T00:00:00.000001Z",
            "2024-02-29T23:59:59.1Z", "2024-02-29T23:59:59.123456Z", "2026-11-21T05:13:40.120000Z",
        ]
    )
    func timestamps(text: String) async throws {
        let time = try #require(Timestamp(text))
        try await RoundTrip.expect(time)
        try await RoundTrip.expect(PostgresTime(time))
        // The server takes it for the same moment as the text.
        let areSame = try await RoundTrip.values("SELECT \(time) = \(text)::timestamptz AS x", as: Bool.self)
        #expect(areSame == [true, true, true, true])
    }

    @Test("any microsecond", arguments: UInt64(1)...4)
    func random(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let writable = Int64(-62_135_596_800_000_000)...253_402_300_799_999_999
        let times = (0..<500).map { _ in Timestamp(microseconds: .random(in: writable, using: &generator)) }
        for read in try await RoundTrip.values("SELECT \(times) AS x", as: [Timestamp].self) { #expect(read == times) }
        let farTimes = (0..<500).map { _ in
            PostgresTime(Timestamp(microseconds: .random(in: Self.range, using: &generator)))
        }
        for read in try await RoundTrip.values("SELECT \(farTimes) AS x", as: [PostgresTime].self) {
            #expect(read == farTimes)
        }
    }

    @Test("both infinities", arguments: [.infinity, .negativeInfinity] as [PostgresTime])
    func infinity(time: PostgresTime) async throws {
        try await RoundTrip.expect(time)
        let sql: SQL = "SELECT \(time) = \(time.description)::timestamptz AS x"
        #expect(try await RoundTrip.values(sql, as: Bool.self) == [true, true, true, true])
    }

    @Test(
        "times beyond four digits of a year and before the common era",
        arguments: [
            ("4714-11-24 00:00:00+00 BC", Self.range.lowerBound),
            ("4714-11-24 00:00:00.000001+00 BC", Self.range.lowerBound + 1),
            ("0044-03-15 12:00:00.5+00 BC", -63_517_780_799_500_000),
            ("0001-12-31 23:59:59.999999+00 BC", -62_135_596_800_000_001),
            ("0001-01-01 00:00:00+00", -62_135_596_800_000_000), ("10000-01-01 00:00:00+00", 253_402_300_800_000_000),
            ("294247-01-10 04:00:54.775807+00", .max),
        ] as [(String, Int64)]
    )
    func far(text: String, microseconds: Int64) async throws {
        let time = PostgresTime(Timestamp(microseconds: microseconds))
        let sql = SQL(stringLiteral: "SELECT CAST('\(text)' AS timestamptz) AS x")
        #expect(try await RoundTrip.values(sql, as: PostgresTime.self) == [time, time, time, time])
        try await RoundTrip.expect(time)
        let written = try await RoundTrip.values("SELECT \(time)::text AS x", as: String.self)
        #expect(written == [text, text, text, text])
    }

    @Test("the last moment that PostgreSQL knows comes back as it was")
    func last() async throws {
        let text = "294276-12-31 23:59:59.999999+00"
        let sql = SQL(stringLiteral: "SELECT CAST('\(text)' AS timestamptz) AS x")
        let times = try await RoundTrip.values(sql, as: PostgresTime.self)
        #expect(Set(times).count == 1)
        for time in times {
            let written = try await RoundTrip.values("SELECT \(time)::text AS x", as: String.self)
            #expect(written == [text, text, text, text])
        }
    }

    @Test(
        "a time that PostgreSQL cannot keep is refused, and not kept as another",
        arguments: [.min, .min + 1, Self.range.lowerBound - 1] as [Int64])
    func beyond(microseconds: Int64) async throws {
        let roundTrip = try await RoundTrip.shared()
        let time = PostgresTime(Timestamp(microseconds: microseconds))
        let error = await #expect(throws: PostgresError.self) {
            try await roundTrip.map("SELECT \(time)::text AS x") { try $0.first?("x", as: String.self) }
        }
        #expect(error?.isDataError == true)
    }

    @Test(
        "the text of a time, which COPY sends, is the same moment to the server",
        arguments: [
            .infinity, .negativeInfinity, PostgresTime(Timestamp(microseconds: 0)),
            PostgresTime(Timestamp(microseconds: -1)),
            PostgresTime(Timestamp(microseconds: 253_402_300_799_999_999)),
            PostgresTime(Timestamp(microseconds: 253_402_300_800_000_000)),
            PostgresTime(Timestamp(microseconds: -62_135_596_800_000_001)),
            PostgresTime(Timestamp(microseconds: Self.range.lowerBound)),
            PostgresTime(Timestamp(microseconds: .max)),
        ] as [PostgresTime]
    )
    func text(time: PostgresTime) async throws {
        let text = try #require(time.postgresText)
        let areSame = try await RoundTrip.values("SELECT \(text)::timestamptz = \(time) AS x", as: Bool.self)
        #expect(areSame == [true, true, true, true])
    }
}
