import Foundation
import Testing

@testable import LanternLogging

@Suite("The timestamp of a line")
struct LogTimeTests {
    private func text(_ microseconds: Int64) -> String {
        String(decoding: LineWriter.bytes { $0.appendTime(microseconds) }, as: UTF8.self)
    }

    @Test(
        "seconds are written as RFC 3339 in UTC",
        arguments: [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_677_628_800, "2023-03-01T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000Z"),
            (1_798_761_600, "2027-01-01T00:00:00.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000000Z"),
            (-1, "1969-12-31T23:59:59.000000Z"),
            (-2_203_891_201, "1900-02-28T23:59:59.000000Z"),
            (-2_203_891_200, "1900-03-01T00:00:00.000000Z"),
            (-11_670_955_200, "1600-02-29T12:00:00.000000Z"),
        ] as [(Int64, String)]
    )
    func seconds(seconds: Int64, expected: String) {
        #expect(self.text(seconds * 1_000_000) == expected)
    }

    @Test(
        "microseconds have six digits, before 1970 too",
        arguments: [
            (1, "1970-01-01T00:00:00.000001Z"),
            (123_456, "1970-01-01T00:00:00.123456Z"),
            (999_999, "1970-01-01T00:00:00.999999Z"),
            (1_000_000, "1970-01-01T00:00:01.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (-999_999, "1969-12-31T23:59:59.000001Z"),
            (-1_000_000, "1969-12-31T23:59:59.000000Z"),
            (-1_000_001, "1969-12-31T23:59:58.999999Z"),
        ] as [(Int64, String)]
    )
    func microseconds(microseconds: Int64, expected: String) {
        #expect(self.text(microseconds) == expected)
    }

    @Test("instants over two centuries are those that Foundation writes")
    func agreesWithFoundation() {
        // 1900 to 2100 in steps that meet every month, day and hour.
        let instants = stride(from: Int64(-2_208_988_800), through: 4_102_444_800, by: 86_400 * 17 + 12_345)
        let differing = instants.filter { seconds in
            let expected = Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
            return self.text(seconds * 1_000_000) != expected.replacing("Z", with: ".000000Z")
        }
        #expect(differing.isEmpty)
    }

    @Test("now is the wall clock's now")
    func now() {
        let before = Int64(Date().timeIntervalSince1970 * 1_000_000)
        let now = LineWriter.now()
        let after = Int64(Date().timeIntervalSince1970 * 1_000_000)
        // A Date is a Double, which at this size is off by up to a microsecond.
        #expect(now >= before - 1)
        #expect(now <= after + 1)
    }
}
