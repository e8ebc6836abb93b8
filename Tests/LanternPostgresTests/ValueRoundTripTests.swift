import Foundation
import LanternPostgres
import Testing

@Suite("Values on their way to a real PostgreSQL and back")
struct ValueRoundTripTests {
    private enum Thing {}

    // MARK: - Integers, booleans, keys

    @Test("integers of 64 bits", arguments: [Int64.min, .min + 1, -1, 0, 1, .max])
    func int64(value: Int64) async throws {
        try await RoundTrip.expect(value)
        try await RoundTrip.expect(Int(value))
    }

    @Test("integers of 32 bits", arguments: [Int32.min, -1, 0, 1, .max])
    func int32(value: Int32) async throws { try await RoundTrip.expect(value) }

    @Test("integers of 16 bits", arguments: [Int16.min, -1, 0, 1, .max])
    func int16(value: Int16) async throws { try await RoundTrip.expect(value) }

    @Test("booleans", arguments: [true, false])
    func booleans(value: Bool) async throws { try await RoundTrip.expect(value) }

    @Test(
        "keys, in either case",
        arguments: [
            "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "0190B5A8-7C00-7ABC-8DEF-0123456789AB", "00112233-4455-6677-8899-aabbccddeeff",
        ]
    )
    func keys(text: String) async throws {
        let uuid = try #require(UUID(uuidString: text))
        try await RoundTrip.expect(uuid)
        try await RoundTrip.expect(Identifier<Thing>(uuid))
        let texts = try await RoundTrip.values("SELECT \(uuid)::text AS x", as: String.self)
        #expect(texts == [String](repeating: text.lowercased(), count: 4))
    }

    // MARK: - Floating point

    @Test(
        "floating-point numbers of 64 bits, bit by bit",
        arguments: [
            Double.nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude,
            .leastNormalMagnitude, .leastNormalMagnitude.nextDown, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
            .pi, .ulpOfOne, 0.1, 0.1 + 0.2, 1e14, 1e15, 1e22, 1e23, 1e-4, 1e-5, 1e300, 123_456_789_012_345_680,
            9_007_199_254_740_992,
        ]
    )
    func doubles(value: Double) async throws {
        try await RoundTrip.expect(value) { $0.bitPattern == $1.bitPattern }
    }

    @Test(
        "floating-point numbers of 32 bits, bit by bit",
        arguments: [
            Float.nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude,
            .leastNormalMagnitude, .leastNormalMagnitude.nextDown, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
            .pi, .ulpOfOne, 0.1, 1e5, 1e6, 1e-4, 1e-5, 16_777_216, 33_554_432, 8.589973e9,
        ]
    )
    func floats(value: Float) async throws {
        try await RoundTrip.expect(value) { $0.bitPattern == $1.bitPattern }
    }

    @Test("floating-point numbers of any bits", arguments: UInt64(1)...4)
    func randomFloatingPoint(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        // A NaN has bits that no text tells.
        let doubles = (0..<1_000).map { _ in Double(bitPattern: generator.next()) }.filter { !$0.isNaN }
        let floats = (0..<1_000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: generator.next())) }
            .filter { !$0.isNaN }
        for read in try await RoundTrip.values("SELECT \(doubles) AS x", as: [Double].self) {
            #expect(read.map { $0.bitPattern } == doubles.map { $0.bitPattern })
        }
        for read in try await RoundTrip.values("SELECT \(floats) AS x", as: [Float].self) {
            #expect(read.map { $0.bitPattern } == floats.map { $0.bitPattern })
        }
    }

    // MARK: - Types that are not the column's

    @Test(
        "an integer is read as any type that is wide enough, whatever its column",
        arguments: ["int2", "int4", "int8", "oid", "numeric"])
    func otherIntegers(column: String) async throws {
        let sql = SQL(stringLiteral: "SELECT CAST('32767' AS \(column)) AS x")
        #expect(try await RoundTrip.values(sql, as: Int64.self) == [32_767, 32_767, 32_767, 32_767])
        #expect(try await RoundTrip.values(sql, as: Int.self) == [32_767, 32_767, 32_767, 32_767])
        #expect(try await RoundTrip.values(sql, as: Int32.self) == [32_767, 32_767, 32_767, 32_767])
        #expect(try await RoundTrip.values(sql, as: Int16.self) == [32_767, 32_767, 32_767, 32_767])
    }

    @Test(
        "a number is read as floating point, whatever its column",
        arguments: ["int2", "int4", "int8", "numeric", "float4", "float8"])
    func otherFloatingPoint(column: String) async throws {
        let sql = SQL(stringLiteral: "SELECT CAST('-12345' AS \(column)) AS x")
        #expect(try await RoundTrip.values(sql, as: Double.self) == [-12_345, -12_345, -12_345, -12_345])
        #expect(try await RoundTrip.values(sql, as: Float.self) == [-12_345, -12_345, -12_345, -12_345])
    }

    @Test("a fraction is the same however it came", arguments: ["numeric", "float4", "float8"])
    func fractions(column: String) async throws {
        let sql = SQL(stringLiteral: "SELECT CAST('0.1' AS \(column)) AS x")
        #expect(try await RoundTrip.values(sql, as: Double.self) == [0.1, 0.1, 0.1, 0.1])
        #expect(try await RoundTrip.values(sql, as: Float.self) == [0.1, 0.1, 0.1, 0.1])
        let numeric = try #require(PostgresNumeric("0.1"))
        #expect(try await RoundTrip.values(sql, as: PostgresNumeric.self) == [numeric, numeric, numeric, numeric])
    }

    @Test("no rows, and a row without columns, are answers as well")
    func nothing() async throws {
        let roundTrip = try await RoundTrip.shared()
        #expect(try await roundTrip.map("SELECT \(1) AS x WHERE false") { $0.count } == [0, 0, 0, 0])
        #expect(try await roundTrip.map("SELECT FROM generate_series(1, \(3))") { $0.count } == [3, 3, 3, 3])
        let columns = try await roundTrip.map("SELECT FROM generate_series(1, 1)") { $0.first?.columns }
        #expect(columns == [[], [], [], []])
    }
}
