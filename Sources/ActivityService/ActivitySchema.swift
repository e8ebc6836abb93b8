package import Lantern

/// Tables of the timeline. Consumers only insert; heads, ranges and order belong to the sealer.
package enum ActivitySchema {
    package static let migrations: [Migration] = [
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
        ),
        Migration(
            2, "gaps, ends of epochs, completeness of sources",
            "ALTER TABLE unsealed ADD COLUMN previous_epoch bigint, ADD COLUMN previous_sequence bigint",
            // Where an epoch ended, by the word of its source in the next one: what is held beyond it has diverged.
            """
            CREATE TABLE source_epoch_end (
              source   text NOT NULL,
              epoch    bigint NOT NULL,
              sequence bigint NOT NULL,
              PRIMARY KEY (source, epoch)
            )
            """,
            """
            CREATE TABLE source_gap (
              source       text NOT NULL,
              epoch        bigint NOT NULL,
              events       bigint NOT NULL,
              version      bigint NOT NULL,
              detected_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
              healed_at    timestamptz,
              requested_at timestamptz,
              requests     integer NOT NULL DEFAULT 0,
              PRIMARY KEY (source, epoch)
            )
            """,
            """
            CREATE TABLE replay_switch (
              singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
              paused     boolean NOT NULL,
              changed_by text,
              changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
            )
            """,
            "INSERT INTO replay_switch (paused) VALUES (false)",
            // A number is missing when every partition has passed a head at or above it and it is neither held nor dead.
            """
            CREATE VIEW source_completeness AS
            WITH head AS (
              SELECT source, epoch, max(sequence) AS announced,
                     CASE WHEN count(*) >= max(partitions) THEN min(sequence) ELSE 0 END AS passed
              FROM source_partition_head GROUP BY source, epoch
            ), known AS (
              SELECT source, epoch, coalesce(s.held, '{}') AS held, coalesce(s.dead, '{}') - coalesce(s.held, '{}') AS dead,
                     coalesce(s.held, '{}') + coalesce(s.dead, '{}') AS accounted,
                     coalesce(s.events, 0) AS events, coalesce(s.duplicates, 0) AS duplicates, s.last_time,
                     h.announced, coalesce(h.passed, 0) AS passed, e.sequence AS ended
              FROM source_state s FULL JOIN head h USING (source, epoch) LEFT JOIN source_epoch_end e USING (source, epoch)
            )
            SELECT *,
              int8multirange(int8range(1, greatest(least(passed, ended), 0) + 1)) - accounted AS missing,
              CASE WHEN ended IS NULL THEN '{}'::int8multirange
                   ELSE held * int8multirange(int8range(ended + 1, NULL)) END AS diverged,
              coalesce((SELECT upper(r) - 1 FROM unnest(accounted) AS r WHERE r @> 1::bigint), 0) AS contiguous
            FROM known
            """
        ),
        Migration(
            3, "what was asked for of a gap",
            // `unanswered`: requests since something last came.
            """
            ALTER TABLE source_gap
              ADD COLUMN requested_through bigint, ADD COLUMN unanswered integer NOT NULL DEFAULT 0
            """
        ),
    ]
}
