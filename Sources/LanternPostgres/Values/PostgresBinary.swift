/// Object ids of types that PostgreSQL defines (`pg_type.dat`).
enum PostgresType {
    static let bool: UInt32 = 16
    static let bytea: UInt32 = 17
    static let name: UInt32 = 19
    static let int8: UInt32 = 20
    static let int2: UInt32 = 21
    static let int4: UInt32 = 23
    static let text: UInt32 = 25
    static let oid: UInt32 = 26
    static let json: UInt32 = 114
    static let bpchar: UInt32 = 1_042
    static let varchar: UInt32 = 1_043
    static let timestamptz: UInt32 = 1_184
    static let numeric: UInt32 = 1_700
    static let void: UInt32 = 2_278
    static let uuid: UInt32 = 2_950
    static let jsonb: UInt32 = 3_802

    private static let scalars: Set<UInt32> = [
        bool, bytea, name, int8, int2, int4, text, oid, json, bpchar, varchar, timestamptz, numeric, void, uuid, jsonb,
    ]
    /// Of the arrays of those, with the type of their elements.
    private static let arrays: [UInt32: UInt32] = [
        1_000: bool, 1_001: bytea, 1_003: name, 1_016: int8, 1_005: int2, 1_007: int4, 1_009: text, 1_028: oid,
        199: json,
        1_014: bpchar, 1_015: varchar, 1_185: timestamptz, 1_231: numeric, 2_951: uuid, 3_807: jsonb,
    ]

    static func isArray(_ type: UInt32) -> Bool { Self.arrays[type] != nil }

    /// Whether a value of this type is understood in binary format, and written as text exactly as the server would. Not so
    /// floating point, whose shortest digits PostgreSQL chooses otherwise now and then.
    static func isKnown(_ type: UInt32) -> Bool { Self.scalars.contains(type) || Self.isArray(type) }
}

/// PostgreSQL's binary format, as its `*_send` functions write it.
enum PostgresBinary {
    /// The same value in text format; `nil` where the type is not known, or the bytes are none of it.
    static func text(of bytes: UnsafeRawBufferPointer, type: UInt32) -> String? {
        switch type {
        case PostgresType.text, PostgresType.varchar, PostgresType.bpchar, PostgresType.name, PostgresType.json:
            return String(decoding: bytes, as: UTF8.self)
        case PostgresType.void: return ""
        case PostgresType.jsonb: return bytes.first == 1 ? String(decoding: bytes.dropFirst(), as: UTF8.self) : nil
        case PostgresType.bool: return bytes.first.map { $0 == 0 ? "f" : "t" }
        case PostgresType.int8: return bytes.bigEndian(Int64.self).map { String($0) }
        case PostgresType.int4: return bytes.bigEndian(Int32.self).map { String($0) }
        case PostgresType.int2: return bytes.bigEndian(Int16.self).map { String($0) }
        case PostgresType.oid: return bytes.bigEndian(UInt32.self).map { String($0) }
        case PostgresType.uuid:
            guard bytes.count == 16 else { return nil }
            let digits = bytes.hexadecimal
            var text = ""
            for (index, digit) in digits.enumerated() {
                if [8, 12, 16, 20].contains(index) { text += "-" }
                text.append(digit)
            }
            return text
        case PostgresType.bytea: return "\\x" + bytes.hexadecimal
        case PostgresType.numeric: return PostgresNumeric(binary: bytes)?.description
        case PostgresType.timestamptz: return bytes.bigEndian(Int64.self).map { PostgresTime(binary: $0).description }
        case _ where PostgresType.isArray(type): return Self.array(bytes)
        default:
            return nil
        }
    }

    /// As `array_out` writes it.
    private static func array(_ bytes: UnsafeRawBufferPointer) -> String? {
        guard let array = BinaryArray(bytes) else { return nil }
        guard !array.elements.isEmpty else { return "{}" }
        var texts: [String] = []
        for element in array.elements {
            guard let element else {
                texts.append("NULL")
                continue
            }
            guard let text = self.text(of: element, type: array.type) else { return nil }
            texts.append(self.quoted(text))
        }
        for size in array.sizes.reversed() where size > 0 {
            texts = stride(from: 0, to: texts.count, by: size).map { start in
                "{" + texts[start..<min(start + size, texts.count)].joined(separator: ",") + "}"
            }
        }
        guard array.bounds.contains(where: { $0 != 1 }) else { return texts.joined() }
        let bounds = zip(array.bounds, array.sizes).map { "[\($0):\(Int($0) + $1 - 1)]" }
        return bounds.joined() + "=" + texts.joined()
    }

    private static func quoted(_ text: String) -> String {
        let needsQuotes =
            text.isEmpty || text.uppercased() == "NULL"
            || text.utf8.contains { byte in
                switch byte {
                case 0x22, 0x5C, 0x7B, 0x7D, 0x2C, 0x20, 0x09...0x0D: true
                default: false
                }
            }
        guard needsQuotes else { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { quoted += "\\" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "\""
    }

    /// A decimal number of an optional sign and digits, and nothing else.
    static func integer<Integer: FixedWidthInteger>(text bytes: UnsafeRawBufferPointer) -> Integer? {
        Integer(String(decoding: bytes, as: UTF8.self))
    }
}

extension UnsafeRawBufferPointer {
    /// An integer in network byte order that fills these bytes.
    func bigEndian<Integer: FixedWidthInteger>(_ type: Integer.Type) -> Integer? {
        guard self.count == MemoryLayout<Integer>.size else { return nil }
        return Integer(bigEndian: self.loadUnaligned(as: Integer.self))
    }
}

/// Reads one piece behind the other, and none beyond the end.
struct BinaryReader {
    private let buffer: UnsafeRawBufferPointer
    private var offset = 0

    init(_ buffer: UnsafeRawBufferPointer) { self.buffer = buffer }

    mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= self.buffer.count - self.offset else { return nil }
        defer { self.offset += count }
        return UnsafeRawBufferPointer(rebasing: self.buffer[self.offset..<self.offset + count])
    }

    mutating func integer<Integer: FixedWidthInteger>(_ type: Integer.Type) -> Integer? {
        self.bytes(MemoryLayout<Integer>.size)?.bigEndian(type)
    }
}

/// An array as `array_send` writes it.
struct BinaryArray {
    let type: UInt32
    let sizes: [Int]
    let bounds: [Int32]
    /// In row-major order; `nil` is NULL.
    let elements: [UnsafeRawBufferPointer?]

    init?(_ bytes: UnsafeRawBufferPointer) {
        var reader = BinaryReader(bytes)
        guard let count = reader.integer(Int32.self), (0...6).contains(count), reader.integer(Int32.self) != nil,
            let type = reader.integer(UInt32.self)
        else { return nil }
        var sizes: [Int] = []
        var bounds: [Int32] = []
        var total = count == 0 ? 0 : 1
        for _ in 0..<count {
            guard let size = reader.integer(Int32.self), size >= 0, let bound = reader.integer(Int32.self) else {
                return nil
            }
            sizes.append(Int(size))
            bounds.append(bound)
            let (product, overflow) = total.multipliedReportingOverflow(by: Int(size))
            // Each element has four bytes at least.
            guard !overflow, product <= bytes.count / 4 else { return nil }
            total = product
        }
        var elements: [UnsafeRawBufferPointer?] = []
        elements.reserveCapacity(total)
        for _ in 0..<total {
            guard let length = reader.integer(Int32.self) else { return nil }
            if length == -1 {
                elements.append(nil)
            } else {
                guard let element = reader.bytes(Int(length)) else { return nil }
                elements.append(element)
            }
        }
        self.type = type
        self.sizes = sizes
        self.bounds = bounds
        self.elements = elements
    }
}
