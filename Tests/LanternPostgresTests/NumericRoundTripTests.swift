import Foundation
import LanternPostgres
import Testing

@Suite("Decimal numbers on their way to a real PostgreSQL and back")
struct NumericRoundTripTests {
    private static let digits = String(repeating: "1234567890", count: 10)

    @Test(
        "an exact number keeps each of its digits, zeros behind the point too",
        arguments: [
            "0", "0.0", "0.000", "1", "-1", "1.0", "1.00", "-0.0001", "0.0001", "10000", "9999", "10001", "99990000",
            "-10000.0001",
            "0.1", "0.01", "0.001", "0.00001", "0.00000001", "100000000000000000000", "1234.5678", "12345.6789",
            "1000000.0000001",
            "9223372036854775807", "-9223372036854775808", "9223372036854775808",
            "\(digits).\(digits)", "-\(digits).\(digits)", digits, "0.\(digits)",
            // 1e100, 1e-100 and 1e-1000.
            "1" + String(repeating: "0", count: 100), "0." + String(repeating: "0", count: 99) + "1",
            "0." + String(repeating: "0", count: 999) + "1",
            "NaN", "Infinity", "-Infinity",
        ]
    )
    func numerics(text: String) async throws {
        let number = try #require(PostgresNumeric(text))
        #expect(number.description == text)
        try await RoundTrip.expect(number)
    }

    @Test("the longest number there is")
    func longest() async throws {
        let text = String(repeating: "9", count: 131_072) + "." + String(repeating: "9", count: 16_383)
        let number = try #require(PostgresNumeric(text))
        let areEqual = try await RoundTrip.values("SELECT \(number) AS x", as: PostgresNumeric.self).map {
            $0 == number
        }
        #expect(areEqual == [true, true, true, true])
    }

    @Test(
        "one that is written otherwise comes back as the server writes it",
        arguments: [
            ("+1", "1"), ("007", "7"), (".5", "0.5"), ("5.", "5"), ("-0", "0"), ("-0.00", "0.00"),
            ("-.0010", "-0.0010"),
        ]
    )
    func normalised(text: String, written: String) async throws {
        let number = try #require(PostgresNumeric(text))
        let read = try await RoundTrip.values("SELECT \(number) AS x", as: PostgresNumeric.self)
        #expect(read.map { $0.description } == [written, written, written, written])
    }

    @Test("numbers of any digits", arguments: UInt64(1)...4)
    func random(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        var numbers: [PostgresNumeric] = []
        for _ in 0..<300 {
            // Many zeros: they are what is left out.
            func digits(_ count: Int) -> String {
                (0..<count).map { _ in String(max(0, Int.random(in: -15...9, using: &generator))) }.joined()
            }
            let whole =
                String(Int.random(in: 1...9, using: &generator)) + digits(.random(in: 0...30, using: &generator))
            let fraction = digits(.random(in: 0...30, using: &generator))
            let start = Bool.random(using: &generator) ? whole : "0"
            let magnitude = start + (fraction.isEmpty ? "" : "." + fraction)
            // The server knows no negative zero.
            let isZero = magnitude.allSatisfy { $0 == "0" || $0 == "." }
            let sign = !isZero && Bool.random(using: &generator) ? "-" : ""
            numbers.append(try #require(PostgresNumeric(sign + magnitude)))
        }
        for read in try await RoundTrip.values("SELECT \(numbers) AS x", as: [PostgresNumeric].self) {
            #expect(read == numbers)
        }
    }

    @Test("1.0 and 1.00 are one number for the server, and two texts")
    func scale() throws {
        let short = try #require(PostgresNumeric("1.0"))
        let long = try #require(PostgresNumeric("1.00"))
        #expect(short != long)
        #expect(short.decimal == long.decimal && short.decimal == 1)
    }

    @Test(
        "what is no number of digits is none",
        arguments: [
            "", ".", "-", "+", "-.", "1e5", "1E5", "1.2.3", " 1", "1 ", "--1", "1,5", "nan", "inf", "+Infinity", "0x1",
            "１", "1\0",
        ])
    func invalid(text: String) {
        #expect(PostgresNumeric(text) == nil)
    }

    // MARK: - Decimal

    @Test(
        "a Decimal of up to 38 digits",
        arguments: [
            "0", "1", "-1", "0.1", "-0.0001", "1.5", "10000", "123456789.987654321",
            String(repeating: "9", count: 38), "-" + String(repeating: "9", count: 38),
            "0." + String(repeating: "0", count: 37) + "1", "1234567890123456789012345678.9012345678",
            "0." + String(repeating: "3", count: 38), "1" + String(repeating: "0", count: 37),
        ]
    )
    func decimals(text: String) async throws {
        try await RoundTrip.expect(try #require(Decimal(string: text)))
    }

    @Test(
        "what a Decimal cannot keep is none, rather than another number",
        arguments: [
            "NaN", "Infinity", "-Infinity", String(repeating: "9", count: 39),
            "0.1" + String(repeating: "0", count: 37) + "1",
            "0." + String(repeating: "0", count: 128) + "1",
            "-0." + String(repeating: "0", count: 100) + String(repeating: "7", count: 38),
        ]
    )
    func notDecimal(text: String) throws {
        let number = try #require(PostgresNumeric(text))
        #expect(number.decimal == nil)
    }
}
