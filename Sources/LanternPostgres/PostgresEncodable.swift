public import Foundation

/// A value that can be bound to a statement.
public protocol PostgresEncodable: Sendable {
    /// Object id of the PostgreSQL type, and of its array type (`pg_type.dat`).
    static var postgresType: UInt32 { get }
    static var postgresArrayType: UInt32 { get }
    /// The value in PostgreSQL's text format; `nil` is NULL.
    var postgresText: String? { get }
}

extension Bool: PostgresEncodable {
    public static let postgresType: UInt32 = 16
    public static let postgresArrayType: UInt32 = 1_000
    public var postgresText: String? { self ? "t" : "f" }
}

extension Int: PostgresEncodable {
    public static let postgresType: UInt32 = 20
    public static let postgresArrayType: UInt32 = 1_016
    public var postgresText: String? { String(self) }
}

extension Int64: PostgresEncodable {
    public static let postgresType: UInt32 = 20
    public static let postgresArrayType: UInt32 = 1_016
    public var postgresText: String? { String(self) }
}

extension Int32: PostgresEncodable {
    public static let postgresType: UInt32 = 23
    public static let postgresArrayType: UInt32 = 1_007
    public var postgresText: String? { String(self) }
}

extension Double: PostgresEncodable {
    public static let postgresType: UInt32 = 701
    public static let postgresArrayType: UInt32 = 1_022
    public var postgresText: String? {
        if self.isNaN { return "NaN" }
        if self.isInfinite { return self > 0 ? "Infinity" : "-Infinity" }
        return "\(self)"
    }
}

extension String: PostgresEncodable {
    public static let postgresType: UInt32 = 25
    public static let postgresArrayType: UInt32 = 1_009
    public var postgresText: String? { self }
}

extension UUID: PostgresEncodable {
    public static let postgresType: UInt32 = 2_950
    public static let postgresArrayType: UInt32 = 2_951
    public var postgresText: String? { self.uuidString }
}

/// Bytes are `bytea`.
public struct PostgresBytes: PostgresEncodable, Hashable {
    public var bytes: [UInt8]

    public init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    public static let postgresType: UInt32 = 17
    public static let postgresArrayType: UInt32 = 1_001
    public var postgresText: String? { "\\x" + self.bytes.hexadecimal }
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    public static var postgresType: UInt32 { Wrapped.postgresType }
    public static var postgresArrayType: UInt32 { Wrapped.postgresArrayType }
    public var postgresText: String? { self?.postgresText }
}

extension Array: PostgresEncodable where Element: PostgresEncodable {
    public static var postgresType: UInt32 { Element.postgresArrayType }
    public static var postgresArrayType: UInt32 { Element.postgresArrayType }

    /// An array literal: every element quoted, so that commas, braces and the word NULL in it stay data.
    public var postgresText: String? {
        var text = "{"
        for (index, element) in self.enumerated() {
            if index > 0 { text += "," }
            guard let value = element.postgresText else {
                text += "NULL"
                continue
            }
            text += "\""
            for character in value.unicodeScalars {
                if character == "\"" || character == "\\" { text += "\\" }
                text.unicodeScalars.append(character)
            }
            text += "\""
        }
        return text + "}"
    }
}

extension Sequence<UInt8> {
    /// Two lower-case hexadecimal digits a byte.
    public var hexadecimal: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(self.underestimatedCount * 2)
        for byte in self {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
