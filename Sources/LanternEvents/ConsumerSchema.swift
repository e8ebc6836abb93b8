public import LanternPostgres

/// Tables of a consumer: how far it is, what it has seen, what it had to put aside.
public enum ConsumerSchema {
    public static let component = "consumer"

    public static let migrations: [Migration] = [
        Migration(
            1, "offsets, inbox, dead letters",
            """
            CREATE TABLE consumer_offset (
              consumer_group text NOT NULL,
              topic          text NOT NULL,
              partition      integer NOT NULL,
              next           bigint NOT NULL,
              last_id        text,
              updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
              PRIMARY KEY (consumer_group, topic, partition)
            )
            """,
            """
            CREATE TABLE inbox (
              consumer   text NOT NULL,
              source     text NOT NULL,
              event_id   text NOT NULL,
              handled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
              PRIMARY KEY (consumer, source, event_id)
            )
            """,
            """
            CREATE TABLE dead_letter (
              id            uuid PRIMARY KEY,
              recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
              state         text NOT NULL DEFAULT 'new',
              consumer      text NOT NULL,
              reason        text NOT NULL,
              error         text NOT NULL,
              topic         text NOT NULL,
              partition     integer NOT NULL,
              record_offset bigint NOT NULL,
              source        text,
              event_id      text,
              epoch         bigint,
              sequence      bigint,
              traceparent   text,
              record_key    bytea,
              record_value  bytea,
              header_names  text[] NOT NULL,
              header_values bytea[] NOT NULL
            )
            """,
            "CREATE INDEX dead_letter_recorded ON dead_letter (recorded_at DESC, id DESC)"
        ),
        Migration(
            2, "settling of dead letters",
            """
            ALTER TABLE dead_letter
              ADD COLUMN published_at timestamptz,
              ADD COLUMN replays integer NOT NULL DEFAULT 0,
              ADD COLUMN settled_at timestamptz,
              ADD COLUMN settled_by text,
              ADD COLUMN note text
            """,
            "CREATE INDEX dead_letter_unpublished ON dead_letter (id) WHERE published_at IS NULL",
            // What keeps a key waiting. By a digest: a key can be longer than an index takes.
            """
            CREATE INDEX dead_letter_open ON dead_letter (consumer, topic, sha256(record_key))
            WHERE state IN ('new', 'parked')
            """,
            "CREATE INDEX inbox_handled ON inbox (handled_at)"
        ),
    ]
}
