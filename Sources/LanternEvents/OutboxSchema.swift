public import LanternPostgres

/// Tables of the outbox, in the database of each service that records events.
public enum OutboxSchema {
    public static let component = "outbox"

    /// Rows of one partition: old ones are dropped whole, never deleted row by row.
    static let rowsPerPartition: Int64 = 1_000_000

    public static let migrations: [Migration] = [
        Migration(
            1, "outbox and its head",
            """
            CREATE TABLE outbox (
              position         bigint GENERATED ALWAYS AS IDENTITY (CACHE 1),
              epoch            bigint,
              sequence         bigint,
              id               uuid NOT NULL,
              topic            text NOT NULL,
              key              text NOT NULL,
              type             text NOT NULL,
              time             timestamptz NOT NULL DEFAULT clock_timestamp(),
              subject          text NOT NULL,
              subject_version  bigint NOT NULL,
              data_schema      text,
              content_type     text NOT NULL,
              data             bytea NOT NULL,
              tenant           text NOT NULL,
              actor_id         text NOT NULL,
              actor_type       text NOT NULL,
              actor_ip         text,
              outcome          text NOT NULL,
              traceparent      text,
              tracestate       text,
              baggage          text,
              PRIMARY KEY (position)
            ) PARTITION BY RANGE (position)
            """,
            // Sealing looks for these; it stays small, because sealed rows leave it.
            "CREATE INDEX outbox_unsealed ON outbox (position) WHERE sequence IS NULL",
            // Publishing reads by number.
            "CREATE INDEX outbox_sequence ON outbox (epoch, sequence)",
            // A net for rows that come before the relay has made their partition.
            "CREATE TABLE outbox_default PARTITION OF outbox DEFAULT",
            """
            CREATE TABLE outbox_head (
              source            text PRIMARY KEY,
              epoch             bigint NOT NULL,
              last_sequence     bigint NOT NULL,
              published_through bigint NOT NULL,
              leader_term       bigint NOT NULL,
              system_identifier bigint NOT NULL,
              timeline          bigint NOT NULL
            )
            """
        ),
        Migration(
            2, "acknowledgements, the end of an epoch, first partitions",
            // What the collector of events has of this source, for each epoch: rows beyond it are kept.
            """
            CREATE TABLE outbox_acknowledged (
              source          text NOT NULL,
              epoch           bigint NOT NULL,
              sequence        bigint NOT NULL,
              acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
              PRIMARY KEY (source, epoch)
            )
            """,
            // Where the epoch before the present one ended, as this database knows it.
            "ALTER TABLE outbox_head ADD COLUMN previous_epoch bigint, ADD COLUMN previous_sequence bigint",
            // For rows that come before a relay ever led: from the default partition they could never be dropped.
            """
            DO $$
            BEGIN
              IF NOT EXISTS (SELECT FROM outbox) AND to_regclass('outbox_p0') IS NULL THEN
                CREATE TABLE outbox_p0 PARTITION OF outbox FOR VALUES FROM (0) TO (1000000);
                CREATE UNIQUE INDEX outbox_p0_sequence_key ON outbox_p0 (epoch, sequence);
              END IF;
            END $$
            """
        ),
    ]
}
