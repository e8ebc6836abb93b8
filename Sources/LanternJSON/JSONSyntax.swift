/// Checks that bytes are one JSON text as RFC 8259 defines it, and says where they are not.
///
/// Foundation's decoder takes trailing commas, control characters in strings, unknown escapes and leading zeros; a service
/// that takes them passes on what the next one refuses.
public struct JSONSyntax {
    /// The first fault.
    public struct Fault: Error, Equatable {
        public var line: Int
        /// In bytes, from 1.
        public var column: Int
        public var message: String
    }

    public static let maximumDepth = 128

    private let bytes: [UInt8]
    private var index = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Whether the bytes are UTF-8 and one JSON text.
    public static func isValid(_ bytes: [UInt8]) -> Bool {
        guard String(validating: bytes, as: UTF8.self) != nil else { return false }
        do { try self.check(bytes) } catch { return false }
        return true
    }

    /// - Throws: The first fault.
    public static func check(_ bytes: [UInt8]) throws(Fault) {
        var syntax = JSONSyntax(bytes)
        try syntax.value(depth: 0)
        syntax.skipSpace()
        guard syntax.index == bytes.count else { throw syntax.fault("nothing may follow the value") }
    }

    private mutating func value(depth: Int) throws(Fault) {
        guard depth < Self.maximumDepth else { throw self.fault("nested deeper than \(Self.maximumDepth)") }
        self.skipSpace()
        switch self.peek {
        case UInt8(ascii: "{"): try self.object(depth: depth)
        case UInt8(ascii: "["): try self.array(depth: depth)
        case UInt8(ascii: "\""): try self.string()
        case let byte? where byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte): try self.number()
        case UInt8(ascii: "t"): try self.word("true")
        case UInt8(ascii: "f"): try self.word("false")
        case UInt8(ascii: "n"): try self.word("null")
        case nil: throw self.fault("unexpected end, expected a value")
        default: throw self.fault("expected a value")
        }
    }

    private mutating func object(depth: Int) throws(Fault) {
        self.index += 1
        self.skipSpace()
        if self.take(UInt8(ascii: "}")) { return }
        while true {
            self.skipSpace()
            guard self.peek == UInt8(ascii: "\"") else { throw self.fault("expected a name in quotes") }
            try self.string()
            self.skipSpace()
            guard self.take(UInt8(ascii: ":")) else { throw self.fault("expected a colon") }
            try self.value(depth: depth + 1)
            self.skipSpace()
            if self.take(UInt8(ascii: "}")) { return }
            guard self.take(UInt8(ascii: ",")) else { throw self.fault("expected a comma or }") }
        }
    }

    private mutating func array(depth: Int) throws(Fault) {
        self.index += 1
        self.skipSpace()
        if self.take(UInt8(ascii: "]")) { return }
        while true {
            try self.value(depth: depth + 1)
            self.skipSpace()
            if self.take(UInt8(ascii: "]")) { return }
            guard self.take(UInt8(ascii: ",")) else { throw self.fault("expected a comma or ]") }
        }
    }

    private mutating func string() throws(Fault) {
        self.index += 1
        while let byte = self.peek {
            switch byte {
            case UInt8(ascii: "\""):
                self.index += 1
                return
            case UInt8(ascii: "\\"):
                self.index += 1
                guard let escape = self.peek else { throw self.fault("unexpected end in a string") }
                guard "\"\\/bfnrtu".utf8.contains(escape) else { throw self.fault("unknown escape in a string") }
                self.index += 1
                if escape == UInt8(ascii: "u") { try self.unicodeEscape() }
            case 0..<0x20:
                throw self.fault("control character in a string")
            default:
                self.index += 1
            }
        }
        throw self.fault("unexpected end in a string")
    }

    /// Four digits; the high half of a pair must be followed by the low half, which must not stand alone.
    private mutating func unicodeEscape() throws(Fault) {
        let unit = try self.hexadecimal()
        if (0xDC00...0xDFFF).contains(unit) { throw self.fault("lone surrogate in a string") }
        guard (0xD800...0xDBFF).contains(unit) else { return }
        guard self.take(UInt8(ascii: "\\")), self.take(UInt8(ascii: "u")),
            (0xDC00...0xDFFF).contains(try self.hexadecimal())
        else { throw self.fault("lone surrogate in a string") }
    }

    private mutating func hexadecimal() throws(Fault) -> Int {
        var value = 0
        for _ in 0..<4 {
            guard let byte = self.peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw self.fault("expected four hexadecimal digits")
            }
            value = value * 16 + digit
            self.index += 1
        }
        return value
    }

    private mutating func number() throws(Fault) {
        _ = self.take(UInt8(ascii: "-"))
        if !self.take(UInt8(ascii: "0")) { try self.digits() }
        if self.take(UInt8(ascii: ".")) { try self.digits() }
        if self.take(UInt8(ascii: "e")) || self.take(UInt8(ascii: "E")) {
            if !self.take(UInt8(ascii: "+")) { _ = self.take(UInt8(ascii: "-")) }
            try self.digits()
        }
    }

    private mutating func digits() throws(Fault) {
        guard let byte = self.peek, (0x30...0x39).contains(byte) else { throw self.fault("expected a digit") }
        while let byte = self.peek, (0x30...0x39).contains(byte) { self.index += 1 }
    }

    private mutating func word(_ word: StaticString) throws(Fault) {
        for byte in "\(word)".utf8 where !self.take(byte) { throw self.fault("expected \(word)") }
    }

    private mutating func skipSpace() {
        while let byte = self.peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { self.index += 1 }
    }

    private var peek: UInt8? { self.index < self.bytes.count ? self.bytes[self.index] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard self.peek == byte else { return false }
        self.index += 1
        return true
    }

    private func fault(_ message: String) -> Fault {
        let before = self.bytes[..<self.index]
        let line = before.count { $0 == 0x0A } + 1
        let column = before.lastIndex(of: 0x0A).map { self.index - $0 } ?? self.index + 1
        return Fault(line: line, column: column, message: message)
    }
}
