import Foundation
import Lantern

/// The SQL of sealing.
struct SealerStore: Sendable {
    let database: PostgresClient
    let term: Int64

    struct Sealed: Sendable {
        var taken: Int
        var logSize: Int64
        var entries: [(source: String, time: Timestamp)]
    }

    private struct Item {
        var kind: String
        var entryID: UUID?
        var time: Timestamp?
        var hash: PostgresBytes?
        var source: String
        var epoch: Int64?
        var sequence: Int64?
        var partition: Int32?
        var partitions: Int32?
        var previousEpoch: Int64?
        var previousSequence: Int64?

        init(_ row: PostgresRow) throws {
            self.kind = try row("kind")
            self.entryID = try row("entry_id")
            self.time = try row("time")
            self.hash = try row("hash")
            self.source = try row("source")
            self.epoch = try row("epoch")
            self.sequence = try row("sequence")
            self.partition = try row("partition")
            self.partitions = try row("partitions")
            self.previousEpoch = try row("previous_epoch")
            self.previousSequence = try row("previous_sequence")
        }
    }

    /// Begins a term.
    static func takeOver(_ database: PostgresClient) async throws -> Int64 {
        let rows = try await database.query("UPDATE sealer_head SET term = term + 1 RETURNING term")
        guard let row = rows.first else { throw PostgresError(code: .server, message: "no sealer head") }
        return try row("term")
    }

    /// Seals what waits, in one transaction under the head's lock; `nil` where nothing waits.
    func seal(limit: Int) async throws -> Sealed? {
        // Without a lock first: most rounds find nothing.
        let waiting = try await self.database.query("SELECT EXISTS (SELECT FROM unsealed) AS found")
        guard try waiting.first?("found", as: Bool.self) == true else { return nil }
        return try await self.database.transaction { tx in
            let heads = try await tx.query("SELECT log_size FROM sealer_head WHERE term = \(self.term) FOR UPDATE")
            guard let head = heads.first else {
                throw EventError(code: .lostLeadership, message: "another sealer leads")
            }
            let size = try head("log_size", as: Int64.self)
            let rows = try await tx.query(
                """
                DELETE FROM unsealed
                WHERE position IN (SELECT position FROM unsealed ORDER BY position LIMIT \(limit))
                RETURNING position, kind, entry_id, time, hash, source, epoch, sequence, partition, partitions,
                          previous_epoch, previous_sequence
                """
            )
            // RETURNING promises no order.
            let items = try rows.map { (try $0("position", as: Int64.self), try Item($0)) }
                .sorted { $0.0 < $1.0 }.map(\.1)
            let entries = items.filter { $0.kind == "entry" }
            let newSize = size + Int64(entries.count)
            if !entries.isEmpty {
                try await tx.query(
                    """
                    INSERT INTO leaf (log_index, entry_id, hash)
                    SELECT * FROM unnest(\((size..<newSize).map { $0 }), \(entries.map(\.entryID)), \(entries.map(\.hash)))
                    """
                )
                try await tx.query("UPDATE sealer_head SET log_size = \(newSize) WHERE term = \(self.term)")
            }
            try await self.advanceSources(items, in: tx)
            try await self.advanceHeads(items.filter { $0.kind == "head" }, in: tx)
            return Sealed(
                taken: items.count, logSize: newSize,
                entries: entries.compactMap { entry in entry.time.map { (entry.source, $0) } }
            )
        }
    }

    private func advanceSources(_ items: [Item], in tx: PostgresTransaction) async throws {
        struct Key: Hashable { var source: String; var epoch: Int64 }
        // A source that numbers nothing has epoch 0 and no ranges.
        let groups = Dictionary(grouping: items.filter { $0.kind != "head" }) {
            Key(source: $0.source, epoch: $0.epoch ?? 0)
        }
        for (key, group) in groups.sorted(by: { ($0.key.source, $0.key.epoch) < ($1.key.source, $1.key.epoch) }) {
            func ranges(_ kinds: Set<String>) -> String {
                SequenceRanges(group.filter { kinds.contains($0.kind) && $0.epoch != nil }.compactMap(\.sequence))
                    .literal
            }
            let held = ranges(["entry", "duplicate"])
            let dead = ranges(["dead"])
            let entries = group.filter { $0.kind == "entry" }
            let duplicates = group.count { $0.kind == "duplicate" }
            try await tx.query(
                """
                INSERT INTO source_state AS s (source, epoch, held, dead, events, duplicates, last_time)
                VALUES (\(key.source), \(key.epoch), (\(held))::int8multirange, (\(dead))::int8multirange,
                        \(entries.count), \(duplicates), \(entries.compactMap(\.time).max()))
                ON CONFLICT (source, epoch) DO UPDATE SET
                  held = s.held + excluded.held, dead = s.dead + excluded.dead, events = s.events + excluded.events,
                  duplicates = s.duplicates + excluded.duplicates,
                  last_time = greatest(s.last_time, excluded.last_time)
                """
            )
        }
    }

    private func advanceHeads(_ heads: [Item], in tx: PostgresTransaction) async throws {
        struct Key: Hashable { var source: String; var epoch: Int64; var partition: Int32 }
        var newest: [Key: Item] = [:]
        for head in heads {
            guard let epoch = head.epoch, let sequence = head.sequence, let partition = head.partition else { continue }
            let key = Key(source: head.source, epoch: epoch, partition: partition)
            if sequence >= newest[key]?.sequence ?? 0 { newest[key] = head }
        }
        guard !newest.isEmpty else { return }
        let items = Array(newest.values)
        try await tx.query(
            """
            INSERT INTO source_partition_head AS h (source, epoch, partition, sequence, partitions)
            SELECT * FROM unnest(\(items.map(\.source)), \(items.map(\.epoch)), \(items.map(\.partition)),
                                 \(items.map(\.sequence)), \(items.map(\.partitions)))
            ON CONFLICT (source, epoch, partition) DO UPDATE SET
              sequence = greatest(h.sequence, excluded.sequence), partitions = excluded.partitions
            """
        )
        // All partitions say the same of an epoch that has ended; the source's newest word counts.
        let ends = Dictionary(
            items.filter { $0.previousEpoch != nil }.map {
                (Key(source: $0.source, epoch: $0.previousEpoch ?? 0, partition: 0), $0)
            },
            uniquingKeysWith: { ($0.epoch ?? 0) >= ($1.epoch ?? 0) ? $0 : $1 }
        ).values
        guard !ends.isEmpty else { return }
        try await tx.query(
            """
            INSERT INTO source_epoch_end (source, epoch, sequence)
            SELECT * FROM unnest(\(ends.map(\.source)), \(ends.map(\.previousEpoch)), \(ends.map(\.previousSequence)))
            ON CONFLICT (source, epoch) DO UPDATE SET sequence = excluded.sequence
            """
        )
    }

    /// Makes the partitions of this month and the next.
    func ensurePartitions(now: Timestamp) async throws {
        let parts = now.description.split(separator: "-")
        guard parts.count >= 2, let year = Int(parts[0]), let month = Int(parts[1]) else { return }
        for offset in 0...1 {
            func first(_ offset: Int) -> (name: String, day: String) {
                let index = year * 12 + month - 1 + offset
                let text = String(index % 12 + 1)
                let padded = text.count == 1 ? "0\(text)" : text
                return ("entry_y\(index / 12)m\(padded)", "\(index / 12)-\(padded)-01")
            }
            let (name, from) = first(offset)
            let end = first(offset + 1).day
            let exists = try await self.database.query("SELECT to_regclass(\(name)) IS NOT NULL AS found")
            if try exists.first?("found", as: Bool.self) ?? false { continue }
            do {
                try await self.database.transaction { tx in
                    // Made by itself and attached, so that others insert meanwhile.
                    try await tx.query("SET LOCAL lock_timeout = '500ms'")
                    try await tx.query(
                        SQL(unchecked: "CREATE TABLE \(name) (LIKE entry INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
                    try await tx.query(
                        SQL(
                            unchecked: """
                                ALTER TABLE entry ATTACH PARTITION \(name)
                                FOR VALUES FROM ('\(from)T00:00:00Z') TO ('\(end)T00:00:00Z')
                                """)
                    )
                }
            } catch let error as PostgresError
                where error.code == .checkViolation || ["42P07", "42P17", "55P03"].contains(error.sqlState)
            {
                // Entries of the month are in the default partition already, and stay there; or another replica was faster.
                continue
            }
        }
    }
}
