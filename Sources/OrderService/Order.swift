import Lantern

typealias OrderID = Identifier<Order>

/// Where an order stands.
enum OrderStatus: String, Codable, Sendable {
    case reserved, paid, fulfilled, cancelled, expired, refunding, refunded
}

struct OrderLine: Codable, Equatable, Sendable {
    var productID: ProductID
    var name: String
    var quantity: Int64
    var unitPrice: Money

    private enum CodingKeys: String, CodingKey {
        case productID = "product_id"
        case name, quantity
        case unitPrice = "unit_price"
    }
}

/// An order, as the API shows it.
struct Order: Encodable, Sendable {
    struct Change: Encodable, Sendable {
        var status: String
        var time: Timestamp
        var actor: String
        var reason: String?
        var traceID: String?

        private enum CodingKeys: String, CodingKey {
            case status, time, actor, reason
            case traceID = "trace_id"
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(self.status, forKey: .status)
            try container.encode(self.time, forKey: .time)
            try container.encode(self.actor, forKey: .actor)
            // Present and null where there is none: a member that comes and goes is hard to read.
            try container.encode(self.reason, forKey: .reason)
            try container.encode(self.traceID, forKey: .traceID)
        }
    }

    var id: OrderID
    var customerID: String
    var status: OrderStatus
    var lines: [OrderLine]
    var total: Money
    var expiresAt: Timestamp
    var createdAt: Timestamp
    var history: [Change]
    var version: Int64

    private enum CodingKeys: String, CodingKey {
        case id, status, lines, total, history
        case customerID = "customer_id"
        case expiresAt = "expires_at"
        case createdAt = "created_at"
    }
}
