public import Foundation

/// The key of an entity: a UUID that cannot be mistaken for another entity's. Written in lower case, in JSON too.
///
/// ```swift
/// typealias OrderID = Identifier<Order>
/// ```
public struct Identifier<Entity>: Hashable, Sendable {
    public let uuid: UUID

    public init(_ uuid: UUID) { self.uuid = uuid }

    /// A new key, version 7 (RFC 9562, section 5.7).
    public init() { self.uuid = .version7() }

    /// `nil` where the text is not a UUID in its 36-character form.
    public init?(_ text: String) {
        guard let uuid = UUID(strict: text) else { return nil }
        self.uuid = uuid
    }
}

extension Identifier: CustomStringConvertible, Codable {
    public var description: String { self.uuid.uuidString.lowercased() }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Identifier(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected a UUID")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self.description)
    }
}

extension Identifier: PostgresEncodable, PostgresDecodable {
    public static var postgresType: UInt32 { UUID.postgresType }
    public static var postgresArrayType: UInt32 { UUID.postgresArrayType }
    public static var postgresFormat: PostgresFormat { .binary }
    public var postgresText: String? { self.description }

    public func encode(into buffer: inout PostgresBuffer) -> Bool { self.uuid.encode(into: &buffer) }

    public init(_ cell: PostgresCell) throws {
        self.init(try UUID(cell))
    }
}

extension UUID {
    /// Reads 36 characters of digits and dashes in their places, and nothing else: Foundation skips white space and signs.
    public init?(strict text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 36,
            bytes.enumerated().allSatisfy({ index, byte in
                [8, 13, 18, 23].contains(index) ? byte == UInt8(ascii: "-") : Character(Unicode.Scalar(byte)).isHexDigit
            })
        else { return nil }
        self.init(uuidString: text)
    }

    /// A UUID of version 7: 48 bits of Unix time in milliseconds, 12 of its fraction (RFC 9562, section 6.2, method 3),
    /// 62 random. Later ones sort behind earlier ones, so that index pages fill in order.
    public static func version7() -> UUID {
        let nanoseconds = UInt64(max(0, Date().timeIntervalSince1970) * 1_000_000_000)
        let milliseconds = nanoseconds / 1_000_000
        let fraction = UInt16((nanoseconds % 1_000_000) * 4_096 / 1_000_000)
        let random = UInt64.random(in: 0...UInt64.max)
        func byte(_ value: UInt64, _ shift: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: value >> shift) }
        return UUID(
            uuid: (
                byte(milliseconds, 40), byte(milliseconds, 32), byte(milliseconds, 24), byte(milliseconds, 16),
                byte(milliseconds, 8), byte(milliseconds, 0),
                0x70 | UInt8(fraction >> 8), UInt8(truncatingIfNeeded: fraction),
                0x80 | (byte(random, 56) & 0x3F), byte(random, 48), byte(random, 40), byte(random, 32),
                byte(random, 24), byte(random, 16), byte(random, 8), byte(random, 0)
            )
        )
    }
}
