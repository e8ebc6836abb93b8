import LanternPostgres
import TestSupport
import Testing

@Suite("Texts on their way to a real PostgreSQL and back")
struct TextRoundTripTests {
    private static let hostile = [
        "", " ", "NULL", "null", ",", "{", "}", "{}", "{{1},{2}}", "\"", "\"\"", "\\", "\\\\", "a\\", "\\\"", "\",\"",
        "\\x41",
        "'", "''", "'; DROP TABLE x; --", "$1", "$$", "--", "/*", "%s", "\u{1}", "\u{7F}", "\n", "\r\n", "\t", "\u{B}",
        "\u{85}",
        "\u{A0}", "\u{2028}", "\u{FEFF}", "\u{FEFF}a", "\u{301}", "e\u{301}", "\u{E9}", "\u{600}", "\u{200D}",
        "\u{202E}abc", "👩‍🚒",
        "🏮", "🇩🇪", "\u{FFFD}", "\u{FFFF}", "\u{10FFFF}", "[0:1]={a}", "infinity", "t", "１",
    ]

    /// Swift's `==` takes texts for equal that are not the same bytes.
    private static func areSame(_ left: String, _ right: String) -> Bool { left.utf8.elementsEqual(right.utf8) }

    @Test("a text comes back byte by byte, whatever it holds", arguments: Self.hostile)
    func texts(text: String) async throws {
        try await RoundTrip.expect(text, by: Self.areSame)
    }

    @Test("many hostile texts in one array do not run into each other")
    func together() async throws {
        let elements: [String?] = Self.hostile.flatMap { [$0, nil] }
        for read in try await RoundTrip.values("SELECT \(elements) AS x", as: [String?].self) {
            #expect(read.map { $0.map { Array($0.utf8) } } == elements.map { $0.map { Array($0.utf8) } })
        }
    }

    @Test("a text of a megabyte, by itself and in an array")
    func long() async throws {
        let text = String(repeating: "🏮 \"'\\{},NULL e\u{301}\r\n", count: 50_000)
        #expect(text.utf8.count > 1 << 20)
        let alone = try await RoundTrip.values("SELECT \(text) AS x", as: String.self).map { Self.areSame($0, text) }
        #expect(alone == [true, true, true, true])
        let listed = try await RoundTrip.values("SELECT \([text, nil]) AS x", as: [String?].self).map { read in
            read.count == 2 && read[1] == nil && (read[0].map { Self.areSame($0, text) } ?? false)
        }
        #expect(listed == [true, true, true, true])
    }

    @Test("the server counts the same bytes", arguments: Self.hostile)
    func bytes(text: String) async throws {
        let bytes = PostgresBytes(text.utf8)
        let read = try await RoundTrip.values("SELECT convert_to(\(text), 'UTF8') AS x", as: PostgresBytes.self)
        #expect(read == [bytes, bytes, bytes, bytes])
    }

    @Test(
        "json is read as it was written",
        arguments: [#"{"a" : 1,  "a":2, "b":"\u00e9\\ é 🏮 \" '"}"#, "null", " [ 1.50 ] ", "\"\"", "-0", "1e400"]
    )
    func json(text: String) async throws {
        let read = try await RoundTrip.values("SELECT \(text)::json AS x", as: String.self)
        #expect(read == [text, text, text, text])
    }

    @Test(
        "jsonb is read as the server keeps it",
        arguments: [
            (#"{"b" : 1,  "a":2, "a":3}"#, #"{"a": 3, "b": 1}"#), ("null", "null"), (" [ 1.50 ] ", "[1.50]"),
            (#""\u00e9 \" 🏮""#, #""é \" 🏮""#), ("\"\"", "\"\""),
        ]
    )
    func jsonb(text: String, kept: String) async throws {
        let read = try await RoundTrip.values("SELECT \(text)::jsonb AS x", as: String.self)
        #expect(read == [kept, kept, kept, kept])
        let listed = try await RoundTrip.values("SELECT ARRAY[\(text)::jsonb, NULL] AS x", as: [String?].self)
        #expect(listed == [[kept, nil], [kept, nil], [kept, nil], [kept, nil]])
    }

    @Test("an enum is read as its label, also beside columns that are known in binary format")
    func enums() async throws {
        let roundTrip = RoundTrip(url: try await TestCluster.shared.database())
        try await roundTrip.execute("CREATE TYPE mood AS ENUM ('happy', 'it''s \"so\", \\ 🏮', 'NULL')")
        for label in ["happy", "it's \"so\", \\ 🏮", "NULL"] {
            let read = try await roundTrip.map("SELECT \(label)::mood AS x, \(label) AS label, \(7) AS number") {
                result in
                let row = try #require(result.first)
                let number = try row("number", as: Int.self)
                return [try row("x", as: String.self), try row("label", as: String.self), "\(number)"]
            }
            let row = [label, label, "7"]
            #expect(read == [row, row, row, row])
            let lists = try await roundTrip.map("SELECT ARRAY[\(label)::mood, NULL] AS x") { result in
                try result.map { try $0("x", as: [String?].self) }
            }
            #expect(lists == [[[label, nil]], [[label, nil]], [[label, nil]], [[label, nil]]])
        }
        roundTrip.close()
    }

    @Test("a domain is read as what it is made of")
    func domains() async throws {
        let roundTrip = RoundTrip(url: try await TestCluster.shared.database())
        try await roundTrip.execute("CREATE DOMAIN amount AS bigint CHECK (value > 0)")
        let read = try await roundTrip.map("SELECT \(Int.max)::amount AS x") { try $0.first?("x", as: Int.self) }
        #expect(read == [.max, .max, .max, .max])
        roundTrip.close()
    }
}

@Suite("Bytes on their way to a real PostgreSQL and back", .serialized)
struct BytesRoundTripTests {
    private static let all = [UInt8](UInt8.min...UInt8.max)

    @Test(
        "bytes of every value",
        arguments: [
            [], [0], [0xFF], Array("\\x41".utf8), Array("\\\\".utf8), [0, 0, 0, 0], Self.all, Self.all.reversed(),
        ] as [[UInt8]]
    )
    func bytes(value: [UInt8]) async throws {
        try await RoundTrip.expect(PostgresBytes(value))
        #expect(
            try await RoundTrip.values("SELECT length(\(PostgresBytes(value))) AS x", as: Int.self)
                == [Int](repeating: value.count, count: 4))
    }

    // In text format they are 200 million digits, which a program that is not optimised reads in half a minute.
    @Test("a hundred megabytes", .timeLimit(.minutes(10)))
    func huge() async throws {
        let count = 100_000_000
        var bytes = Self.all
        while bytes.count < count { bytes += bytes }
        let value = PostgresBytes(bytes.prefix(count))
        // Not the one that tests share: it keeps its buffers.
        let roundTrip = RoundTrip(url: try await TestCluster.shared.database(), statementTimeout: .seconds(120))
        let areEqual = try await roundTrip.map("SELECT \(value) AS x") { result in
            let row = try #require(result.first)
            return try row("x", as: PostgresBytes.self) == value
        }
        #expect(areEqual == [true, true, true, true])
        roundTrip.close()
    }
}
