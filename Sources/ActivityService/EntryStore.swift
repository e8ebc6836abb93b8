import Foundation
import Lantern

/// The SQL of ingesting.
enum EntryStore {
    /// Claims keys; answers those that were new. The same key twice in one statement is new once.
    static func claim(_ entries: [IncomingEntry], in tx: PostgresTransaction) async throws -> Set<EventKey> {
        let rows = try await tx.query(
            """
            INSERT INTO event_key (source, event_id, digest)
            SELECT k.source, k.event_id, k.digest
            FROM unnest(\(entries.map(\.event.source)), \(entries.map(\.event.id)),
                        \(entries.map { PostgresBytes($0.digest) })) AS k (source, event_id, digest)
            ON CONFLICT DO NOTHING
            RETURNING source, event_id
            """
        )
        return Set(try rows.map { EventKey(source: try $0("source"), id: try $0("event_id")) })
    }

    /// Claims keys none of which was here before, by COPY: nothing is asked and answered for each.
    /// - Throws: ``PostgresError`` with code `uniqueViolation` where one was; the transaction goes on as if nothing had been
    ///   tried.
    static func claimNew(_ entries: [IncomingEntry], in tx: PostgresTransaction) async throws {
        try await tx.savepoint {
            try await tx.copyInBinary("event_key", columns: ["source", "event_id", "digest"]) { copy in
                for entry in entries {
                    try await copy.write { row in
                        row.append(entry.event.source)
                        row.append(entry.event.id)
                        row.append(bytes: entry.digest)
                    }
                }
            }
        }
    }

    static func digests(of entries: [IncomingEntry], in tx: PostgresTransaction) async throws -> [EventKey: [UInt8]] {
        let rows = try await tx.query(
            """
            SELECT k.source, k.event_id, k.digest
            FROM unnest(\(entries.map(\.event.source)), \(entries.map(\.event.id))) AS wanted (source, event_id)
            JOIN event_key k USING (source, event_id)
            """
        )
        return Dictionary(
            try rows.map {
                (
                    EventKey(source: try $0("source"), id: try $0("event_id")),
                    try $0("digest", as: PostgresBytes.self).bytes
                )
            },
            uniquingKeysWith: { $1 }
        )
    }

    private static let columns = [
        "id", "time", "ahead", "tenant", "service", "source", "event_id", "epoch", "sequence", "type", "action",
        "actor_id",
        "actor_type", "actor_ip", "target_type", "target_id", "target_version", "outcome", "trace_id", "span_id",
        "content_type", "data", "data_is_json", "data_salt", "personal_salt", "topic", "partition", "record_offset",
    ]

    /// Few go by INSERT, in one round trip with their neighbours; many by COPY. The types are exactly
    /// those of the columns.
    static let copyFrom = 20

    static func insert(_ entries: [IncomingEntry], in tx: PostgresTransaction) async throws {
        guard !entries.isEmpty else { return }
        if entries.count < Self.copyFrom { return try await Self.insertFew(entries, in: tx) }
        try await tx.copyInBinary("entry", columns: Self.columns) { copy in
            for entry in entries {
                try await copy.write { row in
                    row.append(entry.id)
                    row.append(entry.time)
                    row.append(entry.isAhead)
                    row.append(entry.event.tenant)
                    row.append(entry.service)
                    row.append(entry.event.source)
                    row.append(entry.event.id)
                    row.append(entry.event.epoch)
                    row.append(entry.event.sequence)
                    row.append(entry.event.type)
                    row.append(entry.action)
                    row.append(entry.event.actor.id)
                    row.append(entry.event.actor.type)
                    row.append(entry.event.actor.ip)
                    let target = entry.event.target
                    row.append(target?.type)
                    row.append(target?.id)
                    row.append(entry.event.subjectVersion)
                    row.append(entry.event.outcome.rawValue)
                    row.append(entry.traceID)
                    row.append(entry.spanID)
                    row.append(entry.event.dataContentType)
                    row.append(bytes: entry.event.data)
                    row.append(entry.dataIsJSON)
                    row.append(bytes: entry.leaf.dataSalt)
                    row.append(bytes: entry.leaf.personalSalt)
                    row.append(entry.record.topic)
                    row.append(entry.record.partition ?? 0)
                    row.append(entry.record.offset ?? 0)
                }
            }
        }
    }

    private static func insertFew(_ entries: [IncomingEntry], in tx: PostgresTransaction) async throws {
        try await tx.query(
            """
            INSERT INTO entry (
              id, time, ahead, tenant, service, source, event_id, epoch, sequence, type, action,
              actor_id, actor_type, actor_ip, target_type, target_id, target_version, outcome, trace_id, span_id,
              content_type, data, data_is_json, data_salt, personal_salt, topic, partition, record_offset
            )
            SELECT * FROM unnest(
              \(entries.map(\.id)), \(entries.map(\.time)), \(entries.map(\.isAhead)), \(entries.map(\.event.tenant)),
              \(entries.map(\.service)), \(entries.map(\.event.source)), \(entries.map(\.event.id)),
              \(entries.map(\.event.epoch)), \(entries.map(\.event.sequence)), \(entries.map(\.event.type)),
              \(entries.map(\.action)), \(entries.map(\.event.actor.id)), \(entries.map(\.event.actor.type)),
              \(entries.map(\.event.actor.ip)), \(entries.map { $0.event.target?.type }),
              \(entries.map { $0.event.target?.id }), \(entries.map(\.event.subjectVersion)),
              \(entries.map(\.event.outcome.rawValue)), \(entries.map(\.traceID)), \(entries.map(\.spanID)),
              \(entries.map(\.event.dataContentType)), \(entries.map { PostgresBytes($0.event.data) }),
              \(entries.map(\.dataIsJSON)), \(entries.map { PostgresBytes($0.leaf.dataSalt) }),
              \(entries.map { PostgresBytes($0.leaf.personalSalt) }), \(entries.map(\.record.topic)),
              \(entries.map { $0.record.partition ?? 0 }), \(entries.map { $0.record.offset ?? 0 })
            )
            """
        )
    }

    /// Leaves for the sealer what it has to know, in the order it happened.
    static func handToSealer(
        _ entries: [IncomingEntry], duplicates: [IncomingEntry], heads: [(head: SourceHead, partition: Int32)],
        in tx: PostgresTransaction
    ) async throws {
        if entries.count >= Self.copyFrom {
            try await tx.copyInBinary(
                "unsealed", columns: ["kind", "entry_id", "time", "hash", "source", "epoch", "sequence"]
            ) { copy in
                for entry in entries {
                    try await copy.write { row in
                        row.append("entry")
                        row.append(entry.id)
                        row.append(entry.time)
                        row.append(bytes: entry.hash)
                        row.append(entry.event.source)
                        row.append(entry.event.epoch)
                        row.append(entry.event.sequence)
                    }
                }
            }
        } else if !entries.isEmpty {
            try await tx.query(
                """
                INSERT INTO unsealed (kind, entry_id, time, hash, source, epoch, sequence)
                SELECT 'entry', u.* FROM unnest(
                  \(entries.map(\.id)), \(entries.map(\.time)), \(entries.map { PostgresBytes($0.hash) }),
                  \(entries.map(\.event.source)), \(entries.map(\.event.epoch)), \(entries.map(\.event.sequence))
                ) AS u
                """
            )
        }
        if !duplicates.isEmpty {
            // With its number: a source that begins a new epoch sends old events under new numbers, and they are held.
            try await tx.query(
                """
                INSERT INTO unsealed (kind, source, epoch, sequence)
                SELECT 'duplicate', u.* FROM unnest(
                  \(duplicates.map(\.event.source)), \(duplicates.map(\.event.epoch)), \(duplicates.map(\.event.sequence))
                ) AS u
                """
            )
        }
        if !heads.isEmpty {
            try await tx.query(
                """
                INSERT INTO unsealed
                  (kind, source, epoch, sequence, partition, partitions, previous_epoch, previous_sequence)
                SELECT 'head', u.* FROM unnest(
                  \(heads.map(\.head.source)), \(heads.map(\.head.epoch)), \(heads.map(\.head.sequence)),
                  \(heads.map(\.partition)), \(heads.map(\.head.partitions)),
                  \(heads.map(\.head.previous?.epoch)), \(heads.map(\.head.previous?.sequence))
                ) AS u
                """
            )
        }
    }

    static func handToSealer(
        dead event: (source: String, epoch: Int64?, sequence: Int64), in tx: PostgresTransaction
    ) async throws {
        try await tx.query(
            """
            INSERT INTO unsealed (kind, source, epoch, sequence)
            VALUES ('dead', \(event.source), \(event.epoch), \(event.sequence))
            """
        )
    }
}
