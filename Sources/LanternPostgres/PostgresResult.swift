import CLibPQ

/// The answer to one statement: its rows, and how many rows it changed.
///
/// `@unchecked Sendable` is right because a `PGresult` is never changed after libpq has handed it over, and it is freed
/// once, when the last reference goes.
public final class PostgresResult: @unchecked Sendable {
    private let raw: OpaquePointer
    private let columns: [String: Int32]

    /// Takes ownership of `raw`.
    init(raw: OpaquePointer) {
        self.raw = raw
        var columns: [String: Int32] = [:]
        for index in 0..<PQnfields(raw) {
            // Non-NULL for an index in range (libpq, PQfname); of two columns with one name the first counts.
            guard let name = PQfname(raw, index) else { continue }
            let key = String(cString: name)
            if columns[key] == nil { columns[key] = index }
        }
        self.columns = columns
    }

    deinit { PQclear(self.raw) }

    /// Rows in this answer.
    public var count: Int { Int(PQntuples(self.raw)) }

    /// Rows that an INSERT, UPDATE, DELETE or MERGE changed, or a SELECT returned.
    public var affectedRows: Int { Int(String(cString: PQcmdTuples(self.raw))) ?? 0 }

    /// What the server did, `ROLLBACK` where a COMMIT could not.
    var commandTag: String { String(cString: PQcmdStatus(self.raw)) }

    func column(named name: String) throws -> Int32 {
        guard let index = self.columns[name] else {
            throw PostgresError(code: .decoding, message: "the result has no column \(name)")
        }
        return index
    }

    func columnName(_ index: Int32) -> String {
        PQfname(self.raw, index).map { String(cString: $0) } ?? "\(index)"
    }

    var columnCount: Int32 { PQnfields(self.raw) }

    func cell(row: Int32, column: Int32) -> PostgresCell {
        let name = self.columnName(column)
        guard PQgetisnull(self.raw, row, column) == 0, let value = PQgetvalue(self.raw, row, column) else {
            return PostgresCell(text: nil, column: name)
        }
        // The value lives as long as the result, which `self` keeps; its length is what libpq says.
        let bytes = UnsafeRawBufferPointer(start: value, count: Int(PQgetlength(self.raw, row, column)))
        return PostgresCell(text: String(decoding: bytes, as: UTF8.self), column: name)
    }
}

extension PostgresResult: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { self.count }
    public subscript(position: Int) -> PostgresRow { PostgresRow(result: self, index: Int32(position)) }
}

/// One row of a result.
public struct PostgresRow: Sendable {
    let result: PostgresResult
    let index: Int32

    /// The column of that name as a type: `try row["id", as: UUID.self]`, or by inference.
    /// - Throws: ``PostgresError`` with code `decoding`.
    public func callAsFunction<Value: PostgresDecodable>(
        _ column: String, as type: Value.Type = Value.self
    ) throws -> Value {
        try Value(self.result.cell(row: self.index, column: self.result.column(named: column)))
    }

    /// All columns in order: `let (id, name) = try row.decode(UUID.self, String?.self)`.
    public func decode<each Value: PostgresDecodable>(_ types: repeat (each Value).Type) throws -> (repeat each Value) {
        var column: Int32 = 0
        func next<T: PostgresDecodable>(_ type: T.Type) throws -> T {
            defer { column += 1 }
            guard column < self.result.columnCount else {
                throw PostgresError(code: .decoding, message: "the result has only \(self.result.columnCount) columns")
            }
            return try T(self.result.cell(row: self.index, column: column))
        }
        return (repeat try next(each types))
    }
}
