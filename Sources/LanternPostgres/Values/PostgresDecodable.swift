public import Foundation

/// A type that a column can be read as.
public protocol PostgresDecodable {
    /// - Throws: ``PostgresError`` with code `decoding`, naming the column, never its value.
    init(_ cell: PostgresCell) throws
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        self = cell.isNull ? nil : try Wrapped(cell)
    }
}

extension String: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        guard let text = cell.text else { throw cell.fail("text") }
        self = text
    }
}

extension Int: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        self = try cell.integer("an integer")
    }
}

extension Int64: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        self = try cell.integer("an integer")
    }
}

extension Int32: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        self = try cell.integer("a 32-bit integer")
    }
}

extension Int16: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        self = try cell.integer("a 16-bit integer")
    }
}

extension PostgresCell {
    /// PostgreSQL writes Infinity and NaN, which Swift reads; what is too large for the type is none of them.
    fileprivate func number<Number: BinaryFloatingPoint & LosslessStringConvertible>() throws -> Number {
        guard let text = self.text, let value = Number(text), !value.isInfinite || text.hasSuffix("Infinity") else {
            throw self.fail("a number in the range of \(Number.self)")
        }
        return value
    }
}

extension Double: PostgresDecodable {
    public init(_ cell: PostgresCell) throws { self = try cell.number() }
}

extension Float: PostgresDecodable {
    public init(_ cell: PostgresCell) throws { self = try cell.number() }
}

extension Bool: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        switch cell.text {
        case "t": self = true
        case "f": self = false
        default: throw cell.fail("a boolean")
        }
    }
}

extension UUID: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        let value =
            cell.format == .binary && cell.type == PostgresType.uuid
            ? cell.withBytes { bytes in
                bytes.flatMap { $0.count == 16 ? UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) : nil }
            }
            : cell.text.flatMap { UUID(strict: $0) }
        guard let value else { throw cell.fail("a UUID") }
        self = value
    }
}

extension PostgresBytes: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        let value = cell.withBytes { bytes -> [UInt8]? in
            guard let bytes else { return nil }
            if cell.format == .binary, cell.type == PostgresType.bytea { return Array(bytes) }
            guard cell.format == .text || cell.type == PostgresType.text || cell.type == PostgresType.varchar,
                bytes.count >= 2, bytes[0] == UInt8(ascii: "\\"), bytes[1] == UInt8(ascii: "x")
            else { return nil }
            return [UInt8](hexadecimal: UnsafeRawBufferPointer(rebasing: bytes[2...]))
        }
        guard let value else { throw cell.fail("bytea in hex format") }
        self.bytes = value
    }
}

extension [UInt8] {
    /// The bytes of an even number of hexadecimal digits of either case; `nil` for anything else.
    public init?(hexadecimal digits: some Collection<UInt8>) {
        func value(_ digit: UInt8) -> UInt8? {
            switch digit {
            case 0x30...0x39: digit - 0x30
            case 0x61...0x66: digit - 0x61 + 10
            case 0x41...0x46: digit - 0x41 + 10
            default: nil
            }
        }
        self = []
        self.reserveCapacity(digits.count / 2)
        var iterator = digits.makeIterator()
        while let high = iterator.next() {
            guard let low = iterator.next(), let high = value(high), let low = value(low) else { return nil }
            self.append(high << 4 | low)
        }
    }
}
