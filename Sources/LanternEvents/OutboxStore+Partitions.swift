import LanternPostgres

extension OutboxStore {
    /// Makes the partitions that the next rows will fall into.
    func ensurePartitions() async throws {
        let current = try await self.lastPosition() / self.rowsPerPartition
        for number in [current, current + 1] {
            let from = number * self.rowsPerPartition
            let name = "outbox_p\(number)"
            let exists = try await self.database.query("SELECT to_regclass(\(name)) IS NOT NULL AS found")
            if try exists.first?("found", as: Bool.self) ?? false { continue }
            // Rows that were faster than this are in the default partition, and then PostgreSQL refuses: they stay there.
            do {
                try await self.database.transaction { tx in
                    try await tx.query(
                        SQL(
                            unchecked: """
                                CREATE TABLE \(name) PARTITION OF outbox
                                FOR VALUES FROM (\(from)) TO (\(from + self.rowsPerPartition))
                                """)
                    )
                    // Unique only within a partition, which is all that PostgreSQL offers; the head's lock does the rest.
                    try await tx.query(
                        SQL(unchecked: "CREATE UNIQUE INDEX \(name)_sequence_key ON \(name) (epoch, sequence)")
                    )
                }
            } catch let error as PostgresError where error.code == .checkViolation || error.sqlState == "42P07" {
                continue
            }
        }
    }

    /// What the collector says it has of this source. Never goes back.
    func acknowledge(_ through: [ControlMessage.EpochSequence]) async throws {
        try await self.database.query(
            """
            INSERT INTO outbox_acknowledged AS a (source, epoch, sequence)
            SELECT \(self.source), t.epoch, t.sequence
            FROM unnest(\(through.map(\.epoch)), \(through.map(\.sequence))) AS t (epoch, sequence)
            ON CONFLICT (source, epoch) DO UPDATE
            SET sequence = excluded.sequence, acknowledged_at = clock_timestamp()
            WHERE a.sequence < excluded.sequence
            """
        )
    }

    /// Drops partitions, oldest first, whose rows are all acknowledged and older than `minimumAge`. One that rows are still
    /// added to is never dropped.
    /// - Returns: Their names.
    func dropPartitions(olderThan minimumAge: Duration) async throws -> [String] {
        let rows = try await self.database.query(
            """
            SELECT c.relname::text AS name, substring(c.relname FROM '^outbox_p([0-9]+)$')::bigint AS number
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'outbox'::regclass AND c.relname ~ '^outbox_p[0-9]+$'
            ORDER BY number
            """
        )
        let last = try await self.lastPosition()
        var dropped: [String] = []
        for row in rows {
            let number = try row("number", as: Int64.self)
            guard (number + 1) * self.rowsPerPartition <= last else { break }
            let first = number * self.rowsPerPartition
            let kept = try await self.database.query(
                """
                SELECT EXISTS (
                  SELECT FROM outbox AS o
                  LEFT JOIN outbox_acknowledged AS a ON a.source = \(self.source) AND a.epoch = o.epoch
                  WHERE o.position >= \(first) AND o.position < \(first + self.rowsPerPartition)
                    AND (o.sequence IS NULL OR a.sequence IS NULL OR o.sequence > a.sequence
                         OR o.time > clock_timestamp() - make_interval(secs => \(Double(minimumAge.components.seconds))))
                ) AS found
                """
            )
            guard try kept.first?("found", as: Bool.self) == false else { break }
            try await self.database.transaction { tx in
                // Appending waits while the partition goes: no longer than anybody would notice.
                try await tx.query("SET LOCAL lock_timeout = '1s'")
                // Digits, as the pattern above says.
                try await tx.query(SQL(unchecked: "DROP TABLE outbox_p\(number)"))
            }
            dropped.append(try row("name"))
        }
        return dropped
    }

    /// Bytes of the outbox with its indexes.
    func size() async throws -> Int64 {
        let rows = try await self.database.query(
            """
            SELECT coalesce(sum(pg_total_relation_size(i.inhrelid)), 0)::bigint AS bytes
            FROM pg_inherits i WHERE i.inhparent = 'outbox'::regclass
            """
        )
        return try rows.first?("bytes", as: Int64.self) ?? 0
    }

    private func lastPosition() async throws -> Int64 {
        let rows = try await self.database.query("SELECT coalesce(max(position), 0) AS last FROM outbox")
        return try rows.first?("last", as: Int64.self) ?? 0
    }
}
