import Foundation
import LanternPostgres
import Logging
import TestSupport
import Testing

/// One statement in every way that its values can travel: three times with one text on one connection, which answers in text
/// format first and in binary format when the statement is prepared, and once on a client that prepares nothing.
struct RoundTrip: Sendable {
    private let preparing: PostgresClient
    private let plain: PostgresClient

    init(url: String, statementTimeout: Duration = .seconds(30)) {
        var configuration = PostgresConfiguration(url: url, applicationName: "test")
        configuration.maximumConnections = 1
        configuration.statementTimeout = statementTimeout
        self.preparing = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
        configuration.statementCacheSize = 0
        self.plain = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
    }

    func close() {
        self.preparing.close()
        self.plain.close()
    }

    private static let starting: Task<RoundTrip, any Error> = Task.detached {
        RoundTrip(url: try await TestCluster.shared.database())
    }

    /// The one that tests share which leave nothing in the database.
    static func shared() async throws -> RoundTrip { try await Self.starting.value }

    /// Runs a statement once, where nothing is prepared.
    func execute(_ sql: SQL) async throws { try await self.plain.execute(sql) }

    /// What `read` makes of each of the four answers.
    func map<Value>(_ sql: SQL, _ read: (PostgresResult) throws -> Value) async throws -> [Value] {
        // A text that nobody asked before on this connection, so that the first time is the first.
        var sql = sql
        sql.append(SQL(stringLiteral: " -- \(UUID())"))
        var values: [Value] = []
        for client in [self.preparing, self.preparing, self.preparing, self.plain] {
            values.append(try read(try await client.query(sql)))
        }
        return values
    }

    /// In which format column `x` came.
    func formats(_ sql: SQL) async throws -> [PostgresFormat?] {
        try await self.map(sql) { try $0.first?.cell("x").format }
    }

    /// Where column `x`, read as text, is not byte by byte what the server wrote when it was to write text.
    func differences(_ sql: SQL) async throws -> [String] {
        let answers = try await self.map(sql) { result in try result.map { try $0("x", as: String?.self) } }
        let written = answers[0]
        guard !written.isEmpty, answers.allSatisfy({ $0.count == written.count }) else {
            return ["no rows, or not as many"]
        }
        return answers.dropFirst().flatMap { read in
            zip(written, read).compactMap { written, read in
                written.map { Array($0.utf8) } == read.map { Array($0.utf8) }
                    ? nil : "\(written ?? "NULL") became \(read ?? "NULL")"
            }
        }
    }
}

// MARK: - Of the shared one

extension RoundTrip {
    /// Column `x` of the first row in each of the four answers.
    static func values<Value: PostgresDecodable>(_ sql: SQL, as type: Value.Type) async throws -> [Value] {
        try await Self.shared().map(sql) { result in
            let row = try #require(result.first)
            return try row("x", as: Value.self)
        }
    }

    /// Expects that a value comes back as it was: by itself, as an optional, and in arrays. And so does its NULL.
    static func expect<Value: PostgresEncodable & PostgresDecodable>(
        _ value: Value, sourceLocation: SourceLocation = #_sourceLocation, by isSame: (Value, Value) -> Bool
    ) async throws {
        let absent: Value? = nil
        let holes: [Value?] = [nil, value, nil]
        let sql: SQL = """
            SELECT \(value) AS x, \(value as Value?) AS present, \(absent) AS absent,
                   \([value, value]) AS list, \(holes) AS holes, \([Value]()) AS empty
            """
        let wrong = try await Self.shared().map(sql) { result in
            try Self.wrongColumns(try #require(result.first), value, isSame)
        }
        #expect(wrong == [[], [], [], []], sourceLocation: sourceLocation)
    }

    static func expect<Value: PostgresEncodable & PostgresDecodable & Equatable>(
        _ value: Value, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await Self.expect(value, sourceLocation: sourceLocation) { $0 == $1 }
    }

    private static func wrongColumns<Value: PostgresDecodable>(
        _ row: PostgresRow, _ value: Value, _ isSame: (Value, Value) -> Bool
    ) throws -> [String] {
        let alone = try row("x", as: Value.self)
        let present = try row("present", as: Value?.self)
        let absent = try row("absent", as: Value?.self)
        let list = try row("list", as: [Value].self)
        let holes = try row("holes", as: [Value?].self)
        let empty = try row("empty", as: [Value].self)
        func isValue(_ other: Value?) -> Bool { other.map { isSame($0, value) } ?? false }
        let isRight: [(column: String, Bool)] = [
            ("x", isSame(alone, value)),
            ("present", isValue(present)),
            ("absent", absent == nil),
            ("list", list.count == 2 && list.allSatisfy { isSame($0, value) }),
            ("holes", holes.count == 3 && holes[0] == nil && isValue(holes[1]) && holes[2] == nil),
            ("empty", empty.isEmpty),
        ]
        return isRight.filter { !$0.1 }.map { $0.column }
    }
}
