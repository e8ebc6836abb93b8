/// Takes the rows of a COPY into a table. Belongs to the closure that received it, and to one task at a time.
public final class PostgresCopyWriter {
    private let driver: Driver
    private var bytes: [UInt8] = []
    /// The closure it belongs to has returned.
    var isOver = false

    /// Bytes that are sent at once.
    private static let pieceBytes = 1 << 17

    init(_ driver: Driver) {
        self.driver = driver
        self.bytes.reserveCapacity(Self.pieceBytes + 4_096)
    }

    /// Writes one row: a value for each column, in order. Waits where the server takes them more slowly than they come.
    /// - Throws: ``PostgresError``; code `invalidParameter` for a text with a NUL character.
    public func write<each Value: PostgresEncodable>(_ values: repeat each Value) async throws {
        if self.isOver { throw PostgresError(code: .closed, message: "the COPY has ended") }
        let start = self.bytes.count
        var isFirst = true
        var holdsNUL = false
        func append(_ value: some PostgresEncodable) {
            if !isFirst { self.bytes.append(UInt8(ascii: "\t")) }
            isFirst = false
            if !CopyText.append(value, to: &self.bytes) { holdsNUL = true }
        }
        repeat append(each values)
        self.bytes.append(UInt8(ascii: "\n"))
        if holdsNUL {
            // Nothing of the row is sent, so that the closure may go on with the next.
            self.bytes.removeSubrange(start...)
            throw PostgresError(code: .invalidParameter, message: "a text of a row holds a NUL character")
        }
        if self.bytes.count >= Self.pieceBytes { try await self.flush() }
    }

    func flush() async throws {
        guard !self.bytes.isEmpty else { return }
        // The array goes to the driver's thread whole; what comes next is written into another.
        let piece = self.bytes
        self.bytes = []
        self.bytes.reserveCapacity(Self.pieceBytes + 4_096)
        _ = try await self.driver.performHere(.writeCopy(piece), .nothing)
    }
}

/// The text format of COPY (PostgreSQL documentation, COPY, "Text Format").
enum CopyText {
    /// Answers whether the value can be written.
    static func append(_ value: some PostgresEncodable, to bytes: inout [UInt8]) -> Bool {
        // Without a text in between for what most rows are made of.
        switch value {
        case let value as Int: self.append(Int64(value), to: &bytes)
        case let value as Int64: self.append(value, to: &bytes)
        case let value as Int32: self.append(Int64(value), to: &bytes)
        case let value as String: return self.append(escaping: value, to: &bytes)
        default:
            guard let text = value.postgresText else {
                bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "N")])
                return true
            }
            return self.append(escaping: text, to: &bytes)
        }
        return true
    }

    static func append(_ value: Int64, to bytes: inout [UInt8]) {
        var magnitude = value.magnitude
        let start = bytes.count
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(magnitude % 10))
            magnitude /= 10
        } while magnitude > 0
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        bytes[start...].reverse()
    }

    static func append(escaping text: String, to bytes: inout [UInt8]) -> Bool {
        var text = text
        return text.withUTF8 { utf8 in
            var isClean = true
            for byte in utf8 where byte < 0x20 || byte == 0x5C {
                isClean = false
                break
            }
            if isClean {
                bytes.append(contentsOf: utf8)
                return true
            }
            for byte in utf8 {
                switch byte {
                case 0: return false
                case 0x5C: bytes.append(contentsOf: [0x5C, 0x5C])
                case 0x09: bytes.append(contentsOf: [0x5C, UInt8(ascii: "t")])
                case 0x0A: bytes.append(contentsOf: [0x5C, UInt8(ascii: "n")])
                case 0x0D: bytes.append(contentsOf: [0x5C, UInt8(ascii: "r")])
                default: bytes.append(byte)
                }
            }
            return true
        }
    }
}
