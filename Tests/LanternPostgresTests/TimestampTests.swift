import Foundation
@testable import LanternPostgres
import Testing

@Suite("Timestamps")
struct TimestampTests {
    @Test(
        "what RFC 3339 writes is read",
        arguments: [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000001Z", 1),
            ("2026-01-31T23:59:59.000001Z", 1_769_903_999_000_001),
            ("2026-11-21t05:13:40.123456z", 1_795_238_020_123_456),
            ("2026-11-21T05:13:40Z", 1_795_238_020_000_000),
            // Leap days: of a common leap year, of a century that is one, of one before the epoch.
            ("2024-02-29T12:00:00Z", 1_709_208_000_000_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("1600-02-29T06:07:08Z", -11_670_976_372_000_000),
            // Before 1970 the fraction still counts forward.
            ("1969-12-31T23:59:59.999999Z", -1),
            ("1900-02-28T23:59:59.999999Z", -2_203_891_200_000_001),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
            // A leap second is the first of the next minute: POSIX time has no room for it.
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
        ] as [(String, Int64)]
    )
    func reads(text: String, microseconds: Int64) {
        #expect(Timestamp(text)?.microseconds == microseconds)
    }

    @Test(
        "what PostgreSQL writes is read",
        arguments: [
            ("2026-11-21 05:13:40.123456+00", 1_795_238_020_123_456),
            ("2026-11-21 05:13:40+00", 1_795_238_020_000_000),
            ("2026-11-21 05:13:40.1+00", 1_795_238_020_100_000),
            ("2026-11-21 10:43:40+05:30", 1_795_238_020_000_000),
            ("2026-11-20 21:13:40-08", 1_795_238_020_000_000),
            ("0001-01-01 00:00:00+00", -62_135_596_800_000_000),
        ] as [(String, Int64)]
    )
    func readsPostgres(text: String, microseconds: Int64) throws {
        let cell = PostgresCell(text: text, column: "time")
        #expect(try Timestamp(cell).microseconds == microseconds)
    }

    @Test(
        "one moment is the same in every zone",
        arguments: [
            "2026-03-01T00:30:00+01:00", "2026-02-28T23:30:00Z", "2026-02-28T23:30:00+00:00",
            "2026-02-28T23:30:00-00:00",
            "2026-02-28T18:00:00-05:30", "2026-03-01T23:29:00+23:59", "2026-02-27T23:31:00-23:59",
        ]
    )
    func offsets(text: String) throws {
        let time = try #require(Timestamp(text))
        #expect(time.description == "2026-02-28T23:30:00.000000Z")
    }

    @Test(
        "a fraction of any length is read to the microsecond, and cut behind it",
        arguments: [
            (".1", 100_000), (".12", 120_000), (".000001", 1), (".100000", 100_000), (".0000019", 1),
            (".999999999999999999999", 999_999),
        ] as [(String, Int64)]
    )
    func fractions(text: String, microseconds: Int64) {
        #expect(Timestamp("1970-01-01T00:00:00\(text)Z")?.microseconds == microseconds)
    }

    @Test(
        "anything else is refused, and so are dates that do not exist",
        arguments: [
            "", " ", "now", "infinity", "-infinity", "2026", "2026-01-01", "1795238020",
            // Days and months that are not.
            "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2024-02-30T00:00:00Z",
            "2026-04-31T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-00T00:00:00Z", "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z",
            // Times of day that are not.
            "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00Z",
            // Fractions and zones that are not.
            "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.5",
            "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60", "2026-01-01T00:00:00+1",
            "2026-01-01T00:00:00 UTC",
            "2026-01-01T00:00:00Z+01:00",
            // Too much, too little, the wrong digits.
            " 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z ", "2026-01-01T00:00:00Z\0", "2026-01-01T00:00:00Zulu",
            "10000-01-01T00:00:00Z", "+2026-01-01T00:00:00Z", "-2026-01-01T00:00:00Z", "26-01-01T00:00:00Z",
            "2026-1-1T0:0:0Z", "20260101T000000Z", "2026/01/01T00:00:00Z", "0044-03-15 00:00:00+00 BC",
            "２０２６-01-01T00:00:00Z", "2026-01-01T00:00:0٠Z",
        ]
    )
    func refuses(text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test("an offset that stops at its colon is refused")
    func halfAnOffset() {
        #expect(Timestamp("2026-01-01T00:00:00+05:") == nil)
    }

    @Test(
        "a time whose year in UTC has no four digits is refused: what is stored of it could not be read again",
        arguments: ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01"]
    )
    func leavesTheCalendar(text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test("every microsecond between the years 1 and 9999 is read as it was written", arguments: UInt64(1)...8)
    func roundTrip(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let times = (0..<2_000).map { _ in
            Timestamp(
                microseconds: Int64.random(in: -62_135_596_800_000_000...253_402_300_799_999_999, using: &generator)
            )
        }
        let wrong = times.filter { Timestamp($0.description) != $0 }
        #expect(wrong == [])
        let misshapen = times.map(\.description).filter { $0.utf8.count != 27 || !$0.hasSuffix("Z") }
        #expect(misshapen == [])
    }

    @Test("the order of texts is the order of times", arguments: UInt64(1)...4)
    func order(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let times = (0..<1_000).map { _ in
            Timestamp(
                microseconds: Int64.random(in: -62_135_596_800_000_000...253_402_300_799_999_999, using: &generator)
            )
        }
        #expect(times.sorted().map(\.description) == times.map(\.description).sorted())
    }

    @Test("dates are Foundation's, since the Gregorian calendar is everywhere", arguments: UInt64(1)...4)
    func agreesWithFoundation(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            // From the year 1930 on.
            let seconds = Int64.random(in: -1_262_304_000...253_402_300_799, using: &generator)
            let theirs = Date(timeIntervalSince1970: Double(seconds)).ISO8601Format()
            #expect(Timestamp(microseconds: seconds * 1_000_000).description.prefix(19) == theirs.prefix(19))
        }
    }

    @Test(
        "a Date gives its microsecond, before the epoch too",
        arguments: [
            (0, 0), (0.000001, 1), (-0.000001, -1), (-0.5, -500_000), (1_795_238_020.5, 1_795_238_020_500_000),
        ] as [(Double, Int64)]
    )
    func dates(seconds: Double, microseconds: Int64) {
        let date = Date(timeIntervalSince1970: seconds)
        #expect(Timestamp(date).microseconds == microseconds)
        #expect(Timestamp(microseconds: microseconds).date == date)
    }

    @Test(
        "durations are added, negative ones too",
        arguments: [
            (.seconds(1), 1_000_000), (.milliseconds(-1), -1_000), (.microseconds(7), 7),
            (.seconds(-86_400), -86_400_000_000),
            (.zero, 0), (.nanoseconds(999), 0),
        ] as [(Duration, Int64)]
    )
    func adds(duration: Duration, microseconds: Int64) throws {
        let time = try #require(Timestamp("2026-01-31T23:59:59.000001Z"))
        #expect((time + duration).microseconds - time.microseconds == microseconds)
    }

    @Test("the time between two moments has a sign")
    func difference() {
        let early = Timestamp(microseconds: -500_000)
        let late = Timestamp(microseconds: 1_000_000)
        #expect(late.seconds(since: early) == 1.5)
        #expect(early.seconds(since: late) == -1.5)
    }

    @Test("in JSON it is a string")
    func json() throws {
        let time = Timestamp(microseconds: 1_769_903_999_000_001)
        let data = try JSONEncoder().encode(time)
        #expect(String(decoding: data, as: UTF8.self) == "\"2026-01-31T23:59:59.000001Z\"")
        #expect(try JSONDecoder().decode(Timestamp.self, from: data) == time)
    }

    @Test(
        "JSON that holds no time is refused",
        arguments: ["\"tomorrow\"", "1795238020", "null", "\"2026-02-29T00:00:00Z\""])
    func invalidJSON(text: String) {
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(Timestamp.self, from: Data(text.utf8)) }
    }

    @Test("a column that holds no time is named, its value is not told", arguments: ["infinity", "s3cret", nil])
    func decodingError(text: String?) throws {
        let error = try #require(throws: PostgresError.self) {
            try Timestamp(PostgresCell(text: text, column: "expires_at"))
        }
        #expect(error.code == .decoding)
        #expect(error.message.contains("expires_at"))
        #expect(!error.message.contains("s3cret") && !error.message.contains("infinity"))
    }
}
