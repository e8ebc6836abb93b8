import Foundation
import LanternPostgres
import TestSupport
import Testing

/// What a row can be read as.
private struct Order: Decodable, Equatable {
    enum Status: String, Decodable { case open, shipped }
    enum Priority: Int, Decodable { case low = 1, high }

    struct Address: Codable, Equatable {
        var street: String
        var number: Int?
    }

    struct Item: Codable, Equatable {
        var sku: String
        var count: Int
    }

    var id: Int
    var customerID: UUID
    var placedAt: Timestamp
    var totalHTTPBytes: Int64
    var isPaid: Bool
    var amount: Decimal
    var weight: Double
    var tags: [String]
    var status: Status
    var priority: Priority
    var address: Address
    var items: [Item]
    var counts: [String: Int]
    var note: String?
    var shippedAt: Timestamp?
    var former: Status?
    var billing: Address?
    var missing: Int?
}

@Suite("Rows as Decodable values")
struct RowDecodingTests {
    private struct Number: Decodable, Equatable { var n: Int }

    /// All that a log line, an assertion or a debugger writes of an error.
    private static func everything(of error: any Error) -> String {
        var dumped = ""
        dump(error, to: &dumped)
        return ["\(error)", String(reflecting: error), error.localizedDescription, dumped].joined()
    }

    /// What becomes of the first row, in each way that it can come.
    private static func errors<Value: Decodable>(_ sql: SQL, _ type: Value.Type) async throws -> [String] {
        try await RoundTrip.shared().map(sql) { result in
            let row = try #require(result.first)
            let error = try #require(#expect(throws: DecodingError.self) { try row.decode(as: type) })
            return Self.everything(of: error)
        }
    }

    // MARK: - Values

    @Test("members are read from columns in snake case, enums by raw value, and other types from JSON")
    func members() async throws {
        let id = UUID()
        let time = try #require(Timestamp("2024-02-29T23:59:59.999999Z"))
        let sql: SQL = """
            SELECT \(7) AS id, \(id) AS customer_id, \(time) AS placed_at, \(Int64.max) AS total_http_bytes, \(true) AS is_paid,
                   '12.50'::numeric AS amount, \(0.1) AS weight, \(["a", "b,\"c\""]) AS tags, 'shipped' AS status,
                   2::smallint AS priority, '{"street": "Main 🏮", "number": null}'::jsonb AS address,
                   '[{"sku": "a", "count": 1}, {"sku": "b", "count": 2}]'::json AS items, '{"x": 1}'::jsonb AS counts,
                   \(nil as String?) AS note, \(time) AS shipped_at, \(nil as String?) AS former,
                   '{"street": "Side", "number": 3}'::jsonb AS billing
            """
        let orders = try await RoundTrip.shared().map(sql) { try $0.decode(as: Order.self) }
        let order = Order(
            id: 7, customerID: id, placedAt: time, totalHTTPBytes: .max, isPaid: true,
            amount: try #require(Decimal(string: "12.5")), weight: 0.1, tags: ["a", "b,\"c\""], status: .shipped,
            priority: .high, address: .init(street: "Main 🏮", number: nil),
            items: [.init(sku: "a", count: 1), .init(sku: "b", count: 2)], counts: ["x": 1], note: nil, shippedAt: time,
            former: nil, billing: .init(street: "Side", number: 3), missing: nil)
        #expect(orders == Array(repeating: [order], count: 4))
    }

    @Test("an optional member may be NULL or have no column, and is there where it has a value")
    func optionals() async throws {
        struct Optionals: Decodable, Equatable {
            var number: Int?
            var status: Order.Status?
            var address: Order.Address?
            var tags: [String]?
        }
        let roundTrip = try await RoundTrip.shared()
        let null: SQL =
            "SELECT NULL::bigint AS number, NULL::text AS status, NULL::jsonb AS address, NULL::text[] AS tags"
        let values: SQL = """
            SELECT 1::bigint AS number, 'open' AS status, '{"street": "a"}'::jsonb AS address, '{a}'::text[] AS tags
            """
        let nothing = Optionals()
        let all = Optionals(number: 1, status: .open, address: .init(street: "a"), tags: ["a"])
        #expect(
            try await roundTrip.map(null) { try $0.first?.decode(as: Optionals.self) } == [
                nothing, nothing, nothing, nothing,
            ])
        #expect(
            try await roundTrip.map("SELECT 1 AS other") { try $0.first?.decode() } == [
                nothing, nothing, nothing, nothing,
            ])
        #expect(try await roundTrip.map(values) { try $0.first?.decode() } == [all, all, all, all])
    }

    @Test("a column of exactly the name goes before one in snake case, and keys of one's own work")
    func names() async throws {
        struct Named: Decodable, Equatable {
            enum CodingKeys: String, CodingKey {
                case customerID
                case other = "Other Column"
            }
            var customerID: Int
            var other: Int
        }
        let rows = try await RoundTrip.shared().map(
            "SELECT 1 AS customer_id, 2 AS \"customerID\", 3 AS \"Other Column\""
        ) { try $0.first?.decode(as: Named.self) }
        #expect(Set(rows.map { $0?.customerID }) == [2] && Set(rows.map { $0?.other }) == [3])
    }

    @Test("a result is read as an array, of single values too")
    func results() async throws {
        let roundTrip = try await RoundTrip.shared()
        let three: SQL = "SELECT n::bigint AS n FROM generate_series(1, 3) AS n"
        let numbers = [1, 2, 3].map { Number(n: $0) }
        #expect(try await roundTrip.map(three) { try $0.decode() } == [numbers, numbers, numbers, numbers])
        #expect(
            try await roundTrip.map(three) { try $0.decode(as: Int.self) } == Array(repeating: [1, 2, 3], count: 4))
        let none: SQL = "SELECT 1::bigint AS n WHERE false"
        #expect(try await roundTrip.map(none) { try $0.decode(as: Number.self).count } == [0, 0, 0, 0])
        let statuses = try await roundTrip.map("SELECT 'open' AS status") { try $0.decode(as: Order.Status.self) }
        #expect(statuses == Array(repeating: [.open], count: 4))
    }

    @Test("rows of a stream are read alike")
    func stream() async throws {
        let client = try await TestCluster.shared.client(maximumConnections: 1)
        let numbers = try await client.stream("SELECT n FROM generate_series(1, \(100)) AS n") { rows in
            var numbers: [Int] = []
            for try await row in rows { numbers.append(try row.decode(as: Number.self).n) }
            return numbers
        }
        #expect(numbers == Array(1...100))
        client.close()
    }

    // A decoder that asks itself again for what it does not know never ends: in a process of its own, which may crash.
    @Test("members of every type of integer are read, and what does not fit is refused")
    func integers() async throws {
        await #expect(processExitsWith: .success) {
            struct Integers: Decodable, Equatable {
                var a: Int8
                var b: UInt8
                var c: UInt16
                var d: UInt32
                var e: UInt64
                var f: UInt
            }
            let client = try await TestCluster.shared.client(maximumConnections: 1)
            let sql: SQL = "SELECT -128 AS a, 255 AS b, 65535 AS c, 4294967295 AS d, \(Int64.max) AS e, 0 AS f"
            let row = try #require(try await client.query(sql).first)
            let expected = Integers(a: -128, b: 255, c: 65_535, d: 4_294_967_295, e: UInt64(Int64.max), f: 0)
            try #require(try row.decode(as: Integers.self) == expected)
            let large = try #require(try await client.query("SELECT 300 AS b").first)
            struct Byte: Decodable { var b: UInt8 }
            try #require(throws: DecodingError.self) { try large.decode(as: Byte.self) }
        }
    }

    // MARK: - Errors

    @Test("a value that is none of the type is an error that names the column, and not the value")
    func wrongTypes() async throws {
        struct Text: Decodable { var shopOwner: Int }
        struct Time: Decodable { var shopOwner: Timestamp? }
        struct Key: Decodable { var shopOwner: UUID }
        struct List: Decodable { var shopOwner: [Int] }
        struct Nested: Decodable { var shopOwner: Order.Address }
        let secret: SQL = "SELECT \("marked-secret") AS shop_owner"
        var errors = try await Self.errors(secret, Text.self)
        errors += try await Self.errors(secret, Time.self)
        errors += try await Self.errors(secret, Key.self)
        errors += try await Self.errors(secret, List.self)
        errors += try await Self.errors(secret, Nested.self)
        errors += try await Self.errors("SELECT '{\"marked-secret\": 1}'::text AS shop_owner", Nested.self)
        errors += try await Self.errors("SELECT NULL::bigint AS shop_owner", Text.self)
        errors += try await Self.errors("SELECT NULL::jsonb AS shop_owner", Nested.self)
        for error in errors {
            #expect(error.contains("shop_owner") || error.contains("shopOwner"))
            #expect(!error.contains("marked-secret"))
        }
    }

    @Test("so is a raw value that is none of an enum's")
    func unknownCases() async throws {
        struct Text: Decodable { var shopOwner: Order.Status }
        struct Integer: Decodable { var shopOwner: Order.Priority? }
        let errors =
            try await Self.errors("SELECT \("marked-secret") AS shop_owner", Text.self)
            + Self.errors("SELECT \(98_765) AS shop_owner", Integer.self)
            + Self.errors("SELECT \("marked-secret") AS shop_owner", Order.Status.self)
        for error in errors {
            #expect(error.contains("shop_owner") || error.contains("shopOwner"))
            #expect(!error.contains("marked-secret") && !error.contains("98765"))
        }
    }

    @Test("so is JSON that is none of the type, or no object at all")
    func wrongJSON() async throws {
        struct Nested: Decodable { var shopOwner: Order.Address }
        struct Many: Decodable { var shopOwner: [Order.Item] }
        var errors: [String] = []
        for json in [
            #"{"street": 1, "number": 2}"#, #"{"number": 98765}"#, #"{"street": "a", "number": "marked-secret"}"#,
            #"["marked-secret"]"#, #""marked-secret""#, "98765", "null", #"{"street": "a", "number": 98765.5}"#,
        ] {
            errors += try await Self.errors("SELECT \(json)::jsonb AS shop_owner", Nested.self)
            errors += try await Self.errors("SELECT \(json)::json AS shop_owner", Many.self)
        }
        for error in errors {
            #expect(error.contains("shop_owner") || error.contains("shopOwner"), "\(error)")
            #expect(!error.contains("marked-secret") && !error.contains("98765"), "\(error)")
        }
    }

    @Test("a member without column is an error that names it, and the row is read no further")
    func missing() async throws {
        struct Two: Decodable {
            var n: Int
            var shopOwner: Int
        }
        for error in try await Self.errors("SELECT 98765 AS n, 2 AS shop", Two.self) {
            #expect(error.contains("shopOwner") && !error.contains("98765"))
        }
        let row = try await RoundTrip.shared().map("SELECT 1 AS n, 2 AS m") { result in
            try #require(#expect(throws: DecodingError.self) { try result.decode(as: Int.self) })
        }
        #expect(row.count == 4)
    }
}
