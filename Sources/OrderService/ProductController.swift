import HTTPTypes
import Lantern

/// The routes of the catalogue.
struct ProductController: Sendable {
    let products: ProductStore
    let outbox: Outbox

    func register(on router: Router<PlatformContext>) {
        router.get("/v1/products", use: self.list)
        router.post("/v1/products", use: self.create)
        router.get("/v1/products/{id}", use: self.get)
        router.post("/v1/products/{id}/stock", use: self.adjustStock)
    }

    @Sendable private func list(_ request: Request, _ context: PlatformContext) async throws -> Response {
        var query = QueryFields(request)
        let text = query.string("q", maximum: 200)
        let category = query.string("category", maximum: 400)
        let list = "products\u{1F}\(text ?? "")\u{1F}\(category ?? "")"
        let (position, limit) = try ListPosition.read(&query, list: list)
        try query.check()
        let found = try await self.products.list(query: text, category: category, position: position, limit: limit)
        return try JSON.response(
            try ListPosition.page(found, position: position, limit: limit, list: list) { $0.id.description }
        )
    }

    @Sendable private func get(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let id = try context.parameter("id", of: "product", ProductID.init)
        guard let product = try await self.products.find(id) else { throw Problem.notFound("product") }
        return try JSON.response(product, headers: [.eTag: product.entityTag])
    }

    @Sendable private func create(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.require(.vendor, .admin)
        var fields = try await request.fields(context)
        let new = try NewProduct(&fields)
        let product = try await self.products.database.transaction { tx in
            let product = try await self.products.insert(new, vendor: principal.subject, in: tx)
            try await self.outbox.append(ProductCreated(product), in: tx)
            return product
        }
        return try JSON.response(
            product, status: .created, headers: [.location: "/v1/products/\(product.id)", .eTag: product.entityTag]
        )
    }

    /// Adds to the stock or takes from it: `{delta}`.
    @Sendable private func adjustStock(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.require(.vendor, .admin)
        let id = try context.parameter("id", of: "product", ProductID.init)
        var fields = try await request.fields(context)
        let delta = fields.integer("delta", in: -NewProduct.maximumStock...NewProduct.maximumStock)
        let reason = fields.optionalString("reason", length: 1...500)
        let validDelta = try fields.valid(delta)
        let product = try await self.products.database.transaction { tx in
            guard let before = try await self.products.lock(id, in: tx) else { throw Problem.notFound("product") }
            guard principal.has(.admin) || before.vendorID == principal.subject else {
                throw Problem.forbidden("This product is another vendor's.")
            }
            if let tag = request.headers[.ifMatch], tag != "*", tag != before.entityTag {
                throw Problem(.preconditionFailed, "version_mismatch", "The product has changed since it was read.")
            }
            let stock = before.stock + validDelta
            guard (0...NewProduct.maximumStock).contains(stock) else {
                throw Problem.invalid([
                    Problem.Field(
                        "delta", "would make the stock \(stock), which must be from 0 to \(NewProduct.maximumStock)")
                ])
            }
            guard let after = try await self.products.setStock(stock, of: id, in: tx) else {
                throw Problem.notFound("product")
            }
            try await self.outbox.append(
                StockAdjusted(
                    productID: id, version: after.version, delta: validDelta, stock: after.stock, reason: reason
                ),
                in: tx
            )
            return after
        }
        return try JSON.response(product, headers: [.eTag: product.entityTag])
    }
}
