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
    /// Held here, and unknown to the source since it was restored.
    var diverged: Int64
    var lagSeconds: Double

    private enum CodingKeys: String, CodingKey {
        case source, epoch, gaps, events, diverged
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

    /// Every source, as it stands in its newest epoch; what is missing or has diverged, in all of them.
    func all() async throws -> [Source] {
        let rows = try await self.database.query(
            """
            WITH counted AS (
              SELECT *,
                coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(dead) AS r), 0)::bigint AS dead_count,
                coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(missing) AS r), 0)::bigint AS missing_count,
                coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(diverged) AS r), 0)::bigint AS diverged_count
              FROM source_completeness
            )
            SELECT DISTINCT ON (source) source, epoch, announced, contiguous, dead_count AS dead, events, duplicates,
              least(sum(missing_count) OVER source, 9223372036854775807)::bigint AS gaps,
              least(sum(diverged_count) OVER source, 9223372036854775807)::bigint AS diverged,
              coalesce(extract(epoch FROM clock_timestamp() - last_time), 0)::float8 AS age
            FROM counted
            WINDOW source AS (PARTITION BY source)
            ORDER BY source, epoch DESC
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
                deadLettered: try row("dead"), diverged: try row("diverged"),
                lagSeconds: behind ? max(0, try row("age")) : 0
            )
        }
    }
}
