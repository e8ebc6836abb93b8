import Lantern

/// Tables of the timeline. Consumers only insert; heads, ranges and order belong to the sealer.
enum ActivitySchema {
    static let migrations: [Migration] = [
        Migration(
            1, "timeline, log and sources",
            // What was seen: the same id with the same digest is a duplicate, with another one a conflict.
            """
            CREATE TABLE event_key (
              source   text NOT NULL,
              event_id text NOT NULL,
              digest   bytea NOT NULL,
              PRIMARY KEY (source, event_id)
            ) PARTITION BY HASH (source, event_id)
            """,
            "CREATE TABLE event_key_0 PARTITION OF event_key FOR VALUES WITH (MODULUS 4, REMAINDER 0)",
            "CREATE TABLE event_key_1 PARTITION OF event_key FOR VALUES WITH (MODULUS 4, REMAINDER 1)",
            "CREATE TABLE event_key_2 PARTITION OF event_key FOR VALUES WITH (MODULUS 4, REMAINDER 2)",
            "CREATE TABLE event_key_3 PARTITION OF event_key FOR VALUES WITH (MODULUS 4, REMAINDER 3)",
            """
            CREATE TABLE entry (
              id             uuid NOT NULL,
              time           timestamptz NOT NULL,
              recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
              ahead          boolean NOT NULL DEFAULT false,
              tenant         text NOT NULL,
              service        text NOT NULL,
              source         text NOT NULL,
              event_id       text NOT NULL,
              epoch          bigint,
              sequence       bigint,
              type           text NOT NULL,
              action         text NOT NULL,
              actor_id       text NOT NULL,
              actor_type     text NOT NULL,
              actor_ip       text,
              target_type    text,
              target_id      text,
              target_version bigint,
              outcome        text NOT NULL,
              trace_id       text,
              span_id        text,
              content_type   text,
              data           bytea,
              data_is_json   boolean NOT NULL,
              data_salt      bytea,
              personal_salt  bytea,
              topic          text NOT NULL,
              partition      integer NOT NULL,
              record_offset  bigint NOT NULL,
              PRIMARY KEY (time, id)
            ) PARTITION BY RANGE (time)
            """,
            // A net for times that no partition was made for: the far past, the far future.
            "CREATE TABLE entry_default PARTITION OF entry DEFAULT",
            "CREATE INDEX entry_id ON entry (id)",
            "CREATE INDEX entry_actor ON entry (actor_id, time, id)",
            "CREATE INDEX entry_action ON entry (action text_pattern_ops, time, id)",
            "CREATE INDEX entry_target ON entry (target_id, time, id)",
            "CREATE INDEX entry_trace ON entry (trace_id)",
            """
            CREATE TABLE leaf (
              log_index bigint PRIMARY KEY,
              entry_id  uuid NOT NULL,
              hash      bytea NOT NULL
            )
            """,
            "CREATE UNIQUE INDEX leaf_entry ON leaf (entry_id) INCLUDE (log_index)",
            // What consumers hand to the sealer, in the order they came.
            """
            CREATE TABLE unsealed (
              position   bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
              kind       text NOT NULL,
              entry_id   uuid,
              time       timestamptz,
              hash       bytea,
              source     text NOT NULL,
              epoch      bigint,
              sequence   bigint,
              partition  integer,
              partitions integer
            )
            """,
            """
            CREATE TABLE sealer_head (
              singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
              term      bigint NOT NULL,
              log_size  bigint NOT NULL
            )
            """,
            "INSERT INTO sealer_head (term, log_size) VALUES (0, 0)",
            """
            CREATE TABLE source_state (
              source     text NOT NULL,
              epoch      bigint NOT NULL,
              held       int8multirange NOT NULL DEFAULT '{}',
              dead       int8multirange NOT NULL DEFAULT '{}',
              events     bigint NOT NULL DEFAULT 0,
              duplicates bigint NOT NULL DEFAULT 0,
              last_time  timestamptz,
              PRIMARY KEY (source, epoch)
            )
            """,
            """
            CREATE TABLE source_partition_head (
              source     text NOT NULL,
              epoch      bigint NOT NULL,
              partition  integer NOT NULL,
              sequence   bigint NOT NULL,
              partitions integer NOT NULL,
              PRIMARY KEY (source, epoch, partition)
            )
            """
        )
    ]
}
