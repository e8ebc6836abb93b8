import Foundation

/// Makes the data of one version of an event from that of the version before, so that old events can be read for ever.
///
/// ```swift
/// static let type = EventType("order.order.placed", version: 2)
/// static let upcasters = [Upcaster(from: 1) { (old: OrderPlacedV1) in OrderPlaced(old, currency: "EUR") }]
/// ```
public struct Upcaster: Sendable {
    /// The version that is read; the next one is made.
    public let from: Int
    private let body: @Sendable (Data) throws -> Data

    public init<Old: Decodable & SendableMetatype, New: Encodable & SendableMetatype>(
        from version: Int, _ transform: @escaping @Sendable (Old) throws -> New
    ) {
        self.from = version
        self.body = { data in
            try JSONEncoder().encode(try transform(try JSONDecoder().decode(Old.self, from: data)))
        }
    }

    func callAsFunction(_ data: Data) throws -> Data { try self.body(data) }
}

extension DomainEvent {
    /// Reads the data of an event of this type, of this version or an older one.
    /// - Parameter type: As in `ce_type`.
    /// - Throws: ``EventError`` with code `newerVersion`, or `undecodable` where a version has no upcaster;
    ///   `DecodingError`.
    public static func decode(_ data: [UInt8], of type: EventType) throws -> Self {
        guard type.version <= Self.type.version else {
            throw EventError(
                code: .newerVersion,
                message: "\(type) is newer than version \(Self.type.version), which is understood here")
        }
        var data = Data(data)
        for version in type.version..<Self.type.version {
            guard let upcaster = Self.upcasters.first(where: { $0.from == version }) else {
                throw EventError(code: .undecodable, message: "nothing makes version \(version + 1) of \(type)")
            }
            data = try upcaster(data)
        }
        return try JSONDecoder().decode(Self.self, from: data)
    }
}
