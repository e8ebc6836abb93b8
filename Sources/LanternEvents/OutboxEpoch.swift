public import LanternPostgres

/// The numbering of a service's events: which epoch it is in, and how far.
///
/// A relay opens a new epoch by itself where the database's system identifier or WAL timeline has changed. A restore that
/// keeps both, as that of a file system's snapshot, it cannot see: then a person has to say so.
public struct OutboxEpoch: Sendable, Encodable {
    public var source: String
    public var epoch: Int64
    /// The last number given in the epoch.
    public var lastSequence: Int64
    /// Every number up to here was acknowledged by the brokers.
    public var publishedThrough: Int64

    private enum CodingKeys: String, CodingKey {
        case source, epoch
        case lastSequence = "last_sequence"
        case publishedThrough = "published_through"
    }

    /// The present epoch; `nil` where no relay ever led.
    /// - Throws: ``PostgresError``.
    public static func current(of service: String, in database: PostgresClient) async throws -> OutboxEpoch? {
        let source = "/services/\(service)"
        let rows = try await database.query(
            "SELECT epoch, last_sequence, published_through FROM outbox_head WHERE source = \(source)"
        )
        return try rows.first.map { row in
            OutboxEpoch(
                source: source, epoch: try row("epoch"), lastSequence: try row("last_sequence"),
                publishedThrough: try row("published_through")
            )
        }
    }

    /// Begins a new epoch. What was numbered and perhaps not published is numbered again; ids stay, so what did arrive is
    /// a duplicate. The relay that leads loses its term and takes over anew.
    /// - Throws: ``PostgresError``.
    public static func begin(of service: String, in database: PostgresClient) async throws -> OutboxEpoch {
        let source = "/services/\(service)"
        try await OutboxStore(database: database, source: source).takeOver(newEpoch: true)
        guard let epoch = try await self.current(of: service, in: database) else {
            throw PostgresError(code: .server, message: "no outbox head")
        }
        return epoch
    }
}
