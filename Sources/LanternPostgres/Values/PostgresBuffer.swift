/// Bytes of parameters on their way to the server. What is appended is in network byte order, as PostgreSQL's binary
/// format wants it.
public struct PostgresBuffer: Sendable {
    public private(set) var bytes: [UInt8] = []
    /// A text holds a NUL character, which PostgreSQL cannot keep: told when the statement runs.
    private(set) var holdsNUL = false

    public init() {}

    public mutating func append<Integer: FixedWidthInteger>(_ value: Integer) {
        withUnsafeBytes(of: value.bigEndian) { self.bytes.append(contentsOf: $0) }
    }

    public mutating func append(_ value: Double) { self.append(value.bitPattern) }

    public mutating func append(_ value: Float) { self.append(value.bitPattern) }

    public mutating func append(bytes: some Sequence<UInt8>) { self.bytes.append(contentsOf: bytes) }

    /// Appends the bytes of a text.
    public mutating func append(_ text: String) {
        var text = text
        let start = self.bytes.count
        text.withUTF8 { self.bytes.append(contentsOf: $0) }
        if !self.holdsNUL, self.bytes[start...].contains(0) { self.holdsNUL = true }
    }

    /// Appends four bytes of length, and what `body` appends behind them.
    mutating func appendCounted(_ body: (inout PostgresBuffer) -> Void) {
        let start = self.bytes.count
        self.append(Int32(0))
        body(&self)
        // Within 2 GiB: the server takes no message that is longer than one.
        self.replaceLength(at: start, with: Int32(clamping: self.bytes.count - start - 4))
    }

    mutating func replaceLength(at start: Int, with length: Int32) {
        withUnsafeBytes(of: length.bigEndian) { length in
            for index in 0..<4 { self.bytes[start + index] = length[index] }
        }
    }

    mutating func append(contentsOf other: PostgresBuffer) {
        self.bytes.append(contentsOf: other.bytes)
        if other.holdsNUL { self.holdsNUL = true }
    }

    /// Ends a value in text format, as libpq wants it; no part of the value.
    mutating func terminate() { self.bytes.append(0) }

    mutating func removeAll() {
        self.bytes.removeAll(keepingCapacity: true)
        self.holdsNUL = false
    }
}

/// How a value travels (PostgreSQL documentation, section 55.1.3).
public enum PostgresFormat: Int32, Sendable {
    case text = 0
    case binary = 1
}
