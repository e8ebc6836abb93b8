/// A value that must not be seen: a password, a token, personal data.
///
/// However it is printed, interpolated, reflected, dumped or encoded, `***` comes out; the value itself comes out of
/// ``unmasked`` only, which is easy to search for. It is decoded as the value, so that a request's body can have one.
///
/// It is not erased from memory.
public struct Sensitive<Value> {
    /// The value. Whoever asks for it must not show it.
    public let unmasked: Value

    public init(_ value: Value) {
        self.unmasked = value
    }

    /// Applies `transform` to the value; what comes out is as sensitive.
    public func map<Other, Failure>(_ transform: (Value) throws(Failure) -> Other) throws(Failure) -> Sensitive<Other> {
        Sensitive<Other>(try transform(self.unmasked))
    }
}

extension Sensitive: Sendable where Value: Sendable {}
extension Sensitive: Equatable where Value: Equatable {}
extension Sensitive: Hashable where Value: Hashable {}

extension Sensitive: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable,
    CustomPlaygroundDisplayConvertible
{
    public var description: String { "***" }
    public var debugDescription: String { "***" }
    public var customMirror: Mirror { Mirror(self, children: []) }
    public var playgroundDescription: Any { "***" }
}

extension Sensitive: Decodable where Value: Decodable {
    /// - Throws: `DecodingError`, which says where, but not what was there instead.
    public init(from decoder: any Decoder) throws {
        do {
            self.init(try decoder.singleValueContainer().decode(Value.self))
        } catch {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(codingPath: decoder.codingPath, debugDescription: "not a \(Value.self)")
            )
        }
    }
}

/// Encodes the mask: what is encoded is on its way out. To store the value, encode ``unmasked``.
extension Sensitive: Encodable {
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode("***")
    }
}
