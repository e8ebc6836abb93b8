/// The bound values of a statement, one behind the other in one buffer.
struct SQLParameters: Sendable {
    struct Item: Sendable {
        var type: UInt32
        var format: PostgresFormat
        var start: Int32
        /// -1 is NULL.
        var length: Int32
    }

    private(set) var items: [Item] = []
    private(set) var buffer = PostgresBuffer()
    /// The values are longer than one message to the server can be (1 GiB).
    private(set) var isTooLong = false

    var count: Int { self.items.count }

    mutating func reserveCapacity(_ count: Int) { self.items.reserveCapacity(count) }

    mutating func append<Value: PostgresEncodable>(_ value: Value) {
        let start = self.buffer.bytes.count
        let isValue = value.encode(into: &self.buffer)
        let length = self.buffer.bytes.count - start
        if Value.postgresFormat == .text { self.buffer.terminate() }
        if self.buffer.bytes.count > 1 << 30 { self.isTooLong = true }
        self.items.append(
            Item(
                type: Value.postgresType, format: Value.postgresFormat, start: Int32(clamping: start),
                length: isValue ? Int32(clamping: length) : -1
            )
        )
    }

    mutating func append(contentsOf other: SQLParameters) {
        let offset = Int32(clamping: self.buffer.bytes.count)
        self.buffer.append(contentsOf: other.buffer)
        if other.isTooLong || self.buffer.bytes.count > 1 << 30 { self.isTooLong = true }
        for var item in other.items {
            item.start = item.start.addingReportingOverflow(offset).partialValue
            self.items.append(item)
        }
    }

    /// - Throws: ``PostgresError`` with code `invalidParameter`; no value is told.
    func check() throws {
        if self.buffer.holdsNUL {
            throw PostgresError(code: .invalidParameter, message: "a text parameter holds a NUL character")
        }
        if self.isTooLong {
            throw PostgresError(
                code: .invalidParameter,
                message: "the parameters are longer than a message to the server can be (1 GiB)")
        }
        if self.items.count > 65_535 {
            throw PostgresError(
                code: .invalidParameter,
                message:
                    "the statement has \(self.items.count) parameters, the protocol allows 65,535: bind arrays and unnest them"
            )
        }
    }
}
