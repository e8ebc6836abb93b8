import HTTPTypes
import Testing

@testable import LanternHTTP
@testable import LanternJSON

@Suite("JSON syntax (RFC 8259)")
struct JSONSyntaxTests {
    @Test(
        "valid texts pass",
        arguments: [
            "null", "true", "false", "0", "-0", "10", "-1.5", "1e3", "1E+3", "1.25e-3",
            "123456789012345678901234567890",
            "\"\"", "\"a\"", "[]", "{}", "[[],{}]", " \t\r\n[ 1 ,\n2 ]\r\n", "{\"\":0}", "{\"a\":1,\"a\":2}",
            "{ \"a\" : { \"b\" : [ null , true , \"c\" ] } }",
            #""\"\\\/\b\f\n\r\t""#, #""\u0041\u00e9\u00E9\u0000""#, #""\uD83D\uDE00""#, #""\ud83d\ude00x""#,
            "\"é 🏮 \u{2028} \u{7F}\"",
        ]
    )
    func valid(text: String) {
        #expect(throws: Never.self) { try JSONSyntax.check(Array(text.utf8)) }
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        var text: String
        var fault: JSONSyntax.Fault

        init(_ text: String, _ line: Int, _ column: Int, _ message: String) {
            self.text = text
            self.fault = JSONSyntax.Fault(line: line, column: column, message: message)
        }

        var testDescription: String { self.text.debugDescription }
    }

    static let malformed: [Malformed] = [
        // No value, or more than one.
        Malformed("", 1, 1, "unexpected end, expected a value"),
        Malformed(" \n ", 2, 2, "unexpected end, expected a value"),
        Malformed("{} {}", 1, 4, "nothing may follow the value"),
        Malformed("1 x", 1, 3, "nothing may follow the value"),
        Malformed("nullnull", 1, 5, "nothing may follow the value"),
        // What is no JSON, though other readers take it.
        Malformed("NaN", 1, 1, "expected a value"),
        Malformed("Infinity", 1, 1, "expected a value"),
        Malformed("'a'", 1, 1, "expected a value"),
        Malformed("// a\n1", 1, 1, "expected a value"),
        Malformed("\u{FEFF}1", 1, 1, "expected a value"),
        Malformed("\u{A0}1", 1, 1, "expected a value"),
        Malformed("\u{0B}1", 1, 1, "expected a value"),
        Malformed("True", 1, 1, "expected a value"),
        Malformed("tru", 1, 4, "expected true"),
        Malformed("nul1", 1, 4, "expected null"),
        Malformed("fals\n", 1, 5, "expected false"),
        // Numbers.
        Malformed("01", 1, 2, "nothing may follow the value"),
        Malformed("-01", 1, 3, "nothing may follow the value"),
        Malformed("-", 1, 2, "expected a digit"),
        Malformed("+1", 1, 1, "expected a value"),
        Malformed(".5", 1, 1, "expected a value"),
        Malformed("1.", 1, 3, "expected a digit"),
        Malformed("1.e3", 1, 3, "expected a digit"),
        Malformed("1e", 1, 3, "expected a digit"),
        Malformed("1e+", 1, 4, "expected a digit"),
        Malformed("0x10", 1, 2, "nothing may follow the value"),
        Malformed("1_000", 1, 2, "nothing may follow the value"),
        // Lists.
        Malformed("[", 1, 2, "unexpected end, expected a value"),
        Malformed("]", 1, 1, "expected a value"),
        Malformed("[1,]", 1, 4, "expected a value"),
        Malformed("[,1]", 1, 2, "expected a value"),
        Malformed("[1 2]", 1, 4, "expected a comma or ]"),
        Malformed("[1", 1, 3, "expected a comma or ]"),
        Malformed("[01]", 1, 3, "expected a comma or ]"),
        Malformed("[1}", 1, 3, "expected a comma or ]"),
        // Objects.
        Malformed("{", 1, 2, "expected a name in quotes"),
        Malformed("{\"a\":1,}", 1, 8, "expected a name in quotes"),
        Malformed("{\n  \"a\": 1,\n}", 3, 1, "expected a name in quotes"),
        Malformed("{a:1}", 1, 2, "expected a name in quotes"),
        Malformed("{1:1}", 1, 2, "expected a name in quotes"),
        Malformed("{\"a\"}", 1, 5, "expected a colon"),
        Malformed("{\"a\" 1}", 1, 6, "expected a colon"),
        Malformed("{\"a\":}", 1, 6, "expected a value"),
        Malformed("{\"a\":1 \"b\":2}", 1, 8, "expected a comma or }"),
        Malformed("{\"a\":1\n\n  \"b\":2}", 3, 3, "expected a comma or }"),
        Malformed("{\"a\":1]", 1, 7, "expected a comma or }"),
        // Strings.
        Malformed("\"abc", 1, 5, "unexpected end in a string"),
        Malformed("\"abc\\", 1, 6, "unexpected end in a string"),
        Malformed("\"a\tb\"", 1, 3, "control character in a string"),
        Malformed("\"a\nb\"", 1, 3, "control character in a string"),
        Malformed("\"a\u{0}b\"", 1, 3, "control character in a string"),
        Malformed(#""\x41""#, 1, 3, "unknown escape in a string"),
        Malformed(#""\'""#, 1, 3, "unknown escape in a string"),
        Malformed(#""\u12G4""#, 1, 6, "expected four hexadecimal digits"),
        Malformed(#""\u12""#, 1, 6, "expected four hexadecimal digits"),
        // Columns are bytes.
        Malformed("[\"é\" 1]", 1, 7, "expected a comma or ]"),
        // Surrogates come in pairs.
        Malformed(#""\uDC00""#, 1, 8, "lone surrogate in a string"),
        Malformed(#""\uD800""#, 1, 8, "lone surrogate in a string"),
        Malformed(#""\uD800x""#, 1, 8, "lone surrogate in a string"),
        Malformed(#""\uD800\n""#, 1, 9, "lone surrogate in a string"),
        Malformed(#""\uD800\u0041""#, 1, 14, "lone surrogate in a string"),
        Malformed(#""\uD800\uD800""#, 1, 14, "lone surrogate in a string"),
        Malformed(#""\uD800\u12""#, 1, 12, "expected four hexadecimal digits"),
    ]

    @Test("a fault is told with its place", arguments: JSONSyntaxTests.malformed)
    func fault(_ malformed: Malformed) {
        let fault = #expect(throws: JSONSyntax.Fault.self) { try JSONSyntax.check(Array(malformed.text.utf8)) }
        #expect(fault == malformed.fault)
    }

    private static func nested(_ depth: Int) -> [UInt8] {
        Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
    }

    @Test("a text may be nested 128 deep")
    func depth() {
        #expect(throws: Never.self) { try JSONSyntax.check(Self.nested(128)) }
    }

    @Test("a text nested deeper is refused, however deep it is", arguments: [129, 100_000])
    func tooDeep(depth: Int) {
        let fault = #expect(throws: JSONSyntax.Fault.self) { try JSONSyntax.check(Self.nested(depth)) }
        #expect(fault == JSONSyntax.Fault(line: 1, column: 129, message: "nested deeper than 128"))
    }

    @Test("objects count as well as lists")
    func deepObjects() {
        let text = String(repeating: "{\"a\":[", count: 100)
        let fault = #expect(throws: JSONSyntax.Fault.self) { try JSONSyntax.check(Array(text.utf8)) }
        #expect(fault?.message == "nested deeper than 128")
    }
}

@Suite("A JSON value")
struct JSONValueTests {
    @Test(
        "every kind of value is read",
        arguments: [
            ("null", .null),
            ("true", .bool(true)),
            ("0", .integer(0)),
            ("1", .integer(1)),
            ("-9223372036854775808", .integer(.min)),
            ("9223372036854775807", .integer(.max)),
            ("1.5", .number(1.5)),
            ("9223372036854775808", .number(9_223_372_036_854_775_808)),
            ("1e400", .unrepresentable),
            ("\"a\\u0000\\uD83D\\uDE00\"", .string("a\u{0}😀")),
            ("\"1\"", .string("1")),
            ("[]", .array([])),
            ("[1,null,\"a\"]", .array([.integer(1), .null, .string("a")])),
            ("{}", .object([:])),
            ("{\"a\":{\"b\":[false]}}", .object(["a": .object(["b": .array([.bool(false)])])])),
        ] as [(String, JSONValue)]
    )
    func values(text: String, expected: JSONValue) throws {
        #expect(try JSONValue.parse(text.utf8) == expected)
    }

    @Test("a malformed text is a problem that names the place")
    func malformed() throws {
        let problem = try #require(throws: Problem.self) { try JSONValue.parse("{\n  \"a\": 1,\n}".utf8) }
        #expect(problem.status == .badRequest)
        #expect(problem.code == "malformed_json")
        #expect(problem.detail.contains("line 3, column 1"))
    }

    @Test(
        "a text that is not UTF-8 is a problem",
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0xFF, 0xFE, 0x31, 0x00],
        ] as [[UInt8]]
    )
    func notUTF8(bytes: [UInt8]) throws {
        let problem = try #require(throws: Problem.self) { try JSONValue.parse(bytes) }
        #expect(problem.status == .badRequest)
        #expect(problem.code == "malformed_json")
    }

    @Test("a text nested without end is a problem, not a crash")
    func depth() throws {
        let problem = try #require(throws: Problem.self) {
            try JSONValue.parse(String(repeating: "{\"a\":", count: 100_000).utf8)
        }
        #expect(problem.code == "malformed_json")
    }
}
