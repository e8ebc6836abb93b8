public import Foundation

/// A value that can be bound to a statement.
///
/// A type of your own usually says ``postgresText`` only. Those here are sent in PostgreSQL's binary format, which is
/// shorter and needs no parsing.
public protocol PostgresEncodable: Sendable {
    /// Object id of the PostgreSQL type, and of its array type (`pg_type.dat`).
    static var postgresType: UInt32 { get }
    static var postgresArrayType: UInt32 { get }
    static var postgresFormat: PostgresFormat { get }
    /// The value in PostgreSQL's text format; `nil` is NULL.
    var postgresText: String? { get }
    /// Appends the value in ``postgresFormat``. Answers `false`, and appends nothing, where it is NULL.
    func encode(into buffer: inout PostgresBuffer) -> Bool
}

extension PostgresEncodable {
    public static var postgresFormat: PostgresFormat { .text }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        guard let text = self.postgresText else { return false }
        buffer.append(text)
        return true
    }
}

extension Bool: PostgresEncodable {
    public static let postgresType: UInt32 = 16
    public static let postgresArrayType: UInt32 = 1_000
    public static let postgresFormat = PostgresFormat.binary
    public var postgresText: String? { self ? "t" : "f" }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        buffer.append(UInt8(self ? 1 : 0))
        return true
    }
}

extension PostgresEncodable where Self: FixedWidthInteger {
    public static var postgresFormat: PostgresFormat { .binary }
    public var postgresText: String? { String(self) }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        buffer.append(self)
        return true
    }
}

extension Int: PostgresEncodable {
    public static let postgresType: UInt32 = 20
    public static let postgresArrayType: UInt32 = 1_016
}

extension Int64: PostgresEncodable {
    public static let postgresType: UInt32 = 20
    public static let postgresArrayType: UInt32 = 1_016
}

extension Int32: PostgresEncodable {
    public static let postgresType: UInt32 = 23
    public static let postgresArrayType: UInt32 = 1_007
}

extension Int16: PostgresEncodable {
    public static let postgresType: UInt32 = 21
    public static let postgresArrayType: UInt32 = 1_005
}

extension Double: PostgresEncodable {
    public static let postgresType: UInt32 = 701
    public static let postgresArrayType: UInt32 = 1_022
    public static let postgresFormat = PostgresFormat.binary
    public var postgresText: String? { PostgresText.number(self) }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        buffer.append(self)
        return true
    }
}

extension Float: PostgresEncodable {
    public static let postgresType: UInt32 = 700
    public static let postgresArrayType: UInt32 = 1_021
    public static let postgresFormat = PostgresFormat.binary
    public var postgresText: String? { PostgresText.number(self) }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        buffer.append(self)
        return true
    }
}

/// What is written alike for several types.
enum PostgresText {
    static func number(_ value: some BinaryFloatingPoint & CustomStringConvertible) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "Infinity" : "-Infinity" }
        return value.description
    }
}

extension String: PostgresEncodable {
    public static let postgresType: UInt32 = 25
    public static let postgresArrayType: UInt32 = 1_009
    // The same bytes as in text format, but with a length of their own.
    public static let postgresFormat = PostgresFormat.binary
    public var postgresText: String? { self }
}

extension UUID: PostgresEncodable {
    public static let postgresType: UInt32 = 2_950
    public static let postgresArrayType: UInt32 = 2_951
    public static let postgresFormat = PostgresFormat.binary
    public var postgresText: String? { self.uuidString }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        withUnsafeBytes(of: self.uuid) { buffer.append(bytes: $0) }
        return true
    }
}

/// Bytes are `bytea`.
public struct PostgresBytes: PostgresEncodable, Hashable {
    public var bytes: [UInt8]

    public init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    public static let postgresType: UInt32 = 17
    public static let postgresArrayType: UInt32 = 1_001
    public static let postgresFormat = PostgresFormat.binary
    public var postgresText: String? { "\\x" + self.bytes.hexadecimal }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        buffer.append(bytes: self.bytes)
        return true
    }
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    public static var postgresType: UInt32 { Wrapped.postgresType }
    public static var postgresArrayType: UInt32 { Wrapped.postgresArrayType }
    public static var postgresFormat: PostgresFormat { Wrapped.postgresFormat }
    public var postgresText: String? { self?.postgresText }

    public func encode(into buffer: inout PostgresBuffer) -> Bool { self?.encode(into: &buffer) ?? false }
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
