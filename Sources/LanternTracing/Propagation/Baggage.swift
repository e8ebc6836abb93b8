public import Tracing

/// Key-value pairs that travel with a request (W3C Baggage, Candidate Recommendation).
///
/// At most 180 members and 8192 bytes; what comes beyond is left out. Order and duplicates are kept.
public struct Baggage: Sendable, Hashable {
    public struct Member: Sendable, Hashable {
        /// A token (RFC 9110, section 5.6.2).
        public let key: String
        /// Decoded: any text.
        public let value: String
        /// As they were received, without the first semicolon: `ttl=5;private`. Empty if there are none.
        public let properties: String
    }

    /// Members that are read or written at most. The specification asks for 64.
    public static let memberLimit = 180
    /// Bytes of all members as they are written, commas included.
    public static let byteLimit = 8_192

    public private(set) var members: [Member] = []

    public init() {}

    /// What a header says; several headers are joined by commas. Members that break the grammar are left out.
    public init(header: String) {
        var bytes = 0
        for part in header.utf8.split(separator: UInt8(ascii: ",")) {
            guard self.members.count < Self.memberLimit else { return }
            guard let member = Self.member(Substring(part)) else { continue }
            bytes += Self.encoded(member).utf8.count + 1
            guard bytes <= Self.byteLimit + 1 else { return }
            self.members.append(member)
        }
    }

    /// The value of a key; where it is there twice, the last one.
    public func value(_ key: String) -> String? { self.members.last { $0.key == key }?.value }

    /// Sets a key's value in place of all that it had.
    /// - Returns: `false`, and changes nothing, where the key is no token, or there is no room.
    @discardableResult
    public mutating func set(_ value: String, for key: String) -> Bool {
        guard Self.isToken(key[...]) else { return false }
        var changed = self
        changed.members.removeAll { $0.key == key }
        changed.members.append(Member(key: key, value: value, properties: ""))
        guard changed.members.count <= Self.memberLimit else { return false }
        let bytes = changed.members.reduce(-1) { $0 + Self.encoded($1).utf8.count + 1 }
        guard bytes <= Self.byteLimit else { return false }
        self = changed
        return true
    }

    public mutating func remove(_ key: String) { self.members.removeAll { $0.key == key } }

    /// The header, or `nil` where nothing is left of it.
    /// - Parameter keys: Those that may leave; `nil` for all.
    public func header(allowing keys: Set<String>? = nil) -> String? {
        let allowed = self.members.filter { keys?.contains($0.key) ?? true }
        return allowed.isEmpty ? nil : allowed.map(Self.encoded).joined(separator: ",")
    }

    // MARK: Grammar

    private static func member(_ text: Substring) -> Member? {
        var parts = text.utf8.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false).map {
            Substring($0).trimmingSpaces()
        }
        guard let (key, value) = self.pair(parts.removeFirst()), let value else { return nil }
        // A property that breaks the grammar goes; the member stays.
        let properties = parts.filter { self.pair($0) != nil }
        return Member(key: String(key), value: self.decoded(value), properties: properties.joined(separator: ";"))
    }

    /// `key`, or `key=value` with spaces around the sign.
    private static func pair(_ text: Substring) -> (key: Substring, value: Substring?)? {
        guard let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) else {
            return self.isToken(text) ? (text, nil) : nil
        }
        let key = text[..<equals].trimmingSpaces()
        let value = text[text.utf8.index(after: equals)...].trimmingSpaces()
        guard self.isToken(key), value.utf8.allSatisfy(self.isOctet) else { return nil }
        return (key, value)
    }

    private static func isToken(_ text: Substring) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    /// `baggage-octet`: printable ASCII without space, quote, comma, semicolon and backslash.
    private static func isOctet(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x21, 0x23...0x2B, 0x2D...0x3A, 0x3C...0x5B, 0x5D...0x7E: true
        default: false
        }
    }

    /// Percent-decoded; bytes that are no UTF-8 become U+FFFD, as the specification says.
    private static func decoded(_ value: Substring) -> String {
        guard value.utf8.contains(UInt8(ascii: "%")) else { return String(value) }
        var bytes: [UInt8] = []
        let text = Array(value.utf8)
        var index = 0
        while index < text.count {
            if text[index] == UInt8(ascii: "%"), index + 2 < text.count, let high = self.digit(text[index + 1]),
                let low = self.digit(text[index + 2])
            {
                bytes.append(high << 4 | low)
                index += 3
            } else {
                bytes.append(text[index])
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func encoded(_ member: Member) -> String {
        var bytes = Array(member.key.utf8)
        bytes.append(UInt8(ascii: "="))
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in member.value.utf8 {
            if self.isOctet(byte), byte != UInt8(ascii: "%") {
                bytes.append(byte)
            } else {
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        if !member.properties.isEmpty { bytes += [UInt8(ascii: ";")] + member.properties.utf8 }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension InstrumentationContext {
    private enum BaggageKey: InstrumentationContextKey {
        typealias Value = Baggage
        static var nameOverride: String? { "baggage" }
    }

    /// What travels with the request that this context belongs to.
    public var baggage: Baggage? {
        get { self[BaggageKey.self] }
        set { self[BaggageKey.self] = newValue }
    }
}
