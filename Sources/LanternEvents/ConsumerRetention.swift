public import LanternPostgres

/// Forgets what a service's consumers need not know any more: which events they have handled, and letters that are settled.
///
/// An event that comes again after its id was forgotten is handled again. So the age must be above what any broker keeps
/// records for, and above `OUTBOX_MINIMUM_AGE` of the sources.
public struct ConsumerRetention: Sendable {
    /// Rows of one statement, so that none runs for long.
    private static let batch = 5_000

    private let database: PostgresClient

    public init(database: PostgresClient) { self.database = database }

    /// Several replicas may do it at once. Ends early when the task is cancelled; what is left then is forgotten the next
    /// time.
    /// - Returns: How many rows were removed.
    /// - Throws: ``PostgresError``.
    @discardableResult
    public func forget(olderThan age: Duration) async throws -> (events: Int, letters: Int) {
        let seconds = Double(age.components.seconds)
        let events = try await self.batches {
            """
            DELETE FROM inbox WHERE (consumer, source, event_id) IN (
              SELECT consumer, source, event_id FROM inbox
              WHERE handled_at < clock_timestamp() - make_interval(secs => \(seconds))
              ORDER BY handled_at LIMIT \(Self.batch) FOR UPDATE SKIP LOCKED
            )
            """
        }
        // One that was not copied to its topic yet is still needed for that.
        let letters = try await self.batches {
            """
            DELETE FROM dead_letter WHERE id IN (
              SELECT id FROM dead_letter
              WHERE state IN ('replayed', 'discarded') AND published_at IS NOT NULL
                AND settled_at < clock_timestamp() - make_interval(secs => \(seconds))
              LIMIT \(Self.batch) FOR UPDATE SKIP LOCKED
            )
            """
        }
        return (events, letters)
    }

    private func batches(_ statement: () -> SQL) async throws -> Int {
        var total = 0
        while !Task.isCancelled {
            let count = try await self.database.execute(statement())
            total += count
            if count < Self.batch { break }
        }
        return total
    }
}
