import Lantern

/// The SQL of the catalogue.
struct ProductStore: Sendable {
    let database: PostgresClient

    func insert(_ product: NewProduct, vendor: String, in tx: PostgresTransaction) async throws -> Product {
        let rows = try await tx.query(
            """
            INSERT INTO product (id, vendor_id, name, description, category, price, currency, stock)
            VALUES (\(ProductID()), \(vendor), \(product.name), \(product.description), \(product.category),
                    \(product.price.amount), \(product.price.currency), \(product.stock))
            RETURNING \(Product.columns)
            """
        )
        guard let row = rows.first else { throw Problem.notFound("product") }
        return try Product(row)
    }

    func find(_ id: ProductID) async throws -> Product? {
        try await self.database.query("SELECT \(Product.columns) FROM product WHERE id = \(id)").first.map(Product.init)
    }

    func lock(_ id: ProductID, in tx: PostgresTransaction) async throws -> Product? {
        try await tx.query("SELECT \(Product.columns) FROM product WHERE id = \(id) FOR UPDATE").first.map(Product.init)
    }

    func setStock(_ stock: Int64, of id: ProductID, in tx: PostgresTransaction) async throws -> Product? {
        try await tx.query(
            """
            UPDATE product SET stock = \(stock), version = version + 1, updated_at = clock_timestamp()
            WHERE id = \(id) RETURNING \(Product.columns)
            """
        ).first.map(Product.init)
    }

    /// Newest first: ids are version 7, so the primary key is the order of creation.
    func list(
        query: String?, category: String?, position: ListPosition?, limit: Int
    ) async throws -> [Product] {
        var sql: SQL = "SELECT \(Product.columns) FROM product WHERE true"
        if let query {
            let pattern =
                "%" + query.replacing("\\", with: "\\\\").replacing("%", with: "\\%").replacing("_", with: "\\_") + "%"
            sql.append(" AND (name ILIKE \(pattern) OR description ILIKE \(pattern))")
        }
        if let category { sql.append(" AND category = \(category)") }
        sql.append(ListPosition.clause(position, limit: limit))
        return try await self.database.query(sql).map(Product.init)
    }
}

/// A place in a list that is ordered by id, newest first.
struct ListPosition: Codable, Sendable {
    enum Direction: String, Codable { case next, previous }

    var id: String
    var direction: Direction
    /// Of the filters it was made with: a cursor is good for its own list only.
    var list: String

    var key: Identifier<ListPosition>? { Identifier(self.id) }

    static func clause(_ position: ListPosition?, limit: Int) -> SQL {
        guard let position, let key = position.key else { return " ORDER BY id DESC LIMIT \(limit + 1)" }
        switch position.direction {
        case .next: return " AND id < \(key) ORDER BY id DESC LIMIT \(limit + 1)"
        case .previous: return " AND id > \(key) ORDER BY id ASC LIMIT \(limit + 1)"
        }
    }

    /// Reads `limit` and `cursor`.
    static func read(_ query: inout QueryFields, list: String) throws -> (position: ListPosition?, limit: Int) {
        let limit = query.limit()
        guard let text = query.string("cursor", maximum: 2_048) else { return (nil, limit) }
        let position = try Cursor.decode(text, as: ListPosition.self)
        guard position.key != nil, position.list == list else {
            throw Problem(.badRequest, "invalid_cursor", "The cursor is not one that this list gave.")
        }
        return (position, limit)
    }

    /// A page of at most `limit` of the `limit + 1` elements that were fetched.
    static func page<Element: Encodable & Sendable>(
        _ fetched: [Element], position: ListPosition?, limit: Int, list: String, id: (Element) -> String
    ) throws -> Page<Element> {
        let more = fetched.count > limit
        let backwards = position?.direction == .previous
        var elements = Array(fetched.prefix(limit))
        if backwards { elements.reverse() }
        func cursor(_ element: Element?, _ direction: Direction) throws -> String? {
            try element.map { try Cursor.encode(ListPosition(id: id($0), direction: direction, list: list)) }
        }
        // Going back there is always what one came from; going on, what was before.
        return Page(
            elements,
            next: try backwards || more ? cursor(elements.last, .next) : nil,
            previous: try (backwards ? more : position != nil) ? cursor(elements.first, .previous) : nil
        )
    }
}
