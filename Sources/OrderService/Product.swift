import Lantern

typealias ProductID = Identifier<Product>

/// A product, as the API shows it.
struct Product: Encodable, Sendable {
    var id: ProductID
    var vendorID: String
    var name: String
    var description: String
    var category: String
    var price: Money
    var stock: Int64
    var createdAt: Timestamp
    var updatedAt: Timestamp
    var version: Int64

    private enum CodingKeys: String, CodingKey {
        case id, name, description, category, price, stock
        case vendorID = "vendor_id"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
    }

    static let columns: SQL =
        "id, vendor_id, name, description, category, price, currency, stock, created_at, updated_at, version"

    init(_ row: PostgresRow) throws {
        self.id = try row("id")
        self.vendorID = try row("vendor_id")
        self.name = try row("name")
        self.description = try row("description")
        self.category = try row("category")
        self.price = Money(amount: try row("price"), currency: try row("currency"))
        self.stock = try row("stock")
        self.createdAt = try row("created_at")
        self.updatedAt = try row("updated_at")
        self.version = try row("version")
    }

    /// Strong entity tag (RFC 9110, section 8.8.3).
    var entityTag: String { "\"\(self.version)\"" }
}

/// What a product is created from.
struct NewProduct: Sendable {
    var name: String
    var description: String
    var category: String
    var price: Money
    var stock: Int64

    static let maximumStock: Int64 = 1_000_000_000

    init(_ fields: inout RequestFields) throws {
        let name = fields.string("name", length: 1...200)
        let description = fields.has("description") ? fields.string("description", length: 0...5_000) : ""
        let category = fields.has("category") ? fields.string("category", length: 0...100) : ""
        let price = Money.read("price", from: &fields)
        let stock = fields.integer("stock", in: 0...Self.maximumStock)
        (self.name, self.description, self.category, self.price, self.stock) = try fields.valid(
            name, description, category, price, stock
        )
    }
}
