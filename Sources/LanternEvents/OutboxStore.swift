import Foundation
import LanternPostgres

/// The relay's statements. Each that numbers or publishes is fenced by the leader's term; acknowledgements and partitions need
/// no fence, because they come to the same whoever looks after them.
struct OutboxStore: Sendable {
    /// What a leader holds for its term.
    struct Leadership: Sendable, Equatable {
        var term: Int64
        var epoch: Int64
        var publishedThrough: Int64
        var previous: ControlMessage.EpochSequence?
    }

    let database: PostgresClient
    let source: String
    var rowsPerPartition = OutboxSchema.rowsPerPartition

    /// Begins a term: the term grows, and a database that was restored or failed over begins a new epoch.
    /// - Parameter newEpoch: Begins a new epoch in any case.
    @discardableResult
    func takeOver(newEpoch: Bool = false) async throws -> Leadership {
        try await self.database.transaction { tx in
            // The timeline of what is written now: that of the last checkpoint stays the old one for a while after a
            // failover.
            let system = try await tx.query(
                """
                SELECT system_identifier,
                  ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint AS timeline
                FROM pg_control_system()
                """
            )
            guard let row = system.first else { throw PostgresError(code: .server, message: "no control data") }
            let identifier = try row("system_identifier", as: Int64.self)
            let timeline = try row("timeline", as: Int64.self)
            try await tx.query(
                """
                INSERT INTO outbox_head
                  (source, epoch, last_sequence, published_through, leader_term, system_identifier, timeline)
                VALUES (\(self.source), 1, 0, 0, 0, \(identifier), \(timeline))
                ON CONFLICT (source) DO NOTHING
                """
            )
            let heads = try await tx.query(
                "SELECT epoch, published_through, system_identifier, timeline FROM outbox_head WHERE source = \(self.source) FOR UPDATE"
            )
            guard let head = heads.first else { throw PostgresError(code: .server, message: "no outbox head") }
            let epoch = try head("epoch", as: Int64.self)
            let restored =
                try head("system_identifier", as: Int64.self) != identifier
                || head("timeline", as: Int64.self) != timeline
            if restored || newEpoch {
                // What the old epoch numbered but perhaps never published is numbered again in the new one; ids stay,
                // so what did arrive is a duplicate.
                try await tx.query(
                    """
                    UPDATE outbox SET epoch = NULL, sequence = NULL
                    WHERE epoch = \(epoch) AND sequence > \(try head("published_through", as: Int64.self))
                    """
                )
                try await tx.query(
                    """
                    UPDATE outbox_head
                    SET previous_epoch = epoch, previous_sequence = published_through,
                        epoch = epoch + 1, last_sequence = 0, published_through = 0,
                        system_identifier = \(identifier), timeline = \(timeline)
                    WHERE source = \(self.source)
                    """
                )
            }
            let result = try await tx.query(
                """
                UPDATE outbox_head SET leader_term = leader_term + 1 WHERE source = \(self.source)
                RETURNING leader_term, epoch, published_through, previous_epoch, previous_sequence
                """
            )
            guard let taken = result.first else { throw PostgresError(code: .server, message: "no outbox head") }
            var leadership = Leadership(
                term: try taken("leader_term"), epoch: try taken("epoch"),
                publishedThrough: try taken("published_through")
            )
            if let epoch = try taken("previous_epoch", as: Int64?.self),
                let sequence = try taken("previous_sequence", as: Int64?.self)
            {
                leadership.previous = .init(epoch: epoch, sequence: sequence)
            }
            return leadership
        }
    }

    /// Gives committed rows the next numbers, in one statement under the head's lock.
    /// - Returns: The last number given so far.
    /// - Throws: ``EventError`` with code `lostLeadership` where the term is no longer ours.
    func seal(_ leadership: Leadership, limit: Int) async throws -> Int64 {
        // The last condition of `sealed` is checked again on the newest row version when the lock was waited for: a row
        // that another leader has numbered meanwhile keeps its number.
        let result = try await self.database.query(
            """
            WITH head AS (
              SELECT epoch, last_sequence FROM outbox_head
              WHERE source = \(self.source) AND leader_term = \(leadership.term)
              FOR UPDATE
            ), batch AS (
              SELECT position, row_number() OVER (ORDER BY position) AS number
              FROM (SELECT position FROM outbox WHERE sequence IS NULL ORDER BY position LIMIT \(limit)) AS unsealed
            ), sealed AS (
              UPDATE outbox SET epoch = head.epoch, sequence = head.last_sequence + batch.number
              FROM batch, head
              WHERE outbox.position = batch.position AND outbox.sequence IS NULL
              RETURNING outbox.sequence
            )
            UPDATE outbox_head SET last_sequence = last_sequence + (SELECT count(*) FROM sealed)
            WHERE source = \(self.source) AND leader_term = \(leadership.term)
            RETURNING last_sequence
            """
        )
        guard let row = result.first else {
            throw EventError(code: .lostLeadership, message: "another relay leads \(self.source)")
        }
        return try row("last_sequence")
    }

    private static let columns: SQL =
        """
        sequence, id, topic, key, type, time, subject, subject_version, data_schema, content_type, data, tenant,
        actor_id, actor_type, actor_ip, outcome, traceparent, tracestate, baggage
        """

    /// Sealed events behind `sequence`, in order. Relies on `outbox_sequence`.
    func sealed(
        epoch: Int64, after sequence: Int64, limit: Int
    ) async throws -> [(topic: String, event: EventEnvelope)] {
        let rows = try await self.database.query(
            """
            SELECT \(Self.columns) FROM outbox
            WHERE epoch = \(epoch) AND sequence > \(sequence)
            ORDER BY epoch, sequence
            LIMIT \(limit)
            """
        )
        return try rows.map { try self.event($0, epoch: epoch) }
    }

    /// Events that were sealed before, by their numbers, in order; those that are gone are left out. Relies on
    /// `outbox_sequence`.
    func sealed(
        epoch: Int64, in ranges: SequenceRanges
    ) async throws -> [(topic: String, event: EventEnvelope)] {
        let rows = try await self.database.query(
            """
            SELECT \(Self.columns)
            FROM unnest(\(ranges.ranges.map(\.lowerBound)), \(ranges.ranges.map(\.upperBound))) AS wanted (first, last)
            JOIN outbox ON epoch = \(epoch) AND sequence BETWEEN wanted.first AND wanted.last
            ORDER BY sequence
            """
        )
        return try rows.map { try self.event($0, epoch: epoch) }
    }

    private func event(_ row: PostgresRow, epoch: Int64) throws -> (topic: String, event: EventEnvelope) {
        // In the order of `columns`: looking each up by its name would cost as much as decoding it.
        let (
            sequence, id, topic, key, type, time, subject, subjectVersion, dataSchema, contentType, data, tenant,
            actorID,
            actorType, actorIP, outcome, traceparent, tracestate, baggage
        ) = try row.decode(
            Int64.self, UUID.self, String.self, String.self, String.self, Timestamp.self, String.self, Int64.self,
            String?.self, String.self, PostgresBytes.self, String.self, String.self, String.self, String?.self,
            String.self,
            String?.self, String?.self, String?.self
        )
        let event = EventEnvelope(
            id: id.uuidString.lowercased(), source: self.source, type: type, time: time, subject: subject,
            subjectVersion: subjectVersion, dataSchema: dataSchema, dataContentType: contentType, epoch: epoch,
            sequence: sequence, partitionKey: key, tenant: tenant,
            actor: EventActor(id: actorID, type: actorType, ip: actorIP),
            outcome: EventOutcome(rawValue: outcome) ?? .unknown, traceparent: traceparent, tracestate: tracestate,
            baggage: baggage, data: data.bytes
        )
        return (topic, event)
    }

    /// Moves the watermark: everything up to `sequence` is acknowledged by the brokers.
    func markPublished(_ leadership: Leadership, through sequence: Int64) async throws {
        let result = try await self.database.query(
            """
            UPDATE outbox_head SET published_through = \(sequence)
            WHERE source = \(self.source) AND leader_term = \(leadership.term) AND published_through < \(sequence)
            """
        )
        guard result.affectedRows == 1 else {
            throw EventError(code: .lostLeadership, message: "another relay leads \(self.source)")
        }
    }

    /// Events not yet published, and the age in seconds of the oldest.
    func backlog() async throws -> (pending: Int, oldestAge: Double) {
        let rows = try await self.database.query(
            """
            SELECT count(*) AS pending, coalesce(extract(epoch FROM clock_timestamp() - min(time)), 0)::float8 AS age
            FROM (
              SELECT time FROM outbox WHERE sequence IS NULL
              UNION ALL
              SELECT o.time FROM outbox_head h JOIN outbox o ON o.epoch = h.epoch AND o.sequence > h.published_through
              WHERE h.source = \(self.source)
            ) AS waiting
            """
        )
        guard let row = rows.first else { return (0, 0) }
        return (try row("pending"), max(0, try row("age")))
    }

    /// The highest number of an epoch that is still in the outbox; 0 where none is. Relies on `outbox_sequence`.
    func lastSequence(of epoch: Int64) async throws -> Int64 {
        let rows = try await self.database.query(
            "SELECT coalesce(max(sequence), 0) AS last FROM outbox WHERE epoch = \(epoch)"
        )
        return try rows.first?("last", as: Int64.self) ?? 0
    }
}
