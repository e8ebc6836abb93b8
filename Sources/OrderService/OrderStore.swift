import Lantern

/// The SQL of orders.
struct OrderStore: Sendable {
    let database: PostgresClient

    /// Locks the products of an order, always in the order of their ids: two orders never wait for each other.
    func lockProducts(_ ids: [ProductID], in tx: PostgresTransaction) async throws -> [ProductID: Product] {
        let rows = try await tx.query(
            "SELECT \(Product.columns) FROM product WHERE id = ANY(\(ids)) ORDER BY id FOR UPDATE"
        )
        return Dictionary(try rows.map { try Product($0) }.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
    }

    /// Takes from the stock what the lines need. The version stays: it guards what a vendor edits, and orders do not. The table's check keeps it from going below zero whatever happens.
    func takeStock(_ lines: [OrderLine], in tx: PostgresTransaction) async throws {
        try await tx.query(
            """
            UPDATE product SET stock = stock - taken.quantity, updated_at = clock_timestamp()
            FROM unnest(\(lines.map(\.productID)), \(lines.map(\.quantity))) AS taken (product_id, quantity)
            WHERE product.id = taken.product_id
            """
        )
    }

    /// - Returns: When the reservation ends, by the database's clock.
    func insert(
        _ id: OrderID, customer: String, lines: [OrderLine], total: Money, lifetime: Duration,
        in tx: PostgresTransaction
    ) async throws -> Timestamp {
        let rows = try await tx.query(
            """
            INSERT INTO customer_order (id, customer_id, status, total, currency, expires_at)
            VALUES (\(id), \(customer), \(OrderStatus.reserved.rawValue), \(total.amount), \(total.currency),
                    clock_timestamp() + make_interval(secs => \(seconds(lifetime))))
            RETURNING expires_at
            """
        )
        try await tx.query(
            """
            INSERT INTO order_line (order_id, number, product_id, name, quantity, unit_price)
            SELECT \(id), line.number, line.product_id, line.name, line.quantity, line.unit_price
            FROM unnest(\(lines.indices.map { $0 + 1 }), \(lines.map(\.productID)), \(lines.map(\.name)),
                        \(lines.map(\.quantity)), \(lines.map(\.unitPrice.amount)))
              AS line (number, product_id, name, quantity, unit_price)
            """
        )
        guard let row = rows.first else { throw Problem.notFound("order") }
        return try row("expires_at")
    }

    func recordChange(
        of id: OrderID, version: Int64, status: OrderStatus, actor: String, reason: String?, traceID: String?,
        in tx: PostgresTransaction
    ) async throws {
        try await tx.query(
            """
            INSERT INTO order_history (order_id, version, status, actor, reason, trace_id)
            VALUES (\(id), \(version), \(status.rawValue), \(actor), \(reason), \(traceID))
            """
        )
    }

    /// What decides over an order, locked until the transaction ends.
    func lock(
        _ id: OrderID, in tx: PostgresTransaction
    ) async throws -> (customer: String, status: OrderStatus, version: Int64)? {
        try await tx.query("SELECT customer_id, status, version FROM customer_order WHERE id = \(id) FOR UPDATE")
            .first.map { try ($0("customer_id"), Self.status($0), $0("version")) }
    }

    /// Locks the products of all orders that a transaction releases, in the order of their ids, as everywhere: an UPDATE by
    /// join would lock in any order, and order by order would lock those of the second behind those of the first.
    func lockProducts(of orders: [OrderID], in tx: PostgresTransaction) async throws {
        guard !orders.isEmpty else { return }
        try await tx.query(
            """
            SELECT id FROM product WHERE id IN (SELECT product_id FROM order_line WHERE order_id = ANY(\(orders)))
            ORDER BY id FOR UPDATE
            """
        )
    }

    /// Ends a reservation: the state changes and the stock comes back. The order must be locked, and its products.
    /// - Returns: The order's new version.
    func release(_ id: OrderID, to status: OrderStatus, in tx: PostgresTransaction) async throws -> Int64 {
        try await tx.query(
            """
            UPDATE product SET stock = stock + line.quantity, updated_at = clock_timestamp()
            FROM order_line AS line
            WHERE line.order_id = \(id) AND product.id = line.product_id
            """
        )
        let rows = try await tx.query(
            "UPDATE customer_order SET status = \(status.rawValue), version = version + 1 WHERE id = \(id) RETURNING version"
        )
        guard let row = rows.first else { throw Problem.notFound("order") }
        return try row("version")
    }

    /// Reserved orders whose time is over, locked; those that another replica has locked are left to it.
    /// Relies on `customer_order_expiry`.
    func lockExpired(limit: Int, in tx: PostgresTransaction) async throws -> [(id: OrderID, customer: String)] {
        try await tx.query(
            """
            SELECT id, customer_id FROM customer_order
            WHERE status = 'reserved' AND expires_at <= clock_timestamp()
            ORDER BY expires_at LIMIT \(limit)
            FOR UPDATE SKIP LOCKED
            """
        ).map { try ($0("id"), $0("customer_id")) }
    }

    /// A customer's reservations, locked. Relies on `customer_order_customer`.
    func lockReservations(of customer: String, in tx: PostgresTransaction) async throws -> [OrderID] {
        try await tx.query(
            """
            SELECT id FROM customer_order WHERE customer_id = \(customer) AND status = 'reserved'
            ORDER BY id FOR UPDATE
            """
        ).map { try $0("id") }
    }

    func find(_ id: OrderID) async throws -> Order? {
        try await self.orders(where: "WHERE id = \(id)").first
    }

    func list(customer: String?, position: ListPosition?, limit: Int) async throws -> [Order] {
        var sql: SQL = "WHERE true"
        if let customer { sql.append(" AND customer_id = \(customer)") }
        sql.append(ListPosition.clause(position, limit: limit))
        return try await self.orders(where: sql)
    }

    /// Orders with lines and history: three statements, however many orders.
    private func orders(where clause: SQL) async throws -> [Order] {
        let rows = try await self.database.query(
            """
            SELECT id, customer_id, status, total, currency, expires_at, created_at, version
            FROM customer_order \(clause)
            """
        )
        let ids: [OrderID] = try rows.map { try $0("id") }
        guard !ids.isEmpty else { return [] }
        let currencies = Dictionary(
            uniqueKeysWithValues: try rows.map { (try $0("id", as: OrderID.self), try $0("currency", as: String.self)) }
        )
        var lines: [OrderID: [OrderLine]] = [:]
        for row in try await self.database.query(
            """
            SELECT order_id, product_id, name, quantity, unit_price FROM order_line
            WHERE order_id = ANY(\(ids)) ORDER BY order_id, number
            """
        ) {
            let order = try row("order_id", as: OrderID.self)
            lines[order, default: []].append(
                OrderLine(
                    productID: try row("product_id"), name: try row("name"), quantity: try row("quantity"),
                    unitPrice: Money(amount: try row("unit_price"), currency: currencies[order] ?? "")
                )
            )
        }
        var history: [OrderID: [Order.Change]] = [:]
        for row in try await self.database.query(
            """
            SELECT order_id, status, time, actor, reason, trace_id FROM order_history
            WHERE order_id = ANY(\(ids)) ORDER BY order_id, version
            """
        ) {
            history[try row("order_id"), default: []].append(
                Order.Change(
                    status: try row("status"), time: try row("time"), actor: try row("actor"),
                    reason: try row("reason"),
                    traceID: try row("trace_id")
                )
            )
        }
        return try rows.map { row in
            let id = try row("id", as: OrderID.self)
            return Order(
                id: id, customerID: try row("customer_id"), status: try Self.status(row), lines: lines[id] ?? [],
                total: Money(amount: try row("total"), currency: try row("currency")),
                expiresAt: try row("expires_at"), createdAt: try row("created_at"), history: history[id] ?? [],
                version: try row("version")
            )
        }
    }

    private static func status(_ row: PostgresRow) throws -> OrderStatus {
        guard let status = OrderStatus(rawValue: try row("status")) else {
            throw PostgresError(code: .decoding, message: "column status holds no state of an order")
        }
        return status
    }
}

func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
}
