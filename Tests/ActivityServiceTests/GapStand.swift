@testable import ActivityService
import Lantern
import TestSupport

/// What activity knows of a source, written as its sealer would write it.
struct GapStand: Sendable {
    static let source = "/services/order"

    let client: PostgresClient
    let term: Int64
    let outbox = Outbox(service: "activity", wake: {})

    var store: GapStore { GapStore(database: self.client, term: self.term) }
    var sealer: SealerStore { SealerStore(database: self.client, term: self.term) }

    static func make() async throws -> GapStand {
        let client = try await TestCluster.shared.client()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        try await client.migrate("activity", ActivitySchema.migrations, logger: logger)
        try await client.migrate(OutboxSchema.component, OutboxSchema.migrations, logger: logger)
        return GapStand(client: client, term: try await SealerStore.takeOver(client))
    }

    // MARK: - What was heard of the source

    /// A head that was read in a partition.
    func head(
        _ sequence: Int64, partition: Int32, of partitions: Int32 = 3, epoch: Int64 = 1, source: String = Self.source
    ) async throws {
        try await self.client.query(
            """
            INSERT INTO source_partition_head (source, epoch, partition, sequence, partitions)
            VALUES (\(source), \(epoch), \(partition), \(sequence), \(partitions))
            ON CONFLICT (source, epoch, partition) DO UPDATE
            SET sequence = excluded.sequence, partitions = excluded.partitions
            """
        )
    }

    /// A head in each of three partitions.
    func heads(_ sequence: Int64, epoch: Int64 = 1, source: String = Self.source) async throws {
        for partition in 0..<Int32(3) {
            try await self.head(sequence, partition: partition, epoch: epoch, source: source)
        }
    }

    /// What is held, and what was put aside: this and nothing else.
    func hold(
        _ held: [Int64], dead: [Int64] = [], epoch: Int64 = 1, source: String = Self.source
    ) async throws {
        try await self.client.query(
            """
            INSERT INTO source_state (source, epoch, held, dead, events)
            VALUES (\(source), \(epoch), (\(SequenceRanges(held).literal))::int8multirange,
                    (\(SequenceRanges(dead).literal))::int8multirange, \(held.count))
            ON CONFLICT (source, epoch) DO UPDATE
            SET held = excluded.held, dead = excluded.dead, events = excluded.events
            """
        )
    }

    /// Where an epoch ended, by the word of its source in the next one.
    func end(_ sequence: Int64, epoch: Int64 = 1) async throws {
        try await self.client.query(
            """
            INSERT INTO source_epoch_end (source, epoch, sequence) VALUES (\(Self.source), \(epoch), \(sequence))
            ON CONFLICT (source, epoch) DO UPDATE SET sequence = excluded.sequence
            """
        )
    }

    // MARK: - What is concluded

    struct Completeness: Equatable {
        var missing: [Int64] = []
        var diverged: [Int64] = []
        var dead: [Int64] = []
        var contiguous: Int64 = 0
    }

    /// `nil` where nothing is known of the epoch.
    func completeness(epoch: Int64 = 1) async throws -> Completeness? {
        let rows = try await self.client.query(
            """
            SELECT ARRAY(SELECT generate_series(lower(r), upper(r) - 1) FROM unnest(missing) AS r) AS missing,
              ARRAY(SELECT generate_series(lower(r), upper(r) - 1) FROM unnest(diverged) AS r) AS diverged,
              ARRAY(SELECT generate_series(lower(r), upper(r) - 1) FROM unnest(dead) AS r) AS dead, contiguous
            FROM source_completeness WHERE source = \(Self.source) AND epoch = \(epoch)
            """
        )
        return try rows.first.map { row in
            Completeness(
                missing: try row("missing"), diverged: try row("diverged"), dead: try row("dead"),
                contiguous: try row("contiguous")
            )
        }
    }

    /// What the timeline is told, the oldest first.
    func told() async throws -> [(type: String, version: Int64, data: String)] {
        try await self.client.query("SELECT type, subject_version, data FROM outbox ORDER BY position").map { row in
            (
                try row("type"), try row("subject_version"),
                String(decoding: try row("data", as: PostgresBytes.self).bytes, as: UTF8.self)
            )
        }
    }
}
