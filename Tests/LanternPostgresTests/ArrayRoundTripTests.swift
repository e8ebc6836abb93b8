import Foundation
import LanternPostgres
import Testing

@Suite("Arrays on their way to a real PostgreSQL and back")
struct ArrayRoundTripTests {
    private static let hostile: [String?] = [
        "", nil, "NULL", ",", "{", "}", "\"", "\\", "a b", "\n", "\u{301}", "🏮", "'", "$1", "[0:1]={a}", "{{1},{2}}",
        " x ", nil,
    ]

    private static func expect<Element: PostgresEncodable & PostgresDecodable & Equatable>(
        _ array: PostgresArray<Element>, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let read = try await RoundTrip.values("SELECT \(array) AS x", as: PostgresArray<Element>.self)
        #expect(read == [array, array, array, array], sourceLocation: sourceLocation)
        let optional = try await RoundTrip.values(
            "SELECT \(array as PostgresArray<Element>?) AS x", as: PostgresArray<Element>?.self)
        #expect(optional == [array, array, array, array], sourceLocation: sourceLocation)
    }

    @Test("two dimensions of each type")
    func twoDimensions() async throws {
        func expect<Element: PostgresEncodable & PostgresDecodable & Equatable>(
            _ one: Element, _ two: Element, sourceLocation: SourceLocation = #_sourceLocation
        ) async throws {
            let elements = [one, two, two, one, one, one]
            try await Self.expect(
                try #require(PostgresArray(dimensions: [2, 3], elements: elements)), sourceLocation: sourceLocation)
            let holes: [Element?] = [nil, one, two, nil, nil, nil]
            try await Self.expect(
                try #require(PostgresArray(dimensions: [3, 2], elements: holes)), sourceLocation: sourceLocation)
        }
        try await expect(Int.min, Int.max)
        try await expect(Int64.min, Int64.max)
        try await expect(Int32.min, Int32.max)
        try await expect(Int16.min, Int16.max)
        try await expect(true, false)
        try await expect(-Double.infinity, 0.1)
        try await expect(Float.greatestFiniteMagnitude, 0.1)
        try await expect(try #require(PostgresNumeric("-0.00010")), try #require(PostgresNumeric("NaN")))
        try await expect(Decimal(1) / 3, -1)
        try await expect(UUID(), UUID())
        try await expect(PostgresBytes([]), PostgresBytes(UInt8.min...UInt8.max))
        try await expect(Timestamp(microseconds: -1), Timestamp(microseconds: 1))
        try await expect(PostgresTime.infinity, PostgresTime(Timestamp(microseconds: 0)))
    }

    @Test(
        "texts that look like arrays, in two dimensions and in six",
        arguments: [[2, 9], [9, 2], [3, 1, 2, 1, 3, 1], [18]])
    func texts(dimensions: [Int]) async throws {
        try await Self.expect(try #require(PostgresArray(dimensions: dimensions, elements: Self.hostile)))
    }

    @Test("six dimensions, as many as there can be")
    func sixDimensions() async throws {
        let elements = (0..<720).map { $0 % 7 == 0 ? nil : $0 }
        try await Self.expect(try #require(PostgresArray(dimensions: [1, 2, 3, 4, 5, 6], elements: elements)))
        let numerics = try (0..<64).map { try #require(PostgresNumeric("\($0).00")) }
        try await Self.expect(try #require(PostgresArray(dimensions: [2, 2, 2, 2, 2, 2], elements: numerics)))
    }

    @Test("an array without elements has no dimensions, however it was made")
    func empty() async throws {
        try await Self.expect(try #require(PostgresArray<Int>(dimensions: [], elements: [])))
        try await Self.expect(try #require(PostgresArray<String?>(dimensions: [], elements: [])))
        try await Self.expect(try #require(PostgresArray<PostgresNumeric>(dimensions: [], elements: [])))
        for sql in ["SELECT '{}'::int8[] AS x", "SELECT ARRAY[]::int8[] AS x"] as [SQL] {
            #expect(try await RoundTrip.values(sql, as: [Int].self) == [[], [], [], []])
            let dimensions = try await RoundTrip.values(sql, as: PostgresArray<Int>.self).map { $0.dimensions }
            #expect(dimensions == [[], [], [], []])
        }
    }

    @Test("the server counts rows and columns alike: the last index varies fastest")
    func order() async throws {
        let array = try #require(PostgresArray(dimensions: [2, 3], elements: [11, 12, 13, 21, 22, 23]))
        let numerics = try #require(
            PostgresArray(dimensions: [2, 3], elements: array.elements.map { PostgresNumeric($0) }))
        #expect(try await RoundTrip.values("SELECT (\(array))[2][1] AS x", as: Int.self) == [21, 21, 21, 21])
        #expect(try await RoundTrip.values("SELECT (\(numerics))[2][1] AS x", as: Int.self) == [21, 21, 21, 21])
        for shape in try await RoundTrip.values("SELECT array_dims(\(array)) AS x", as: String.self) {
            #expect(shape == "[1:2][1:3]")
        }
        for text in try await RoundTrip.values("SELECT \(numerics)::text AS x", as: String.self) {
            #expect(text == "{{11,12,13},{21,22,23}}")
        }
    }

    @Test("an array of one dimension is an Array as well")
    func oneDimension() async throws {
        let array = try #require(PostgresArray(dimensions: [3], elements: [1, 2, 3]))
        #expect(
            try await RoundTrip.values("SELECT \(array) AS x", as: [Int].self) == [
                [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3],
            ])
        let read = try await RoundTrip.values("SELECT \([1, 2, 3]) AS x", as: PostgresArray<Int>.self)
        #expect(read == [array, array, array, array])
    }

    @Test("where its indices begin is no part of what is read")
    func bounds() async throws {
        let read = try await RoundTrip.values("SELECT '[0:2]={1,NULL,3}'::int8[] AS x", as: [Int?].self)
        #expect(read == [[1, nil, 3], [1, nil, 3], [1, nil, 3], [1, nil, 3]])
        let array = try #require(PostgresArray(dimensions: [2, 2], elements: [1, 2, 3, 4]))
        let rectangles = try await RoundTrip.values(
            "SELECT '[-1:0][7:8]={{1,2},{3,4}}'::int8[] AS x", as: PostgresArray<Int>.self)
        #expect(rectangles == [array, array, array, array])
    }

    @Test("a long array")
    func long() async throws {
        let numbers = (0..<100_000).map { $0 % 3 == 0 ? nil : Int32($0) }
        for read in try await RoundTrip.values("SELECT \(numbers) AS x", as: [Int32?].self) { #expect(read == numbers) }
        let count = try await RoundTrip.values(
            "SELECT count(*) AS x FROM unnest(\(numbers)) AS t(n) WHERE n IS NULL", as: Int.self)
        #expect(count == [33_334, 33_334, 33_334, 33_334])
    }

    @Test("elements are read as any type that is wide enough")
    func widened() async throws {
        let small = try await RoundTrip.values("SELECT \([Int16.min, .max]) AS x", as: [Int].self)
        #expect(small == [[-32_768, 32_767], [-32_768, 32_767], [-32_768, 32_767], [-32_768, 32_767]])
        let exact = try await RoundTrip.values("SELECT ARRAY[1, 2.5]::numeric[] AS x", as: [Double].self)
        #expect(exact == [[1, 2.5], [1, 2.5], [1, 2.5], [1, 2.5]])
    }

    // MARK: - Making one

    @Test(
        "elements that do not fill the dimensions make no array",
        arguments: [
            ([], 1), ([1], 0), ([2], 1), ([2], 3), ([2, 2], 3), ([2, 2], 5), ([0], 0), ([0, 2], 0), ([2, 0], 0),
            ([-1], 1), ([-1, -1], 1),
            ([1, 1, 1, 1, 1, 1, 1], 1),
        ] as [([Int], Int)]
    )
    func shapeless(dimensions: [Int], count: Int) {
        #expect(PostgresArray(dimensions: dimensions, elements: [Int](repeating: 7, count: count)) == nil)
    }

    @Test(
        "dimensions whose product is no number make no array",
        arguments: [[Int.max, 2], [Int.max, Int.max], [1 << 32, 1 << 32]])
    func overflowing(dimensions: [Int]) {
        #expect(PostgresArray(dimensions: dimensions, elements: [7]) == nil)
    }
}
