import LanternPostgres
import Testing

/// What is read as `String` is what the server writes in text format, byte by byte, also where it came in binary format: a
/// program must not see a difference between the first time it asks and the third.
@Suite("Values of any type, read as text")
struct TextFormatTests {
    private static let numbers: [(String, [String?])] = [
        ("bool", ["t", "f", nil]),
        ("int2", ["-32768", "0", "32767"]),
        ("int4", ["-2147483648", "0", "2147483647"]),
        ("int8", ["-9223372036854775808", "-1", "9223372036854775807", nil]),
        ("oid", ["0", "2147483648", "4294967295"]),
        (
            "float8",
            [
                "0", "-0", "1", "-1", "0.1", "1e14", "1e15", "1e16", "999999999999999", "9999999999999998", "100000",
                "123456.789",
                "1e-4", "1e-5", "0.00012345", "-1.5e-7", "123456789012345680", "9007199254740993", "1e300", "1.5e300",
                "5e-324",
                "2.2250738585072014e-308", "1.7976931348623157e308", "NaN", "Infinity", "-Infinity", nil,
                // An even number on whose bound a shorter one lies, which PostgreSQL does not take.
                "1e23", "2e23", "8.41e21", "9e-265",
            ]
        ),
        (
            "float4",
            [
                "0", "-0", "1", "0.1", "1e5", "123456", "999999", "1e6", "1234567", "16777216", "33554432", "8388608",
                "1e-4", "1e-5",
                "8.589973e9", "1e30", "1e-45", "3.4028235e38", "NaN", "Infinity", "-Infinity", nil,
            ]
        ),
        (
            "numeric",
            [
                "0", "0.000", "1.0", "1.00", "-0.0001", "10000", "1e100", "1e-100",
                "12345678901234567890.12345678901234567890", "NaN",
                "Infinity", "-Infinity", nil,
            ]
        ),
    ]

    private static let texts: [(String, [String?])] = {
        let hostile = ["", " ", "a  ", "NULL", "\\", "\"'{},", "\n\t", "e\u{301}", "🏮", nil]
        return [
            ("text", hostile), ("varchar", hostile), ("bpchar", hostile), ("name", hostile), ("char(5)", hostile),
            ("json", ["{\"a\" :  1}", "null", "\"\\u00e9\"", nil]),
            ("jsonb", ["{\"b\" :  1, \"a\": [1.50]}", "null", "\"\\u00e9 \\\" 🏮\"", nil]),
            ("uuid", ["00000000-0000-0000-0000-000000000000", "0190B5A8-7C00-7ABC-8DEF-0123456789AB", nil]),
            ("bytea", ["", "\\x", "\\x00ff5c78", "abc", nil]),
        ]
    }()

    private static let times: [(String, [String?])] = {
        let times = [
            "2024-02-29 23:59:59.999999", "2024-02-29 00:00:00", "2024-02-29 12:00:00.5", "1999-12-31 23:59:59.999999",
            "2000-01-01 00:00:00", "1969-12-31 23:59:59.000001", "0001-01-01 00:00:00", "0001-12-31 23:59:59.999999 BC",
            "0001-02-29 00:00:00 BC", "0002-01-01 00:00:00 BC", "0044-03-15 12:00:00.25 BC", "4714-11-24 00:00:00 BC",
            "9999-12-31 23:59:59", "10000-01-01 00:00:00", "123456-07-08 09:10:11.12", "294247-01-10 04:00:54.775807",
            "infinity", "-infinity", nil,
        ]
        return [("timestamptz", times), ("timestamp", times), ("date", times)]
    }()

    private static let arrays: [(String, [String?])] = [
        (
            "int8[]",
            [
                "{}", "{1}", "{1,NULL,-3}", "{{1,2},{3,4}}", "{{{{{{1,2}}}}}}", "[0:1]={1,2}",
                "[-1:0][2:3]={{1,2},{3,4}}", nil,
            ]
        ),
        ("int4[]", ["{1,2}"]), ("int2[]", ["{1,2}"]), ("oid[]", ["{1,4294967295}"]), ("bool[]", ["{t,f,NULL}"]),
        ("float8[]", ["{0.1,NaN,-0,1e15,1e23}"]), ("float4[]", ["{0.1,1e6,Infinity}"]), ("numeric[]", ["{1.00,NaN,0}"]),
        (
            "text[]",
            [
                #"{a,"",NULL,"NULL","null","nullx","a b"," a","a\\b","a\"b","{","}","a,b"}"#,
                "{\"\n\",\"\t\",\"\u{B}\",\"\u{A0}\",🏮,'}",
                #"{{"a b",c},{NULL,d}}"#,
            ]
        ),
        ("varchar[]", ["{a,\"b c\"}"]), ("bpchar[]", ["{a,\"b  \"}"]), ("name[]", ["{a,\"b c\"}"]),
        ("json[]", [#"{"{\"a\" : 1}",null,"null"}"#]), ("jsonb[]", [#"{"{\"a\" : 1}",NULL,"[1, 2]"}"#]),
        ("uuid[]", ["{0190b5a8-7c00-7abc-8def-0123456789ab,NULL}"]), ("bytea[]", [#"{"\\x","\\x00ff"}"#]),
        ("timestamptz[]", ["{\"2024-02-29 23:59:59.5+00\",infinity}", "{\"0044-03-15 12:00:00+00 BC\"}"]),
        ("timestamp[]", ["{\"2024-02-29 23:59:59.5\",-infinity}"]),
        ("date[]", ["{2024-02-29,infinity}", "{\"0044-03-15 BC\"}"]),
    ]

    private static func cast(_ values: [String?], to type: String) -> SQL {
        var sql = SQL(stringLiteral: "SELECT CAST(v AS \(type)) AS x FROM unnest(")
        sql.append("\(values)")
        sql.append(SQL(stringLiteral: ") AS t(v)"))
        return sql
    }

    private static func expectSame(_ type: String, _ values: [String?]) async throws {
        let roundTrip = try await RoundTrip.shared()
        let sql = self.cast(values, to: type)
        // Or it would be no test of the binary format; some types are always read as text.
        let formats = try await roundTrip.formats(sql)
        let isAlwaysText = ["float", "timestamp[", "date"].contains { type.hasPrefix($0) } || type == "timestamp"
        #expect(formats == [.text, .text, isAlwaysText ? .text : .binary, .text])
        #expect(try await roundTrip.differences(sql) == [])
    }

    @Test("numbers and booleans", arguments: Self.numbers)
    func readsNumbers(type: String, values: [String?]) async throws { try await Self.expectSame(type, values) }

    @Test("texts, documents, keys and bytes", arguments: Self.texts)
    func readsTexts(type: String, values: [String?]) async throws { try await Self.expectSame(type, values) }

    @Test("times and days", arguments: Self.times)
    func readsTimes(type: String, values: [String?]) async throws { try await Self.expectSame(type, values) }

    @Test("arrays", arguments: Self.arrays)
    func readsArrays(type: String, values: [String?]) async throws { try await Self.expectSame(type, values) }

    @Test("the answer of a function without one")
    func void() async throws {
        #expect(try await RoundTrip.values("SELECT pg_sleep(0) AS x", as: String.self) == ["", "", "", ""])
    }

    @Test(
        "types that are not known stay in text format, and so do the columns beside them",
        arguments: [
            ("interval", ["1 day 02:03:04.5", "-1 year"]), ("inet", ["::1", "10.0.0.0/8"]), ("time", ["12:30:00.5"]),
            ("\"char\"", ["a"]), ("regclass", ["pg_class"]), ("int4range", ["[1,5)", "empty"]), ("point", ["(1,2)"]),
            ("bit(3)", ["101"]),
            ("xid", ["7"]), ("timetz", ["12:30:00+05:30"]), ("tsvector", ["a b"]), ("interval[]", ["{\"1 day\"}"]),
        ] as [(String, [String?])]
    )
    func unknown(type: String, values: [String?]) async throws {
        let roundTrip = try await RoundTrip.shared()
        let sql = Self.cast(values, to: type)
        #expect(try await roundTrip.formats(sql) == [.text, .text, .text, .text])
        #expect(try await roundTrip.differences(sql) == [])
        var beside: SQL = "SELECT \(0.1) AS x, y.* FROM ("
        beside.append(sql)
        beside.append(") AS y(y)")
        #expect(try await roundTrip.formats(beside) == [.text, .text, .text, .text])
        #expect(try await roundTrip.differences(beside) == [])
    }
}
