import Lantern

struct ProductCreated: DomainEvent {
    static let type = EventType("order.product.created", version: 1)
    var productID: ProductID
    var vendorID: String
    var name: String
    var category: String
    var price: Money
    var stock: Int64

    init(_ product: Product) {
        self.productID = product.id
        self.vendorID = product.vendorID
        self.name = product.name
        self.category = product.category
        self.price = product.price
        self.stock = product.stock
    }

    private enum CodingKeys: String, CodingKey {
        case name, category, price, stock
        case productID = "product_id"
        case vendorID = "vendor_id"
    }

    var subject: EventSubject { EventSubject("product", self.productID, version: 1) }
}

struct StockAdjusted: DomainEvent {
    static let type = EventType("order.stock.adjusted", version: 1)
    var productID: ProductID
    var version: Int64
    var delta: Int64
    var stock: Int64
    var reason: String?

    private enum CodingKeys: String, CodingKey {
        case version, delta, stock, reason
        case productID = "product_id"
    }

    var subject: EventSubject { EventSubject("product", self.productID, version: self.version) }
}

struct OrderPlaced: DomainEvent {
    static let type = EventType("order.order.placed", version: 1)
    var orderID: OrderID
    var customerID: String
    var lines: [OrderLine]
    var total: Money
    var expiresAt: Timestamp

    private enum CodingKeys: String, CodingKey {
        case lines, total
        case orderID = "order_id"
        case customerID = "customer_id"
        case expiresAt = "expires_at"
    }

    var subject: EventSubject { EventSubject("order", self.orderID, version: 1) }
}

/// An order that could not be placed, for want of stock.
struct OrderRefused: DomainEvent {
    static let type = EventType("order.order.refused", version: 1)
    var orderID: OrderID
    var customerID: String
    var products: [ProductID]

    private enum CodingKeys: String, CodingKey {
        case products
        case orderID = "order_id"
        case customerID = "customer_id"
    }

    var subject: EventSubject { EventSubject("order", self.orderID, version: 1) }
    var outcome: EventOutcome { .failure }
}

struct OrderCancelled: DomainEvent {
    static let type = EventType("order.order.cancelled", version: 1)
    var orderID: OrderID
    var customerID: String
    var version: Int64
    var reason: String

    private enum CodingKeys: String, CodingKey {
        case version, reason
        case orderID = "order_id"
        case customerID = "customer_id"
    }

    var subject: EventSubject { EventSubject("order", self.orderID, version: self.version) }
}

struct OrderExpired: DomainEvent {
    static let type = EventType("order.order.expired", version: 1)
    var orderID: OrderID
    var customerID: String
    var version: Int64

    private enum CodingKeys: String, CodingKey {
        case version
        case orderID = "order_id"
        case customerID = "customer_id"
    }

    var subject: EventSubject { EventSubject("order", self.orderID, version: self.version) }
}

/// What order reads of auth's event: as much as it needs.
struct UserDisabled: DomainEvent {
    static let type = EventType("auth.user.disabled", version: 1)
    var userID: String
    var version: Int64

    private enum CodingKeys: String, CodingKey {
        case version
        case userID = "user_id"
    }

    var subject: EventSubject { EventSubject("user", self.userID, version: self.version) }
}
