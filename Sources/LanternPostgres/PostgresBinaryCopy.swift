public import Foundation

extension PostgresTransaction {
    /// As ``copyIn(_:columns:_:)``, in COPY's binary format: the server has no text to read.
    ///
    /// Each value must have exactly the type of its column, which no conversion makes good: an `Int64` is a `bigint`, an
    /// `Int32` an `integer`. The server refuses the whole COPY otherwise.
    /// - Throws: What `body` throws, or ``PostgresError``.
    @discardableResult
    public func copyInBinary(
        _ table: String, columns: [String], _ body: (PostgresBinaryCopyWriter) async throws -> Void
    ) async throws -> Int {
        let sql = SQL.copy(into: table, columns, options: " (FORMAT binary)")
        return try await self.telemetry.measure(sql, self.telemetry.info(sql.text), runsOthers: true) {
            try await self.run([])
            return try await self.driver.copyIn(sql, loss: .nothing) { driver in
                let writer = PostgresBinaryCopyWriter(driver, columns: columns.count)
                defer { writer.isOver = true }
                try await body(writer)
                try await writer.end()
            }
        }
    }
}

/// Takes the rows of a COPY in binary format (PostgreSQL documentation, COPY, "Binary Format"). Belongs to the closure that
/// received it, and to one task at a time.
public final class PostgresBinaryCopyWriter {
    private let driver: Driver
    private let columns: Int
    private var bytes: [UInt8] = []
    /// The closure it belongs to has returned.
    fileprivate(set) var isOver = false

    /// Bytes that are sent at once.
    private static let pieceBytes = 1 << 17

    init(_ driver: Driver, columns: Int) {
        self.driver = driver
        self.columns = columns
        self.bytes.reserveCapacity(Self.pieceBytes + 4_096)
        // Signature, flags, length of the header's extension.
        self.bytes.append(contentsOf: Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0])
        self.bytes.append(contentsOf: [UInt8](repeating: 0, count: 8))
    }

    /// Writes one row. Waits where the server takes rows more slowly than they come.
    /// - Parameter body: Appends a value for each column, in order.
    /// - Throws: ``PostgresError``; code `invalidParameter` for a text with a NUL character, and for another number of values
    ///   than columns. Nothing of the row is sent then, and the closure may go on with the next.
    public func write(_ body: (inout PostgresBinaryRow) -> Void) async throws {
        if self.isOver { throw PostgresError(code: .closed, message: "the COPY has ended") }
        let start = self.bytes.count
        // Moved there and back, so that nothing is copied.
        var row = PostgresBinaryRow(bytes: self.bytes)
        self.bytes = []
        row.begin(columns: self.columns)
        body(&row)
        let (count, holdsNUL) = (row.count, row.holdsNUL)
        self.bytes = row.end()
        guard count == self.columns, !holdsNUL else {
            self.bytes.removeSubrange(start...)
            throw PostgresError(
                code: .invalidParameter,
                message: holdsNUL
                    ? "a text of a row holds a NUL character" : "a row has \(count) values for \(self.columns) columns")
        }
        if self.bytes.count >= Self.pieceBytes { try await self.flush() }
    }

    fileprivate func end() async throws {
        // In place of a number of columns.
        self.bytes.append(contentsOf: [0xFF, 0xFF])
        try await self.flush()
    }

    private func flush() async throws {
        // The array goes to the driver's thread whole; what comes next is written into another.
        let piece = self.bytes
        self.bytes = []
        self.bytes.reserveCapacity(Self.pieceBytes + 4_096)
        _ = try await self.driver.performHere(.writeCopy(piece), .nothing)
    }
}

/// A row of a binary COPY while it is written, column by column.
public struct PostgresBinaryRow: ~Copyable {
    private var bytes: [UInt8]
    fileprivate private(set) var count = 0
    fileprivate private(set) var holdsNUL = false

    fileprivate init(bytes: [UInt8]) { self.bytes = bytes }

    fileprivate mutating func begin(columns: Int) { self.write(Int16(truncatingIfNeeded: columns)) }

    fileprivate mutating func end() -> [UInt8] {
        let bytes = self.bytes
        self.bytes = []
        return bytes
    }

    private mutating func write(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { self.bytes.append(contentsOf: $0) }
    }

    private mutating func field(_ length: Int) {
        self.count += 1
        self.write(Int32(truncatingIfNeeded: length))
    }

    public mutating func null() { self.field(-1) }

    /// A `text` or `varchar`.
    public mutating func append(_ text: String?) {
        guard var text else { return self.null() }
        text.withUTF8 { utf8 in
            self.field(utf8.count)
            if utf8.contains(0) { self.holdsNUL = true }
            self.bytes.append(contentsOf: utf8)
        }
    }

    /// A `bigint`.
    public mutating func append(_ number: Int64?) {
        guard let number else { return self.null() }
        self.field(8)
        self.write(number)
    }

    /// An `integer`.
    public mutating func append(_ number: Int32?) {
        guard let number else { return self.null() }
        self.field(4)
        self.write(number)
    }

    /// A `boolean`.
    public mutating func append(_ flag: Bool?) {
        guard let flag else { return self.null() }
        self.field(1)
        self.bytes.append(flag ? 1 : 0)
    }

    /// A `uuid`.
    public mutating func append(_ uuid: UUID?) {
        guard let uuid else { return self.null() }
        self.field(16)
        withUnsafeBytes(of: uuid.uuid) { self.bytes.append(contentsOf: $0) }
    }

    /// A `timestamptz`.
    public mutating func append(_ time: Timestamp?) {
        guard let time else { return self.null() }
        self.field(8)
        self.write(PostgresTime(time).binary)
    }

    /// A `bytea`.
    public mutating func append(bytes: [UInt8]?) {
        guard let bytes else { return self.null() }
        self.field(bytes.count)
        self.bytes.append(contentsOf: bytes)
    }
}
