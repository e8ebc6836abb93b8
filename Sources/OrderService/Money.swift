import Lantern

/// An amount in minor units of a currency (ISO 4217).
struct Money: Codable, Equatable, Sendable {
    var amount: Int64
    var currency: String

    static let maximum: Int64 = 1_000_000_000_000

    /// Reads `{amount, currency}`.
    static func read(_ name: String, from fields: inout RequestFields) -> Money? {
        fields.object(name) { inner in
            let amount = inner.integer("amount", in: 0...Self.maximum)
            let currency = inner.parsed("currency", "an ISO 4217 code such as EUR") { text in
                text.utf8.count == 3 && text.utf8.allSatisfy { (0x41...0x5A).contains($0) } ? text : nil
            }
            guard let amount, let currency else { return nil }
            return Money(amount: amount, currency: currency)
        }
    }
}
