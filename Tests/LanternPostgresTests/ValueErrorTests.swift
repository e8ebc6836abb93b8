import Foundation
import LanternPostgres
import Testing

/// A literal of a PostgreSQL type, and what it is read as.
struct Reading: Sendable, CustomTestStringConvertible {
    var literal: String?
    var column: String
    var type: String
    var read: @Sendable (PostgresRow) throws -> Void

    init<Value: PostgresDecodable & Sendable>(_ literal: String?, _ column: String, as type: Value.Type) {
        self.literal = literal
        self.column = column
        self.type = "\(type)"
        self.read = { _ = try $0("x", as: Value.self) }
    }

    var testDescription: String { "\(self.column) \(self.literal ?? "NULL") as \(self.type)" }

    var sql: SQL {
        SQL(stringLiteral: "SELECT CAST(\(self.literal.map { "'\($0)'" } ?? "NULL") AS \(self.column)) AS x")
    }

    /// What became of it, four times; `nil` where it was read.
    func errors() async throws -> [PostgresError?] {
        try await RoundTrip.shared().map(self.sql) { result in
            let row = try #require(result.first)
            do {
                try self.read(row)
                return nil
            } catch let error as PostgresError {
                return error
            }
        }
    }
}

@Suite("Values that are not what they are read as")
struct ValueErrorTests {
    /// All that a log line, an assertion or a debugger writes of an error.
    private static func everything(of error: PostgresError) -> String {
        var dumped = ""
        dump(error, to: &dumped)
        return [
            error.description, error.debugDescription, error.message, "\(error)", String(reflecting: error), dumped,
        ].joined()
    }

    @Test(
        "is an error that names the column, and neither the value nor a part of it",
        arguments: [
            // Out of range.
            Reading("9223372036854775807", "int8", as: Int32.self),
            Reading("-9223372036854775808", "int8", as: Int32.self),
            Reading("2147483648", "int8", as: Int32.self), Reading("-2147483649", "int8", as: Int32.self),
            Reading("9223372036854775807", "int8", as: Int16.self), Reading("32768", "int4", as: Int16.self),
            Reading("-32769", "int4", as: Int16.self), Reading("4294967295", "oid", as: Int32.self),
            Reading("9223372036854775808", "numeric", as: Int64.self),
            Reading("9223372036854775808", "numeric", as: Int.self),
            Reading("{9223372036854775807}", "int8[]", as: [Int32].self),
            Reading("1" + String(repeating: "2", count: 400), "numeric", as: Double.self),
            Reading("1.2345e300", "float8", as: Float.self), Reading("-1.2345e300", "float8", as: Float?.self),
            Reading(String(repeating: "9", count: 39), "numeric", as: Decimal.self),
            Reading("infinity", "timestamptz", as: Timestamp.self),
            Reading("-infinity", "timestamptz", as: Timestamp.self),
            Reading("0044-03-15 00:00:00+00 BC", "timestamptz", as: Timestamp.self),
            Reading("10000-01-02 00:00:00+00", "timestamptz", as: Timestamp.self),
            Reading("294276-12-31 00:00:00+00", "timestamptz", as: Timestamp.self),
            // Not a number, where one is to have digits.
            Reading("NaN", "numeric", as: Decimal.self), Reading("Infinity", "numeric", as: Decimal.self),
            Reading("-Infinity", "numeric", as: Decimal.self), Reading("NaN", "numeric", as: Int.self),
            Reading("NaN", "float8", as: Int.self), Reading("1.5", "numeric", as: Int.self),
            Reading("1.5", "float8", as: Int64.self),
            // Of another type.
            Reading("marked-secret", "text", as: Int.self), Reading("marked-secret", "text", as: Int16.self),
            Reading("marked-secret", "text", as: Double.self), Reading("marked-secret", "text", as: Float.self),
            Reading("marked-secret", "text", as: Bool.self), Reading("marked-secret", "text", as: UUID.self),
            Reading("marked-secret", "text", as: Identifier<Reading>.self),
            Reading("marked-secret", "text", as: Timestamp.self),
            Reading("marked-secret", "text", as: PostgresTime.self),
            Reading("marked-secret", "text", as: PostgresNumeric.self),
            Reading("marked-secret", "text", as: Decimal.self),
            Reading("marked-secret", "text", as: PostgresBytes.self),
            Reading("marked-secret", "text", as: [String].self), Reading("{marked-secret}", "text[]", as: [Int].self),
            Reading("{marked-secret}", "text[]", as: PostgresArray<UUID>.self),
            Reading(#"{"a": "marked-secret"}"#, "jsonb", as: [String].self),
            Reading("1970", "int8", as: Bool.self), Reading("1970", "int8", as: UUID.self),
            Reading("1970", "int8", as: Timestamp.self),
            Reading("1970", "int8", as: [Int].self), Reading("true", "bool", as: Int.self),
            Reading("2024-02-29 12:00:00", "timestamp", as: Timestamp.self),
            Reading("2024-02-29", "date", as: PostgresTime.self),
            // Of other dimensions.
            Reading("{{1234,5678}}", "int8[]", as: [Int].self),
            Reading("{{1234},{5678}}", "numeric[]", as: [PostgresNumeric].self),
            Reading("{{{{{{1234}}}}}}", "int4[]", as: [Int32].self),
        ]
    )
    func refused(reading: Reading) async throws {
        let value = try #require(reading.literal)
        for error in try await reading.errors() {
            let error = try #require(error, "it was read")
            #expect(error.code == .decoding)
            #expect(error.message.contains("column x "))
            let text = Self.everything(of: error)
            #expect(!text.contains(value) && !text.contains("marked-secret") && !text.contains("1234"))
        }
    }

    @Test(
        "NULL is an error for a type that has none, and says so",
        arguments: [
            Reading(nil, "int8", as: Int.self), Reading(nil, "int8", as: Int64.self),
            Reading(nil, "int4", as: Int32.self),
            Reading(nil, "int2", as: Int16.self), Reading(nil, "bool", as: Bool.self),
            Reading(nil, "float8", as: Double.self),
            Reading(nil, "float4", as: Float.self), Reading(nil, "text", as: String.self),
            Reading(nil, "bytea", as: String.self),
            Reading(nil, "int8[]", as: String.self), Reading(nil, "uuid", as: UUID.self),
            Reading(nil, "bytea", as: PostgresBytes.self),
            Reading(nil, "uuid", as: Identifier<Reading>.self), Reading(nil, "numeric", as: PostgresNumeric.self),
            Reading(nil, "numeric", as: Decimal.self), Reading(nil, "timestamptz", as: Timestamp.self),
            Reading(nil, "timestamptz", as: PostgresTime.self), Reading(nil, "int8[]", as: [Int].self),
            Reading(nil, "int8[]", as: PostgresArray<Int>.self), Reading("{1,NULL}", "int8[]", as: [Int].self),
            Reading("{a,NULL}", "text[]", as: [String].self),
            Reading("{{1,NULL}}", "int8[]", as: PostgresArray<Int>.self),
        ]
    )
    func null(reading: Reading) async throws {
        for error in try await reading.errors() {
            let error = try #require(error, "it was read")
            #expect(error.code == .decoding)
            #expect(error.message.hasPrefix("column x is NULL, expected "))
        }
    }

    @Test(
        "whether a value can be read is no matter of how it came",
        arguments: [
            Reading("\\x41", "text", as: PostgresBytes.self), Reading("{1,2}", "text", as: [Int].self),
            Reading("{1,2}", "json[]", as: [Int].self), Reading("2024-02-29 12:00:00+00", "text", as: Timestamp.self),
            Reading("2024-02-29 12:00:00+00", "text", as: PostgresTime.self),
            Reading("infinity", "timestamp", as: PostgresTime.self),
            Reading("infinity", "date", as: PostgresTime.self), Reading("infinity", "timestamptz", as: Double.self),
            // An empty array of int8 in binary format.
            Reading("\\x000000000000000000000014", "bytea", as: [Int].self), Reading("\\x41", "bytea", as: String.self),
            Reading("1", "text", as: Int.self), Reading("t", "text", as: Bool.self),
            Reading("1.5", "text", as: Double.self),
            Reading("1.5", "text", as: PostgresNumeric.self), Reading("1e5", "float8", as: PostgresNumeric.self),
            Reading("1e15", "float8", as: PostgresNumeric.self), Reading("1e6", "float4", as: Int.self),
            Reading("1e15", "float8", as: Int.self),
            Reading("0190b5a8-7c00-7abc-8def-0123456789ab", "text", as: UUID.self),
            Reading("{t}", "bool[]", as: [String].self),
        ]
    )
    func alike(reading: Reading) async throws {
        let outcomes = try await reading.errors().map { $0?.description ?? "read" }
        #expect(Set(outcomes).count == 1, "\(outcomes)")
    }

    @Test(
        "a text that holds no key is none, though Foundation would read one",
        arguments: [" 190b5a8-7c00-7abc-8def-0123456789ab", "+190b5a8-7c00-7abc-8def-0123456789ab"])
    func lenientKeys(text: String) async throws {
        for error in try await Reading(text, "text", as: UUID.self).errors() { #expect(error?.code == .decoding) }
        for error in try await Reading(text, "text", as: Identifier<Reading>.self).errors() {
            #expect(error?.code == .decoding)
        }
    }

    @Test("a column that is not there is an error that names it, and one too few as well")
    func columns() async throws {
        let errors = try await RoundTrip.shared().map("SELECT \("marked-secret") AS x") { result in
            let row = try #require(result.first)
            return [
                #expect(throws: PostgresError.self) { try row("y", as: String.self) },
                #expect(throws: PostgresError.self) { try row.decode(String.self, String.self) },
            ]
        }
        for error in errors.joined() {
            let error = try #require(error)
            #expect(error.code == .decoding)
            #expect(!Self.everything(of: error).contains("marked-secret"))
        }
    }
}
