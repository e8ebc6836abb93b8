public import Lantern

/// The order service: a catalogue with stock, and orders that reserve it.
public struct Ordering: LanternService {
    public static let name = "order"

    /// The events that the service records.
    public static func catalogue() throws -> EventCatalogue {
        try EventCatalogue(
            service: Self.name,
            [
                ProductCreated.self, StockAdjusted.self, OrderPlaced.self,
                OrderRefused.self, OrderCancelled.self, OrderExpired.self,
            ]
        )
    }

    public static func assemble(_ platform: Platform) async throws {
        let database = try platform.postgres(migrations: OrderSchema.migrations)
        let outbox = try platform.outbox(in: database, catalogue: Self.catalogue())
        let lifetime = try platform.settings.duration("ORDER_RESERVATION_TTL", default: .seconds(900))
        let products = ProductStore(database: database)
        let orders = Orders(store: OrderStore(database: database), outbox: outbox, lifetime: lifetime)

        platform.routes { router in
            ProductController(products: products, outbox: outbox).register(on: router)
            OrderController(orders: orders).register(on: router)
        }
        try platform.consume(UserDisabled.self, from: "auth.events.v1", in: database) { event, tx in
            try await orders.releaseAll(of: event.userID, in: tx)
        }
        platform.every(.seconds(1), "expire-reservations") { try await orders.expireDue() }
    }
}
