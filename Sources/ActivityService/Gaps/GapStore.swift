import Lantern

/// The SQL of completeness. Written to by the leading sealer only, fenced by its term.
struct GapStore: Sendable {
    let database: PostgresClient
    let term: Int64

    /// How far each epoch of each source that announces heads is complete.
    func contiguous() async throws -> [String: [ControlMessage.EpochSequence]] {
        let rows = try await self.database.query(
            """
            SELECT source, epoch, contiguous FROM source_completeness
            WHERE announced IS NOT NULL ORDER BY source, epoch
            """
        )
        var all: [String: [ControlMessage.EpochSequence]] = [:]
        for row in rows {
            all[try row("source"), default: []].append(
                .init(epoch: try row("epoch"), sequence: try row("contiguous")))
        }
        return all
    }

    /// What is missing, and what was known to be.
    func gaps() async throws -> [Gap] {
        let rows = try await self.database.query(
            """
            SELECT c.source, c.epoch, g.version, g.healed_at IS NULL AS is_open, g.requests,
              g.unanswered, g.requested_through,
              extract(epoch FROM clock_timestamp() - g.requested_at)::float8 AS since,
              coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(c.missing) AS r), 0)::bigint AS events,
              ARRAY(SELECT lower(r) FROM unnest(c.missing) AS r ORDER BY r LIMIT \(SequenceRanges.maximumRanges)) AS first,
              ARRAY(SELECT upper(r) - 1 FROM unnest(c.missing) AS r ORDER BY r LIMIT \(SequenceRanges.maximumRanges)) AS last
            FROM source_completeness c LEFT JOIN source_gap g USING (source, epoch)
            WHERE NOT isempty(c.missing) OR (g.source IS NOT NULL AND g.healed_at IS NULL)
            ORDER BY c.source, c.epoch
            """
        )
        return try rows.map { row in
            var missing = SequenceRanges()
            for (first, last) in zip(try row("first", as: [Int64].self), try row("last", as: [Int64].self)) {
                missing.insert(first...last)
            }
            let known = try row("version", as: Int64?.self).map { version in
                Gap.Known(
                    version: version, isOpen: try row("is_open"), requests: try row("requests"),
                    unanswered: try row("unanswered"),
                    sinceRequest: try row("since", as: Double?.self).map { .seconds($0) },
                    requestedThrough: try row("requested_through")
                )
            }
            return Gap(
                source: try row("source"), epoch: try row("epoch"), events: try row("events"), missing: missing,
                known: known
            )
        }
    }

    var isPaused: Bool {
        get async throws {
            try await self.database.query("SELECT paused FROM replay_switch").first?("paused", as: Bool.self) ?? false
        }
    }

    /// Notes that a gap was detected or healed, and tells the timeline, in one transaction.
    func note(_ gap: Gap, _ change: Gap.Change, outbox: Outbox) async throws {
        try await self.database.transaction { tx in
            try await self.fence(tx)
            // One aggregate is one source: its versions go on over all of its epochs.
            let rows = try await tx.query(
                "SELECT coalesce(max(version), 0) + 1 AS next FROM source_gap WHERE source = \(gap.source)"
            )
            let version = try rows.first?("next", as: Int64.self) ?? 1
            switch change {
            case .detected:
                try await tx.query(
                    """
                    INSERT INTO source_gap AS g (source, epoch, events, version)
                    VALUES (\(gap.source), \(gap.epoch), \(gap.events), \(version))
                    ON CONFLICT (source, epoch) DO UPDATE SET
                      events = excluded.events, version = excluded.version, detected_at = clock_timestamp(),
                      healed_at = NULL, requested_at = NULL, requested_through = NULL, requests = 0, unanswered = 0
                    """
                )
                try await outbox.append(
                    GapDetected(
                        source: gap.source, epoch: gap.epoch, events: gap.events,
                        ranges: gap.missing.ranges.prefix(100).map { [$0.lowerBound, $0.upperBound] }, version: version
                    ), in: tx
                )
            case .healed:
                try await tx.query(
                    """
                    UPDATE source_gap SET events = 0, version = \(version), healed_at = clock_timestamp()
                    WHERE source = \(gap.source) AND epoch = \(gap.epoch)
                    """
                )
                try await outbox.append(
                    GapHealed(
                        source: gap.source, epoch: gap.epoch, requests: Int64(gap.known?.requests ?? 0),
                        version: version
                    ), in: tx
                )
            }
        }
    }

    /// Where something came since the last request, patience begins anew.
    func noteRequest(_ gap: Gap, through last: Int64) async throws {
        try await self.database.query(
            """
            UPDATE source_gap SET
              requests = requests + 1,
              unanswered = CASE WHEN requested_at IS NOT NULL AND \(gap.events) < events THEN 1 ELSE unanswered + 1 END,
              events = \(gap.events), requested_at = clock_timestamp(), requested_through = \(last)
            WHERE source = \(gap.source) AND epoch = \(gap.epoch)
              AND EXISTS (SELECT FROM sealer_head WHERE term = \(self.term))
            """
        )
    }

    private func fence(_ tx: PostgresTransaction) async throws {
        let rows = try await tx.query("SELECT 1 AS mine FROM sealer_head WHERE term = \(self.term) FOR SHARE")
        guard !rows.isEmpty else { throw EventError(code: .lostLeadership, message: "another sealer leads") }
    }
}
