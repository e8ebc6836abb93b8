import Lantern

/// Tables of the order service.
enum OrderSchema {
    static let migrations: [Migration] = [
        Migration(
            1, "catalogue and orders",
            """
            CREATE TABLE product (
              id          uuid PRIMARY KEY,
              vendor_id   text NOT NULL,
              name        text NOT NULL,
              description text NOT NULL,
              category    text NOT NULL,
              price       bigint NOT NULL CHECK (price >= 0),
              currency    text NOT NULL,
              stock       bigint NOT NULL CONSTRAINT product_stock_not_negative CHECK (stock >= 0),
              version     bigint NOT NULL DEFAULT 1,
              created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
              updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
            )
            """,
            """
            CREATE TABLE customer_order (
              id          uuid PRIMARY KEY,
              customer_id text NOT NULL,
              status      text NOT NULL,
              total       bigint NOT NULL,
              currency    text NOT NULL,
              expires_at  timestamptz NOT NULL,
              version     bigint NOT NULL DEFAULT 1,
              created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
            )
            """,
            "CREATE INDEX customer_order_customer ON customer_order (customer_id, id)",
            // What expires next: reserved orders only, so the index stays small.
            "CREATE INDEX customer_order_expiry ON customer_order (expires_at) WHERE status = 'reserved'",
            """
            CREATE TABLE order_line (
              order_id   uuid NOT NULL REFERENCES customer_order (id),
              number     bigint NOT NULL,
              product_id uuid NOT NULL REFERENCES product (id),
              name       text NOT NULL,
              quantity   bigint NOT NULL CHECK (quantity > 0),
              unit_price bigint NOT NULL,
              PRIMARY KEY (order_id, number)
            )
            """,
            """
            CREATE TABLE order_history (
              order_id uuid NOT NULL REFERENCES customer_order (id),
              version  bigint NOT NULL,
              status   text NOT NULL,
              time     timestamptz NOT NULL DEFAULT clock_timestamp(),
              actor    text NOT NULL,
              reason   text,
              trace_id text,
              PRIMARY KEY (order_id, version)
            )
            """
        )
    ]
}
