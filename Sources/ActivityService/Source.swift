import Lantern

/// What is known of a source, as the API shows it.
struct Source: Encodable, Sendable {
    var source: String
    var epoch: Int64
    /// The highest number the source says is acknowledged; `nil` where it says nothing.
    var headAnnounced: Int64?
    /// The highest number below which nothing is missing.
    var headContiguous: Int64
    /// Numbers that are missing although every partition has passed a head beyond them.
    var gaps: Int64
    var events: Int64
    var duplicatesDropped: Int64
    /// Numbers that were put aside.
    var deadLettered: Int64
    var lagSeconds: Double

    private enum CodingKeys: String, CodingKey {
        case source, epoch, gaps, events
        case headAnnounced = "head_announced"
        case headContiguous = "head_contiguous"
        case duplicatesDropped = "duplicates_dropped"
        case deadLettered = "dead_lettered"
        case lagSeconds = "lag_seconds"
    }
}

/// The SQL of sources.
struct SourceStore: Sendable {
    let database: PostgresClient

    /// Every source in its newest epoch.
    func all() async throws -> [Source] {
        let rows = try await self.database.query(
            """
            WITH newest AS (
              SELECT DISTINCT ON (source) source, epoch, held + dead AS accounted, dead, events, duplicates, last_time
              FROM source_state ORDER BY source, epoch DESC
            ), head AS (
              SELECT source, epoch, max(sequence) AS announced,
                     CASE WHEN count(*) >= max(partitions) THEN min(sequence) ELSE 0 END AS passed
              FROM source_partition_head GROUP BY source, epoch
            )
            SELECT n.source, n.epoch, h.announced, n.events, n.duplicates,
              coalesce((SELECT upper(r) - 1 FROM unnest(n.accounted) AS r WHERE r @> 1::bigint), 0) AS contiguous,
              coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(n.dead) AS r), 0)::bigint AS dead,
              coalesce((
                SELECT sum(upper(r) - lower(r))
                FROM unnest(int8multirange(int8range(1, greatest(coalesce(h.passed, 0), 0) + 1)) - n.accounted) AS r
              ), 0)::bigint AS gaps,
              coalesce(extract(epoch FROM clock_timestamp() - n.last_time), 0)::float8 AS age
            FROM newest n LEFT JOIN head h USING (source, epoch)
            ORDER BY n.source
            """
        )
        return try rows.map { row in
            let announced = try row("announced", as: Int64?.self)
            let contiguous = try row("contiguous", as: Int64.self)
            // Only a source that is behind what it announced has a lag; an idle one is up to date.
            let behind = announced.map { $0 > contiguous } ?? false
            return Source(
                source: try row("source"), epoch: try row("epoch"), headAnnounced: announced,
                headContiguous: contiguous,
                gaps: try row("gaps"), events: try row("events"), duplicatesDropped: try row("duplicates"),
                deadLettered: try row("dead"), lagSeconds: behind ? max(0, try row("age")) : 0
            )
        }
    }
}
