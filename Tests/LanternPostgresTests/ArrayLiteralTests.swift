@testable import LanternPostgres
import Testing

@Suite("Array literals")
struct ArrayLiteralTests {
    @Test(
        "what PostgreSQL writes is read",
        arguments: [
            ("{}", []),
            ("{a}", ["a"]),
            ("{a,b c,3}", ["a", "b c", "3"]),
            (#"{"a,b","c{d}","e f"}"#, ["a,b", "c{d}", "e f"]),
            (#"{"","x"}"#, ["", "x"]),
            (#"{"a\"b","c\\d"}"#, ["a\"b", "c\\d"]),
            ("{NULL,a,NULL}", [nil, "a", nil]),
            // The word in quotes is a word.
            (#"{"NULL",NULL,nULLs}"#, ["NULL", nil, "nULLs"]),
            ("{\"a\nb\",\"\t\"}", ["a\nb", "\t"]),
            ("{\"\r\n\"}", ["\r\n"]),
            ("{🏮,é}", ["🏮", "é"]),
            // Bounds that are not from 1 are skipped.
            ("[0:1]={1,2}", ["1", "2"]),
            ("[-3:-3]={a}", ["a"]),
        ] as [(String, [String?])]
    )
    func reads(text: String, elements: [String?]) {
        #expect(ArrayLiteral.parse(text) == elements)
    }

    @Test(
        "what is no one-dimensional array is refused",
        arguments: [
            "", " ", "a", "a,b", "{", "}", "{a", "a}", #"{"a}"#, #"{a"}"#, #"{"a\"}"#, #"{a\}"#,
            // Several dimensions, and bounds that are none.
            "{{1,2},{3,4}}", "{{}}", "{a,{b}}", "[1:1][0:1]={{1,2}}", "[0:1]{1,2}", "[0:1]=", "[0:1]", "[a:b]={1,2}",
            "=", "[",
        ]
    )
    func refuses(text: String) {
        #expect(ArrayLiteral.parse(text) == nil)
    }

    @Test(
        "a rectangle is read row by row",
        arguments: [
            ("{}", [], []), ("{a}", [1], ["a"]),
            ("{{1,2,3},{4,5,6}}", [2, 3], ["1", "2", "3", "4", "5", "6"]),
            ("{{{a},{NULL}},{{\"}\"},{\"{\"}}}", [2, 2, 1], ["a", nil, "}", "{"]),
            ("[-1:0][2:3]={{1,2},{3,4}}", [2, 2], ["1", "2", "3", "4"]),
            ("{{{{{{1,2}}}}}}", [1, 1, 1, 1, 1, 2], ["1", "2"]),
        ] as [(String, [Int], [String?])]
    )
    func rectangles(text: String, dimensions: [Int], elements: [String?]) throws {
        let read = try #require(ArrayLiteral.parseAll(text))
        #expect(read.dimensions == dimensions)
        #expect(read.elements == elements)
    }

    @Test(
        "what is no rectangle is refused, and so are seven dimensions",
        arguments: [
            "{{1,2},{3}}", "{{1},2}", "{1,{2}}", "{{},{}}", "{{1},{}}", "{{{1}},{2}}", "{{2},{{1}}}", "{{1}{2}}",
            "{{1},{2}", "{{1}}}", "{{{{{{{1}}}}}}}",
        ]
    )
    func refusesOtherShapes(text: String) {
        #expect(ArrayLiteral.parseAll(text) == nil)
    }

    @Test(
        "an element may begin or end with a character that joins its neighbour",
        arguments: [("{\u{301}a}", "\u{301}a"), ("{a\u{600}}", "a\u{600}")]
    )
    func joiningCharacters(text: String, element: String) {
        // PostgreSQL puts neither in quotes, so a brace and its neighbour are one Character.
        #expect(ArrayLiteral.parse(text) == [element])
    }

    @Test(
        "elements are quoted, NULL is not",
        arguments: [
            ([], "{}"), (["a", "b"], #"{"a","b"}"#), ([nil], "{NULL}"), (["NULL", nil], #"{"NULL",NULL}"#),
            ([""], #"{""}"#),
            (["a\"b\\c"], #"{"a\"b\\c"}"#),
        ] as [([String?], String)]
    )
    func writes(elements: [String?], text: String) {
        #expect(elements.postgresText == text)
    }

    private static let hostile = [
        "", " ", "NULL", "null", ",", "{", "}", "{}", "{{1},{2}}", "\"", "\"\"", "\\", "\\\\", "a\\", "\\\"", "\",\"",
        "\"}",
        "'", "'; DROP TABLE x; --", "$1", "\n", "\r\n", "\t", "\u{B}", "\u{A0}", "\u{2028}", "\u{301}", "e\u{301}",
        "\u{600}",
        "\u{200D}", "👩‍🚒", "\u{FFFD}", "\u{10FFFF}", "[0:1]={a}",
    ]

    @Test("a text comes back byte by byte, whatever it holds", arguments: Self.hostile)
    func roundTrip(text: String) throws {
        let literal = try #require([text, nil, text].postgresText)
        let elements = try #require(ArrayLiteral.parse(literal))
        let bytes = Array(text.utf8)
        #expect(elements.map { $0.map { Array($0.utf8) } } == [bytes, nil, bytes])
    }

    @Test("texts do not run into each other", arguments: UInt64(1)...20)
    func randomRoundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let elements: [String?] = (0..<Int.random(in: 0...50, using: &generator)).map { _ in
            guard Int.random(in: 0..<5, using: &generator) > 0 else { return nil }
            return (0..<Int.random(in: 0...4, using: &generator))
                .compactMap { _ in Self.hostile.randomElement(using: &generator) }.joined()
        }
        let literal = try #require(elements.postgresText)
        let read = try #require(ArrayLiteral.parse(literal))
        #expect(read.map { $0.map { Array($0.utf8) } } == elements.map { $0.map { Array($0.utf8) } })
    }

    @Test("elements are read as their type")
    func typed() throws {
        #expect(try [Int64](PostgresCell(text: "{1,-2,9223372036854775807}", column: "n")) == [1, -2, .max])
        #expect(try [Bool?](PostgresCell(text: "{t,NULL,f}", column: "b")) == [true, nil, false])
        #expect(
            try [PostgresBytes](PostgresCell(text: #"{"\\x00ff","\\x"}"#, column: "d"))
                == [PostgresBytes([0x00, 0xFF]), PostgresBytes([])]
        )
    }

    @Test(
        "an element of another type is refused, naming the column and not the value",
        arguments: ["{1,s3cret}", "{NULL}", "{{1}}"])
    func wrongType(text: String) throws {
        let error = try #require(throws: PostgresError.self) { try [Int](PostgresCell(text: text, column: "numbers")) }
        #expect(error.code == .decoding)
        #expect(error.message.contains("numbers"))
        #expect(!error.message.contains("s3cret"))
    }
}
