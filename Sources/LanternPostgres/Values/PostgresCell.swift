/// One value of a result, as the server sent it: in text or in binary format, or NULL.
///
/// `@unchecked Sendable` is right because the bytes are never changed, and live as long as `owner`, which the cell keeps.
public struct PostgresCell: @unchecked Sendable {
    /// Keeps the bytes alive.
    private let owner: Owner
    private let start: UnsafeRawPointer?
    private let length: Int
    /// Object id of the type (`pg_type.dat`).
    public let type: UInt32
    public let format: PostgresFormat

    private enum Owner {
        case result(PostgresResult, column: Int32)
        case text(TextBytes?, column: String)
    }

    init(
        owner: PostgresResult, bytes: UnsafeRawBufferPointer?, type: UInt32, format: PostgresFormat, column: Int32
    ) {
        self.init(.result(owner, column: column), bytes, type, format)
    }

    private init(_ owner: Owner, _ bytes: UnsafeRawBufferPointer?, _ type: UInt32, _ format: PostgresFormat) {
        self.owner = owner
        // An empty value has an address as well: `nil` is NULL.
        self.start = bytes.map { $0.baseAddress ?? UnsafeRawPointer(bitPattern: 1) } ?? nil
        self.length = bytes?.count ?? 0
        self.type = type
        self.format = format
    }

    /// A value in text format.
    init(text: String?, column: String) {
        let bytes = text.map { TextBytes($0) }
        self.init(.text(bytes, column: column), bytes?.bytes, 0, .text)
    }

    /// Bytes of its own for a text that belongs to no result.
    private final class TextBytes {
        private let buffer: UnsafeMutableBufferPointer<UInt8>
        private let count: Int

        var bytes: UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(start: self.buffer.baseAddress, count: self.count)
        }

        init(_ text: String) {
            self.count = text.utf8.count
            self.buffer = .allocate(capacity: max(1, self.count))
            _ = self.buffer.initialize(from: text.utf8)
        }

        deinit { self.buffer.deallocate() }
    }

    /// Name of its column.
    public var column: String {
        switch self.owner {
        case .result(let result, let column): result.columnName(column)
        case .text(_, let column): column
        }
    }

    public var isNull: Bool { self.start == nil }

    /// Reads the bytes; `nil` is NULL.
    public func withBytes<Value>(_ body: (UnsafeRawBufferPointer?) throws -> Value) rethrows -> Value {
        try withExtendedLifetime(self.owner) {
            try body(self.start.map { UnsafeRawBufferPointer(start: $0, count: self.length) })
        }
    }

    /// The value in PostgreSQL's text format; `nil` is NULL, and a value in binary format whose type is not known here.
    public var text: String? {
        self.withBytes { bytes -> String? in
            guard let bytes else { return nil }
            return self.format == .text
                ? String(decoding: bytes, as: UTF8.self) : PostgresBinary.text(of: bytes, type: self.type)
        }
    }

    /// A cell of bytes that lie within this one.
    func part(_ bytes: UnsafeRawBufferPointer?, type: UInt32) -> PostgresCell {
        PostgresCell(self.owner, bytes, type, self.format)
    }

    func fail(_ expected: String) -> PostgresError {
        PostgresError(
            code: .decoding,
            message: self.isNull
                ? "column \(self.column) is NULL, expected \(expected)"
                : "column \(self.column) is not \(expected)"
        )
    }

    /// The value as an integer of a type wide enough for it.
    func integer<Integer: FixedWidthInteger>(_ expected: String) throws -> Integer {
        let value = self.withBytes { bytes -> Integer? in
            guard let bytes else { return nil }
            if self.format == .text { return PostgresBinary.integer(text: bytes) }
            switch self.type {
            case PostgresType.int8: return bytes.bigEndian(Int64.self).flatMap { Integer(exactly: $0) }
            case PostgresType.int4: return bytes.bigEndian(Int32.self).flatMap { Integer(exactly: $0) }
            case PostgresType.int2: return bytes.bigEndian(Int16.self).flatMap { Integer(exactly: $0) }
            case PostgresType.oid: return bytes.bigEndian(UInt32.self).flatMap { Integer(exactly: $0) }
            // A count or a sum may be numeric.
            default: return PostgresBinary.text(of: bytes, type: self.type).flatMap { Integer($0) }
            }
        }
        guard let value else { throw self.fail(expected) }
        return value
    }

    /// Dimensions of an array, and its elements in row-major order.
    func arrayElements() throws -> (dimensions: [Int], cells: [PostgresCell]) {
        guard self.format == .binary, PostgresType.isArray(self.type) else {
            guard let text = self.text, let (dimensions, elements) = ArrayLiteral.parseAll(text) else {
                throw self.fail("an array")
            }
            let column = self.column
            return (dimensions, elements.map { PostgresCell(text: $0, column: column) })
        }
        return try self.withBytes { bytes in
            guard let array = bytes.flatMap({ BinaryArray($0) }) else { throw self.fail("an array") }
            return (array.elements.isEmpty ? [] : array.sizes, array.elements.map { self.part($0, type: array.type) })
        }
    }
}
