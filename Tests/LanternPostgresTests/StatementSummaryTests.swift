@testable import LanternPostgres
import Testing

@Suite("What a statement does to what")
struct StatementSummaryTests {
    @Test(
        "the platform's own statements are named by verb and table",
        arguments: [
            // The relay: what the statement changes is told, not what it reads on the way.
            (
                """
                WITH head AS (
                  SELECT epoch, last_sequence FROM outbox_head
                  WHERE source = $1 AND leader_term = $2
                  FOR UPDATE
                ), batch AS (
                  SELECT position, row_number() OVER (ORDER BY position) AS number
                  FROM (SELECT position FROM outbox WHERE sequence IS NULL ORDER BY position LIMIT $3) AS unsealed
                ), sealed AS (
                  UPDATE outbox SET epoch = head.epoch, sequence = head.last_sequence + batch.number
                  FROM batch, head
                  WHERE outbox.position = batch.position AND outbox.sequence IS NULL
                  RETURNING outbox.sequence
                )
                UPDATE outbox_head SET last_sequence = last_sequence + (SELECT count(*) FROM sealed)
                WHERE source = $4 AND leader_term = $5
                RETURNING last_sequence
                """,
                "UPDATE outbox_head"
            ),
            (
                """
                INSERT INTO outbox (
                  id, topic, key, type, subject, subject_version, content_type, data, tenant,
                  actor_id, actor_type, actor_ip, outcome, traceparent, tracestate
                ) VALUES (
                  $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
                )
                """,
                "INSERT outbox"
            ),
            (
                """
                SELECT sequence, id, topic, key, type, time, subject, subject_version, data_schema, content_type, data, tenant,
                       actor_id, actor_type, actor_ip, outcome, traceparent, tracestate, baggage
                FROM outbox
                WHERE epoch = $1 AND sequence > $2
                ORDER BY epoch, sequence
                LIMIT $3
                """,
                "SELECT outbox"
            ),
            ("SELECT coalesce(max(position), 0) AS last FROM outbox", "SELECT outbox"),
            // The consumer.
            (
                """
                INSERT INTO consumer_offset (consumer_group, topic, partition, next)
                SELECT $1, t.topic, t.partition, 0
                FROM unnest($2, $3) AS t (topic, partition)
                ON CONFLICT DO NOTHING
                """,
                "INSERT consumer_offset"
            ),
            (
                """
                SELECT o.topic, o.partition, o.next, o.last_id
                FROM consumer_offset o
                JOIN unnest($1, $2) AS t (topic, partition) USING (topic, partition)
                WHERE o.consumer_group = $3
                """,
                "SELECT consumer_offset"
            ),
            (
                """
                UPDATE consumer_offset SET next = $1, last_id = $2, updated_at = clock_timestamp()
                WHERE consumer_group = $3 AND topic = $4 AND partition = $5
                  AND next = $6
                """,
                "UPDATE consumer_offset"
            ),
            // The sealer.
            ("SELECT EXISTS (SELECT FROM unsealed) AS found", "SELECT"),
            (
                """
                DELETE FROM unsealed
                WHERE position IN (SELECT position FROM unsealed ORDER BY position LIMIT $1)
                RETURNING position, kind, entry_id, time, hash, source, epoch, sequence, partition, partitions
                """,
                "DELETE unsealed"
            ),
            (
                """
                INSERT INTO leaf (log_index, entry_id, hash)
                SELECT * FROM unnest($1, $2, $3)
                """,
                "INSERT leaf"
            ),
            (
                """
                INSERT INTO source_state AS s (source, epoch, held, dead, events, duplicates, last_time)
                VALUES ($1, $2, ($3)::int8multirange, ($4)::int8multirange, $5, $6, $7)
                ON CONFLICT (source, epoch) DO UPDATE SET
                  held = s.held + excluded.held, dead = s.dead + excluded.dead
                """,
                "INSERT source_state"
            ),
            ("UPDATE sealer_head SET term = term + 1 RETURNING term", "UPDATE sealer_head"),
            ("SELECT log_size FROM sealer_head WHERE term = $1 FOR UPDATE", "SELECT sealer_head"),
            // Orders.
            (
                """
                UPDATE product SET stock = stock - taken.quantity, updated_at = clock_timestamp(), version = version + 1
                FROM unnest($1, $2) AS taken (product_id, quantity)
                WHERE product.id = taken.product_id
                """,
                "UPDATE product"
            ),
            (
                """
                SELECT id FROM product WHERE id IN (SELECT product_id FROM order_line WHERE order_id = $1)
                ORDER BY id FOR UPDATE
                """,
                "SELECT product"
            ),
            // Migrations, locks, transactions.
            ("CREATE TABLE outbox_default PARTITION OF outbox DEFAULT", "CREATE outbox_default"),
            ("CREATE UNIQUE INDEX account_email ON account (lower(email))", "CREATE"),
            ("SELECT pg_advisory_xact_lock(hashtextextended('lantern-migrations', 0))", "SELECT"),
            ("BEGIN ISOLATION LEVEL READ COMMITTED", "BEGIN"),
            ("COMMIT", "COMMIT"),
            ("SET TIME ZONE 'UTC'", "SET"),
        ]
    )
    func platform(statement: String, summary: String) {
        #expect(StatementSummary(statement).description == summary)
    }

    @Test(
        "what stands in brackets or quotes names nothing",
        arguments: [
            ("SELECT 'INSERT INTO a' FROM b", "SELECT", "b"),
            ("SELECT 'it''s FROM a' FROM b", "SELECT", "b"),
            (
                "SELECT extract(epoch FROM time), (SELECT max(x) FROM a) FROM b WHERE c IN (SELECT d FROM e)", "SELECT",
                "b"
            ),
            ("WITH a AS (DELETE FROM b RETURNING *), c AS (SELECT 1) INSERT INTO d SELECT * FROM a", "INSERT", "d"),
            ("WITH a (x) AS (SELECT 1 FROM b) DELETE FROM c USING a", "DELETE", "c"),
            ("MERGE INTO stock USING delivery ON stock.id = delivery.id WHEN MATCHED THEN DELETE", "MERGE", "stock"),
        ]
    )
    func nesting(statement: String, operation: String, collection: String) {
        let summary = StatementSummary(statement)
        #expect(summary.operation == operation)
        #expect(summary.collection == collection)
    }

    @Test(
        "case, space and schema do not make another summary of the same statement",
        arguments: [
            "select * from Shop.Product", "SELECT *\n\tFROM  shop.product\nWHERE id=$1", "SELECT*FROM shop.product;",
        ]
    )
    func spelling(statement: String) {
        #expect(StatementSummary(statement) == StatementSummary("SELECT * FROM shop.product"))
        #expect(StatementSummary(statement).description == "SELECT shop.product")
    }

    @Test("text without a word is an unknown statement", arguments: ["", "  \n", ";", "()", "'DELETE FROM a'"])
    func unknown(statement: String) {
        #expect(StatementSummary(statement).description == "UNKNOWN")
    }

    @Test(
        "a statement that ends early has no table",
        arguments: ["DELETE FROM", "INSERT INTO", "UPDATE", "WITH a AS (SELECT 1)"])
    func incomplete(statement: String) {
        #expect(StatementSummary(statement).collection == "")
    }

    @Test("a subquery is no table, and its alias none either")
    func subquery() {
        let summary = StatementSummary(
            """
            SELECT count(*) AS pending, coalesce(extract(epoch FROM clock_timestamp() - min(time)), 0)::float8 AS age
            FROM (
              SELECT time FROM outbox WHERE sequence IS NULL
              UNION ALL
              SELECT time FROM outbox
              WHERE epoch = $1 AND sequence > $2
            ) AS waiting
            """
        )
        #expect(summary.operation == "SELECT")
        #expect(["", "outbox"].contains(summary.collection))
    }

    @Test("a table that is made only where it is missing is named all the same")
    func ifNotExists() {
        let summary = StatementSummary("CREATE TABLE IF NOT EXISTS lantern_migration (component text NOT NULL)")
        #expect(summary.description == "CREATE lantern_migration")
    }
}
