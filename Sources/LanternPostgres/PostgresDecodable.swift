public import Foundation

/// One value of a result, in PostgreSQL's text format; `nil` is NULL.
public struct PostgresCell: Sendable {
    public let text: String?
    public let column: String

    func fail(_ expected: String) -> PostgresError {
        PostgresError(
            code: .decoding,
            message: self.text == nil
                ? "column \(self.column) is NULL, expected \(expected)"
                : "column \(self.column) is not \(expected)"
        )
    }
}

/// A type that a column can be read as.
public protocol PostgresDecodable {
    /// - Throws: ``PostgresError`` with code `decoding`, naming the column, never its value.
    init(_ cell: PostgresCell) throws
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        self = cell.text == nil ? nil : try Wrapped(cell)
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
        guard let value = cell.text.flatMap(Int.init) else { throw cell.fail("an integer") }
        self = value
    }
}

extension Int64: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        guard let value = cell.text.flatMap(Int64.init) else { throw cell.fail("an integer") }
        self = value
    }
}

extension Int32: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        guard let value = cell.text.flatMap(Int32.init) else { throw cell.fail("a 32-bit integer") }
        self = value
    }
}

extension Double: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        // PostgreSQL writes Infinity and NaN, which Swift reads.
        guard let value = cell.text.flatMap(Double.init) else { throw cell.fail("a number") }
        self = value
    }
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
        guard let value = cell.text.flatMap(UUID.init(uuidString:)) else { throw cell.fail("a UUID") }
        self = value
    }
}

extension PostgresBytes: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        guard let text = cell.text, text.hasPrefix("\\x"), let bytes = [UInt8](hexadecimal: text.utf8.dropFirst(2))
        else { throw cell.fail("bytea in hex format") }
        self.init(bytes)
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

extension Array: PostgresDecodable where Element: PostgresDecodable {
    /// Reads a one-dimensional array literal.
    public init(_ cell: PostgresCell) throws {
        guard let text = cell.text, let elements = ArrayLiteral.parse(text) else {
            throw cell.fail("a one-dimensional array")
        }
        self = try elements.map { try Element(PostgresCell(text: $0, column: cell.column)) }
    }
}

enum ArrayLiteral {
    /// The elements of `{a,"b c",NULL}`; `nil` where it is not one.
    static func parse(_ text: String) -> [String?]? {
        // Code points, not characters: an element may begin with one that joins the brace.
        let scalars = text.unicodeScalars
        guard scalars.count >= 2, scalars.first == "{", scalars.last == "}" else { return nil }
        var elements: [String?] = []
        var current = ""
        var quoted = false
        var wasQuoted = false
        var escaped = false
        let body = scalars.dropFirst().dropLast()
        if body.isEmpty { return [] }
        func finish() { elements.append(!wasQuoted && current == "NULL" ? nil : current) }
        for character in body {
            if escaped {
                current.unicodeScalars.append(character)
                escaped = false
            } else if character == "\\" {
                escaped = true
            } else if character == "\"" {
                quoted.toggle()
                wasQuoted = true
            } else if character == ",", !quoted {
                finish()
                current = ""
                wasQuoted = false
            } else if character == "{", !quoted {
                return nil
            } else {
                current.unicodeScalars.append(character)
            }
        }
        guard !quoted, !escaped else { return nil }
        finish()
        return elements
    }
}
