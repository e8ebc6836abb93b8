public import Foundation

/// A row of a COPY while it is written, column by column.
public struct PostgresCopyRow: ~Copyable {
    private var bytes: [UInt8]
    private var isFirst = true
    private(set) var holdsNUL = false

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func end() -> [UInt8] {
        self.bytes.append(UInt8(ascii: "\n"))
        let bytes = self.bytes
        self.bytes = []
        return bytes
    }

    private mutating func separate() {
        if !self.isFirst { self.bytes.append(UInt8(ascii: "\t")) }
        self.isFirst = false
    }

    public mutating func null() {
        self.separate()
        self.bytes.append(UInt8(ascii: "\\"))
        self.bytes.append(UInt8(ascii: "N"))
    }

    public mutating func append(_ text: String?) {
        guard let text else { return self.null() }
        self.separate()
        if !CopyText.append(escaping: text, to: &self.bytes) { self.holdsNUL = true }
    }

    public mutating func append(_ number: Int64?) {
        guard let number else { return self.null() }
        self.separate()
        CopyText.append(number, to: &self.bytes)
    }

    public mutating func append(_ flag: Bool) {
        self.separate()
        self.bytes.append(UInt8(ascii: flag ? "t" : "f"))
    }

    public mutating func append(_ uuid: UUID) {
        self.separate()
        withUnsafeBytes(of: uuid.uuid) { bytes in
            for (index, byte) in bytes.enumerated() {
                if index == 4 || index == 6 || index == 8 || index == 10 { self.bytes.append(UInt8(ascii: "-")) }
                self.hexadecimal(byte)
            }
        }
    }

    public mutating func append(_ time: Timestamp?) {
        self.append(time.flatMap { $0.postgresText })
    }

    /// A `bytea`.
    public mutating func append(bytes: [UInt8]?) {
        guard let bytes else { return self.null() }
        self.separate()
        // The backslash of \x is escaped, as every one in the text format.
        self.bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "\\"), UInt8(ascii: "x")])
        self.bytes.reserveCapacity(self.bytes.count + bytes.count * 2)
        for byte in bytes { self.hexadecimal(byte) }
    }

    private mutating func hexadecimal(_ byte: UInt8) {
        func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
        self.bytes.append(digit(byte >> 4))
        self.bytes.append(digit(byte & 15))
    }
}
