import Foundation
@testable import LanternPostgres
import Testing

@Suite("SQL with interpolated values")
struct SQLTests {
    @Test(
        "a value is bound and never becomes part of the text",
        arguments: ["Ada", "", "'; DROP TABLE account; --", "$1", "$$", "\\'", "\0", "NULL", "🏮"]
    )
    func binds(value: String) {
        let sql: SQL = "SELECT id FROM account WHERE email = \(value) AND NOT disabled"
        #expect(sql.text == "SELECT id FROM account WHERE email = $1 AND NOT disabled")
        #expect(sql.parameters.texts == [value])
    }

    @Test("a literal between the brackets is a value as well")
    func bindsLiterals() {
        let sql: SQL = "SELECT \("now()"), \(1), \(true)"
        #expect(sql.text == "SELECT $1, $2, $3")
        #expect(sql.parameters.texts == ["now()", "1", "t"])
    }

    @Test("a value carries the type that PostgreSQL knows it by")
    func types() {
        let sql: SQL = """
            VALUES (\(true), \(1), \(Int64(1)), \(Int32(1)), \(0.5), \("x"), \(UUID()), \(PostgresBytes([1])),
                    \(Timestamp(microseconds: 0)), \([1]), \(["x"]), \([UUID()]), \([PostgresBytes([1])]))
            """
        // Object ids of pg_type.dat.
        #expect(sql.parameters.types == [16, 20, 20, 23, 701, 25, 2_950, 17, 1_184, 1_016, 1_009, 2_951, 1_001])
    }

    @Test("NULL has no text and keeps its type")
    func null() {
        let text: String? = nil
        let number: Int64? = nil
        let sql: SQL = "VALUES (\(text), \(number), \(nil as UUID?), \(nil as [String]?))"
        #expect(sql.text == "VALUES ($1, $2, $3, $4)")
        #expect(sql.parameters.texts == [nil, nil, nil, nil])
        #expect(sql.parameters.types == [25, 20, 2_950, 1_009])
    }

    @Test("an optional that holds a value is bound like the value")
    func optional() {
        let text: String? = "NULL"
        let sql: SQL = "SELECT \(text)"
        #expect(sql.parameters.texts == ["NULL"])
        #expect(sql.parameters.types == [25])
    }

    @Test(
        "numbers that have no digits are written as PostgreSQL reads them",
        arguments: [
            (Double.infinity, "Infinity"), (-Double.infinity, "-Infinity"), (Double.nan, "NaN"), (-0.25, "-0.25"),
        ]
    )
    func doubles(value: Double, text: String) {
        #expect(value.postgresText == text)
    }

    @Test("every byte survives the way to bytea and back")
    func bytes() throws {
        let bytes = PostgresBytes(UInt8.min...UInt8.max)
        let cell = PostgresCell(text: bytes.postgresText, column: "data")
        #expect(try PostgresBytes(cell) == bytes)
        #expect(PostgresBytes([0x00, 0x0F, 0xFF]).postgresText == "\\x000fff")
    }

    @Test("a piece that is put in brings its values, numbered behind those already there")
    func splice() {
        let condition: SQL = "b = \(2) AND c = \(3)"
        let sql: SQL = "SELECT a FROM t WHERE a = \(1) AND \(condition) AND d = \(4)"
        #expect(sql.text == "SELECT a FROM t WHERE a = $1 AND b = $2 AND c = $3 AND d = $4")
        #expect(sql.parameters.texts == ["1", "2", "3", "4"])
    }

    @Test("a piece without values is put in as it is")
    func spliceText() {
        let columns: SQL = "id, '$1' AS price"
        let sql: SQL = "SELECT \(columns) FROM product WHERE id = \(7)"
        #expect(sql.text == "SELECT id, '$1' AS price FROM product WHERE id = $1")
    }

    @Test("numbers of two and three digits are renumbered as a whole", arguments: [0, 1, 8, 9, 10, 95])
    func manyParameters(before: Int) {
        var sql: SQL = "VALUES "
        for number in 0..<before { sql.append("\(number) ") }
        var piece: SQL = ""
        for number in 0..<12 { piece.append("\(100 + number) ") }
        sql.append(piece)

        let numbers = sql.text.split { !$0.isNumber }.compactMap { Int($0) }
        #expect(numbers == Array(1..<(before + 13)))
        let values = Array(0..<before) + Array(100..<112)
        #expect(sql.parameters.texts == values.map { String($0) })
    }

    @Test("one value used twice in a piece stays one value")
    func repeatedNumber() {
        var piece: SQL = "name ILIKE \("%lamp%")"
        piece.append(" OR description ILIKE ")
        piece.append(SQL(unchecked: "$1"))
        var sql: SQL = "SELECT \(1) WHERE "
        sql.append(piece)
        #expect(sql.text == "SELECT $1 WHERE name ILIKE $2 OR description ILIKE $2")
        #expect(sql.parameters.count == 2)
    }

    @Test("a dollar that is no parameter stays where it is")
    func loneDollar() {
        let piece: SQL = "\(1) || '$' || $$x$$ || '$"
        let sql: SQL = "SELECT \(0), \(piece)"
        #expect(sql.text == "SELECT $1, $2 || '$' || $$x$$ || '$")
    }

    @Test("pieces are appended in order, an empty one changes nothing")
    func append() {
        var sql: SQL = "WHERE true"
        sql.append("")
        sql.append(" AND a = \("x")")
        sql.append(" AND b = \("y")")
        sql.append(" ORDER BY id")
        #expect(sql.text == "WHERE true AND a = $1 AND b = $2 ORDER BY id")
        #expect(sql.parameters.texts == ["x", "y"])
    }

    @Test("a statement can be appended to itself")
    func appendItself() {
        var sql: SQL = "(\(1), \(2))"
        sql.append(sql)
        #expect(sql.text == "($1, $2)($3, $4)")
        #expect(sql.parameters.texts == ["1", "2", "1", "2"])
    }

    @Test("text that is not known when compiling has no values")
    func unchecked() {
        let name = "outbox_p7"
        let sql = SQL(unchecked: "DROP TABLE \(name)")
        #expect(sql.text == "DROP TABLE outbox_p7")
        #expect(sql.parameters.items.isEmpty)
    }

    @Test("a value travels in the format of its type, and what ends it is no part of it")
    func formats() throws {
        let number = try #require(PostgresNumeric("1.50"))
        let sql: SQL = "VALUES (\(1), \(number), \([number]), \("x"), \(["x"]), \(nil as PostgresNumeric?), \(""))"
        #expect(sql.parameters.items.map { $0.format } == [.binary, .text, .text, .binary, .binary, .text, .binary])
        #expect(sql.parameters.texts == ["1", "1.50", #"{"1.50"}"#, "x", "{x}", nil, ""])
        #expect(sql.parameters.items.map { $0.length < 0 } == [false, false, false, false, false, true, false])
    }

    @Test("a statement stays one of the program's own until a piece comes that is not")
    func literal() {
        var sql: SQL = "SELECT \(1)"
        #expect(sql.isLiteral)
        sql.append(", \(2)")
        #expect(sql.isLiteral)
        let spliced: SQL = "WITH a AS (\(sql)) SELECT FROM a"
        #expect(spliced.isLiteral)
        sql.append(SQL(unchecked: ", now()"))
        #expect(!sql.isLiteral)
        let tainted: SQL = "WITH a AS (\(sql)) SELECT FROM a"
        #expect(!tainted.isLiteral)
    }

    @Test(
        "a text with NUL is known wherever it stands; bytes may hold it",
        arguments: [
            ("VALUES (\("a\0"))", false), ("VALUES (\(["a", "\0"]))", false), ("VALUES (\("\0" as String?))", false),
            ("VALUES (\(1), \(PostgresBytes([0])), \("a"), \([0]), \(nil as String?))", true),
        ] as [(SQL, Bool)]
    )
    func nul(sql: SQL, isAccepted: Bool) throws {
        let spliced: SQL = "SELECT \(7) FROM (\(sql)) AS t"
        for statement in [sql, spliced] {
            if isAccepted {
                try statement.parameters.check()
            } else {
                let error = #expect(throws: PostgresError.self) { try statement.parameters.check() }
                #expect(error?.code == .invalidParameter)
            }
        }
    }
}
