import LanternPostgres
import Testing

@Suite("Parameters that PostgreSQL does not take")
struct ParameterErrorTests {
    private static func everything(of error: PostgresError) -> String {
        var dumped = ""
        dump(error, to: &dumped)
        return [error.description, error.debugDescription, error.message, String(reflecting: error), dumped].joined()
    }

    @Test(
        "a text with NUL is refused before it is sent, wherever it stands",
        arguments: [
            "SELECT \("marked\0secret") AS x", "SELECT \("\0") AS x",
            "SELECT \("marked" as String?), \("\0" as String?) AS x",
            "SELECT \(["marked", "\0"]) AS x", "SELECT \([nil, "marked\0secret"]) AS x",
            "SELECT \(1) AS x, \("marked\0") AS y, \(2) AS z",
        ] as [SQL]
    )
    func nul(sql: SQL) async throws {
        let roundTrip = try await RoundTrip.shared()
        for _ in 1...3 {
            let error = await #expect(throws: PostgresError.self) { try await roundTrip.map(sql) { $0.count } }
            #expect(error?.code == .invalidParameter)
            #expect(error?.isDataError == true)
            #expect(error.map { !Self.everything(of: $0).contains("marked") } == true)
        }
        // Nothing of it is left behind.
        #expect(
            try await RoundTrip.values("SELECT \("after") AS x", as: String.self) == [
                "after", "after", "after", "after",
            ])
    }

    private static func manyParameters(_ count: Int) -> SQL {
        var interpolation = SQL.StringInterpolation(literalCapacity: count * 7, interpolationCount: count)
        interpolation.appendLiteral("SELECT cardinality(ARRAY[")
        for number in 1...count {
            if number > 1 { interpolation.appendLiteral(",") }
            interpolation.appendInterpolation(number)
        }
        interpolation.appendLiteral("]) AS x")
        return SQL(stringInterpolation: interpolation)
    }

    @Test("65,535 parameters are taken, as many as the protocol can count")
    func most() async throws {
        let count = try await RoundTrip.values(Self.manyParameters(65_535), as: Int.self)
        #expect(count == [65_535, 65_535, 65_535, 65_535])
    }

    @Test("one more is refused before it is sent")
    func tooMany() async throws {
        let roundTrip = try await RoundTrip.shared()
        let sql = Self.manyParameters(65_536)
        let error = await #expect(throws: PostgresError.self) { try await roundTrip.map(sql) { $0.count } }
        #expect(error?.code == .invalidParameter)
        #expect(error?.message.contains("65536") == true && error?.message.contains("65,535") == true)
        #expect(try await RoundTrip.values("SELECT \(1) AS x", as: Int.self) == [1, 1, 1, 1])
    }

    @Test(
        "a value that the server refuses is not part of the error's text",
        arguments: [
            "SELECT \("marked-secret")::bigint AS x", "SELECT \("marked-secret")::numeric AS x",
            "SELECT \("marked-secret")::float8 AS x",
            "SELECT \("marked-secret")::boolean AS x", "SELECT \("marked-secret")::uuid AS x",
            "SELECT \("marked-secret")::date AS x",
            "SELECT \("marked-secret")::timestamptz AS x", "SELECT \("marked-secret")::jsonb AS x",
            "SELECT \("{marked-secret")::text[] AS x",
            "SELECT \("marked-secret")::inet AS x", "SELECT \("\\marked-secret")::bytea AS x",
            "SELECT \("98765432109876543210")::bigint AS x",
            "SELECT \("98765432109876543210")::integer AS x", "SELECT \(9_876_543_210)::integer AS x",
            "SELECT 1 / (\(0)) AS x",
        ] as [SQL]
    )
    func refusedByServer(sql: SQL) async throws {
        let roundTrip = try await RoundTrip.shared()
        let error = await #expect(throws: PostgresError.self) { try await roundTrip.map(sql) { $0.count } }
        #expect(error?.sqlState?.hasPrefix("22") == true)
        #expect(error?.isDataError == true)
        let text = try Self.everything(of: #require(error))
        #expect(!text.contains("marked-secret") && !text.contains("9876543210"))
    }

    @Test("arrays of arrays are no rectangles, and are refused")
    func nested() async throws {
        let roundTrip = try await RoundTrip.shared()
        await #expect(throws: PostgresError.self) {
            try await roundTrip.map("SELECT \([[1, 2], [3, 4]]) AS x") { $0.count }
        }
    }
}
