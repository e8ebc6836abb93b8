import CLibPQ
import Glibc

/// The answer to one statement: its rows, and how many rows it changed.
///
/// `@unchecked Sendable` is right because a `PGresult` is never changed after libpq has handed it over, and it is freed
/// once, when the last reference goes.
public final class PostgresResult: @unchecked Sendable {
    private let raw: OpaquePointer

    /// Rows in this answer.
    public let count: Int

    let columnCount: Int32

    /// Takes ownership of `raw`.
    init(raw: OpaquePointer) {
        self.raw = raw
        self.count = Int(PQntuples(raw))
        self.columnCount = PQnfields(raw)
    }

    deinit { PQclear(self.raw) }

    /// Rows that an INSERT, UPDATE, DELETE or MERGE changed, a COPY moved, or a SELECT returned.
    public var affectedRows: Int { PostgresBinary.integer(text: Self.bytes(PQcmdTuples(self.raw))) ?? 0 }

    /// What the server did, `ROLLBACK` where a COMMIT could not.
    var commandTag: String { String(cString: PQcmdStatus(self.raw)) }

    /// Bytes that libpq has allocated for it.
    var memorySize: Int { Int(PQresultMemorySize(self.raw)) }

    /// Of two columns with one name the first counts.
    func column(named name: String) throws -> Int32 {
        let found = name.withCString { name -> Int32? in
            for index in 0..<self.columnCount {
                if let other = PQfname(self.raw, index), strcmp(other, name) == 0 { return index }
            }
            return nil
        }
        guard let found else {
            throw PostgresError(code: .decoding, message: "the result has no column \(name)")
        }
        return found
    }

    func columnName(_ index: Int32) -> String {
        PQfname(self.raw, index).map { String(cString: $0) } ?? "\(index)"
    }

    var columnNames: [String] { (0..<self.columnCount).map { self.columnName($0) } }

    /// Whether each of its columns would be understood in binary format.
    var isKnownInBinary: Bool {
        (0..<self.columnCount).allSatisfy { PostgresType.isKnown(PQftype(self.raw, $0)) }
    }

    func cell(row: Int32, column: Int32) -> PostgresCell {
        var bytes: UnsafeRawBufferPointer?
        if PQgetisnull(self.raw, row, column) == 0, let value = PQgetvalue(self.raw, row, column) {
            // The value lives as long as the result, which the cell keeps; its length is what libpq says.
            bytes = UnsafeRawBufferPointer(start: value, count: Int(PQgetlength(self.raw, row, column)))
        }
        return PostgresCell(
            owner: self, bytes: bytes, type: PQftype(self.raw, column),
            format: PQfformat(self.raw, column) == 1 ? .binary : .text, column: column
        )
    }

    private static func bytes(_ text: UnsafePointer<CChar>?) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: text, count: text.map { strlen($0) } ?? 0)
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

    /// The column of that name as a type: `try row("id", as: UUID.self)`, or by inference.
    /// - Throws: ``PostgresError`` with code `decoding`.
    public func callAsFunction<Value: PostgresDecodable>(
        _ column: String, as type: Value.Type = Value.self
    ) throws -> Value {
        try Value(self.result.cell(row: self.index, column: self.result.column(named: column)))
    }

    /// All columns in order: `let (id, name) = try row.decode(UUID.self, String?.self)`.
    /// - Throws: ``PostgresError`` with code `decoding`.
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

    /// Names of the columns, in order.
    public var columns: [String] { self.result.columnNames }

    /// The column of that name as the server sent it.
    public func cell(_ column: String) throws -> PostgresCell {
        self.result.cell(row: self.index, column: try self.result.column(named: column))
    }
}
