import Lantern

/// What can be done with orders: each a transaction that changes the state and records the event.
struct Orders: Sendable {
    let store: OrderStore
    let outbox: Outbox
    let lifetime: Duration

    /// Reserves the stock of all lines, or refuses the order.
    /// - Throws: ``Problem`` 409 `out_of_stock`, naming the lines.
    func place(_ lines: [PlaceOrder.Line], for customer: String) async throws -> Order {
        let id = OrderID()
        let decision = try await self.store.database.transaction { tx -> PlaceOrder.Decision in
            let products = try await self.store.lockProducts(lines.map(\.productID), in: tx)
            let decision = try PlaceOrder.decide(lines, products: products)
            switch decision {
            case .accept(let lines, let total):
                try await self.store.takeStock(lines, in: tx)
                let expiresAt = try await self.store.insert(
                    id, customer: customer, lines: lines, total: total, lifetime: self.lifetime, in: tx
                )
                try await self.record(id, 1, .reserved, actor: customer, reason: nil, in: tx)
                try await self.outbox.append(
                    OrderPlaced(
                        orderID: id, customerID: customer, lines: lines, total: total,
                        expiresAt: expiresAt
                    ),
                    in: tx
                )
            case .outOfStock(let missing):
                try await self.outbox.append(
                    OrderRefused(orderID: id, customerID: customer, products: missing.map(\.line.productID)), in: tx
                )
            }
            return decision
        }
        if case .outOfStock(let missing) = decision {
            throw Problem(
                .conflict, "out_of_stock",
                "There is not enough of \(missing.count == 1 ? "a product" : "\(missing.count) products").",
                fields: missing.map {
                    Problem.Field(
                        "lines[\($0.index)].quantity",
                        "product \($0.line.productID) has \($0.available) left, \($0.line.quantity) were asked for"
                    )
                }
            )
        }
        guard let order = try await self.store.find(id) else { throw Problem.notFound("order") }
        return order
    }

    /// Cancels a reservation.
    /// - Parameter customer: Whose it must be; `nil` for an admin.
    func cancel(_ id: OrderID, by actor: String, customer: String?, reason: String) async throws -> Order {
        try await self.store.database.transaction { tx in
            guard let order = try await self.store.lock(id, in: tx), customer == nil || order.customer == customer
            else {
                throw Problem.notFound("order")
            }
            guard order.status == .reserved else {
                throw Problem(
                    .conflict, "not_cancellable",
                    "The order is \(order.status.rawValue), only a reserved one can be cancelled.")
            }
            try await self.store.lockProducts(of: [id], in: tx)
            try await self.release(id, of: order.customer, actor: actor, reason: reason, in: tx)
        }
        guard let order = try await self.store.find(id) else { throw Problem.notFound("order") }
        return order
    }

    /// Releases what a disabled user has reserved, in the transaction that handles the event.
    func releaseAll(of customer: String, in tx: PostgresTransaction) async throws {
        let reserved = try await self.store.lockReservations(of: customer, in: tx)
        try await self.store.lockProducts(of: reserved, in: tx)
        for id in reserved {
            try await self.release(id, of: customer, actor: "order", reason: "user disabled", in: tx)
        }
    }

    /// Expires reservations whose time is over, until none is left.
    func expireDue() async throws {
        while true {
            let count = try await self.store.database.transaction { tx in
                let due = try await self.store.lockExpired(limit: 100, in: tx)
                try await self.store.lockProducts(of: due.map(\.id), in: tx)
                for order in due {
                    let version = try await self.store.release(order.id, to: .expired, in: tx)
                    try await self.record(
                        order.id, version, .expired, actor: "order", reason: "not paid in time", in: tx)
                    try await self.outbox.append(
                        OrderExpired(orderID: order.id, customerID: order.customer, version: version), in: tx
                    )
                }
                return due.count
            }
            if count < 100 { return }
        }
    }

    private func release(
        _ id: OrderID, of customer: String, actor: String, reason: String, in tx: PostgresTransaction
    ) async throws {
        let version = try await self.store.release(id, to: .cancelled, in: tx)
        try await self.record(id, version, .cancelled, actor: actor, reason: reason, in: tx)
        try await self.outbox.append(
            OrderCancelled(orderID: id, customerID: customer, version: version, reason: reason), in: tx
        )
    }

    private func record(
        _ id: OrderID, _ version: Int64, _ status: OrderStatus, actor: String, reason: String?,
        in tx: PostgresTransaction
    ) async throws {
        try await self.store.recordChange(
            of: id, version: version, status: status, actor: actor, reason: reason, traceID: CurrentTrace.traceID,
            in: tx
        )
    }
}
