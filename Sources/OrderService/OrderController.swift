import HTTPTypes
import Lantern

/// The routes of orders.
struct OrderController: Sendable {
    let orders: Orders

    func register(on router: Router<PlatformContext>) {
        router.post("/v1/orders", use: self.place)
        router.get("/v1/orders", use: self.list)
        router.get("/v1/orders/{id}", use: self.get)
        router.post("/v1/orders/{id}/cancel", use: self.cancel)
    }

    @Sendable private func place(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.require(.customer)
        var fields = try await request.fields(context)
        let order = try await self.orders.place(PlaceOrder.read(&fields), for: principal.subject)
        return try JSON.response(order, status: .created, headers: [.location: "/v1/orders/\(order.id)"])
    }

    @Sendable private func list(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.requirePrincipal()
        let customer = principal.has(.admin) ? nil : principal.subject
        let list = "orders\u{1F}\(customer ?? "*")"
        var query = QueryFields(request)
        let (position, limit) = try ListPosition.read(&query, list: list)
        try query.check()
        let found = try await self.orders.store.list(customer: customer, position: position, limit: limit)
        return try JSON.response(
            try ListPosition.page(found, position: position, limit: limit, list: list) { $0.id.description }
        )
    }

    @Sendable private func get(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.requirePrincipal()
        let id = try context.parameter("id", of: "order", OrderID.init)
        // Somebody else's order is as good as none: its existence is not told.
        guard let order = try await self.orders.store.find(id),
            principal.has(.admin) || order.customerID == principal.subject
        else { throw Problem.notFound("order") }
        return try JSON.response(order)
    }

    @Sendable private func cancel(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.requirePrincipal()
        let id = try context.parameter("id", of: "order", OrderID.init)
        let order = try await self.orders.cancel(
            id, by: principal.subject, customer: principal.has(.admin) ? nil : principal.subject,
            reason: "cancelled on request"
        )
        return try JSON.response(order)
    }
}
