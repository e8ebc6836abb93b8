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
                    // A partition that is made by itself and attached lets others append meanwhile; one that is created in
                    // place would wait for every open transaction, and everybody behind it.
                    try await tx.query("SET LOCAL lock_timeout = '500ms'")
                    try await tx.query(
                        SQL(unchecked: "CREATE TABLE \(name) (LIKE outbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
                    // Unique only within a partition, which is all that PostgreSQL offers; the head's lock does the rest.
                    try await tx.query(
                        SQL(unchecked: "CREATE UNIQUE INDEX \(name)_sequence_key ON \(name) (epoch, sequence)")
                    )
                    try await tx.query(
                        SQL(
                            unchecked: """
                                ALTER TABLE outbox ATTACH PARTITION \(name)
                                FOR VALUES FROM (\(from)) TO (\(from + self.rowsPerPartition))
                                """)
                    )
                }
            } catch let error as PostgresError where Self.isHarmless(error) {
                continue
            }
        }
    }

    /// Rows were faster than their partition and stay in the default one; another replica was faster; somebody holds a lock:
    /// then the next round comes in a second.
    private static func isHarmless(_ error: PostgresError) -> Bool {
        error.code == .checkViolation || ["42P07", "42P17", "55P03"].contains(error.sqlState)
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
            do {
                guard try await self.drop(number) else { break }
            } catch let error as PostgresError where Self.isHarmless(error) {
                break
            }
            dropped.append(try row("name"))
        }
        return dropped
    }

    /// Drops a partition unless something came into it since it was looked at: a transaction that was open then.
    /// Appending waits meanwhile, no longer than anybody would notice; both questions are answered by an index.
    func drop(_ number: Int64) async throws -> Bool {
        try await self.database.transaction { tx in
            try await tx.query("SET LOCAL lock_timeout = '1s'")
            try await tx.query("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
            // Digits, as the pattern above says.
            let part = "outbox_p\(number)"
            var newcomers = SQL(unchecked: "SELECT EXISTS (SELECT FROM \(part) WHERE sequence IS NULL) OR EXISTS (")
            newcomers.append(
                SQL(unchecked: "SELECT FROM \(part) AS o JOIN outbox_acknowledged AS a ON a.epoch = o.epoch"))
            newcomers.append(" WHERE a.source = \(self.source) AND o.sequence > a.sequence)")
            // One that was numbered meanwhile is of the newest epoch, of which nothing may be acknowledged yet.
            newcomers.append(
                SQL(unchecked: " OR EXISTS (SELECT FROM (SELECT max(epoch) AS epoch FROM \(part)) AS newest"))
            newcomers.append(
                """
                 WHERE newest.epoch IS NOT NULL AND NOT EXISTS (
                  SELECT FROM outbox_acknowledged AS a WHERE a.source = \(self.source) AND a.epoch = newest.epoch
                )) AS found
                """)
            guard try await tx.query(newcomers).first?("found", as: Bool.self) == false else { return false }
            try await tx.query(SQL(unchecked: "DROP TABLE \(part)"))
            return true
        }
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
