public import Foundation
public import LanternKafka
public import LanternPostgres

/// A record that was put aside.
public struct DeadLetter: Sendable {
    public enum State: String, Sendable, CaseIterable {
        /// Waits for somebody.
        case new
        /// Waits behind another of its key.
        case parked
        /// Was handled in the end.
        case replayed
        /// Will not be handled.
        case discarded
    }

    public var id: UUID
    public var recordedAt: Timestamp
    public var state: State
    public var consumer: String
    /// Of ``EventError/Code``.
    public var reason: String
    /// What went wrong, when it was tried last.
    public var error: String
    public var record: KafkaRecord
    public var source: String?
    public var eventID: String?
    public var epoch: Int64?
    public var sequence: Int64?
    /// How often it was tried again.
    public var replays: Int
    public var settledAt: Timestamp?
    public var settledBy: String?
    public var note: String?

    init(_ row: PostgresRow) throws {
        self.id = try row("id")
        self.recordedAt = try row("recorded_at")
        self.state = State(rawValue: try row("state")) ?? .new
        self.consumer = try row("consumer")
        self.reason = try row("reason")
        self.error = try row("error")
        let names = try row("header_names", as: [String].self)
        let values = try row("header_values", as: [PostgresBytes?].self)
        self.record = KafkaRecord(
            topic: try row("topic"),
            partition: try row("partition"),
            key: try row("record_key", as: PostgresBytes?.self)?.bytes,
            value: try row("record_value", as: PostgresBytes?.self)?.bytes,
            headers: zip(names, values).map { KafkaHeader($0, $1?.bytes) },
            offset: try row("record_offset")
        )
        self.source = try row("source")
        self.eventID = try row("event_id")
        self.epoch = try row("epoch")
        self.sequence = try row("sequence")
        self.replays = try row("replays")
        self.settledAt = try row("settled_at")
        self.settledBy = try row("settled_by")
        self.note = try row("note")
    }

    static let columns: SQL =
        """
        id, recorded_at, state, consumer, reason, error, topic, partition, record_offset, source, event_id, epoch, sequence,
        record_key, record_value, header_names, header_values, replays, settled_at, settled_by, note
        """
}

/// Which dead letters.
public struct DeadLetterFilter: Sendable {
    public var state: DeadLetter.State?
    public var reason: String?
    public var consumer: String?
    public var topic: String?

    public init(
        state: DeadLetter.State? = nil, reason: String? = nil, consumer: String? = nil, topic: String? = nil
    ) {
        self.state = state
        self.reason = reason
        self.consumer = consumer
        self.topic = topic
    }
}

/// The dead letters in a database.
public struct DeadLetterStore: Sendable {
    let database: PostgresClient

    public init(database: PostgresClient) {
        self.database = database
    }

    /// The newest first.
    /// - Parameter before: Only those older than this one.
    public func list(_ filter: DeadLetterFilter, before: UUID?, limit: Int) async throws -> [DeadLetter] {
        var sql: SQL = "SELECT \(DeadLetter.columns) FROM dead_letter WHERE true"
        if let state = filter.state { sql.append(" AND state = \(state.rawValue)") }
        if let reason = filter.reason { sql.append(" AND reason = \(reason)") }
        if let consumer = filter.consumer { sql.append(" AND consumer = \(consumer)") }
        if let topic = filter.topic { sql.append(" AND topic = \(topic)") }
        if let before { sql.append(" AND id < \(before)") }
        sql.append(" ORDER BY id DESC LIMIT \(limit)")
        return try await self.database.query(sql).map { try DeadLetter($0) }
    }

    public func find(_ id: UUID) async throws -> DeadLetter? {
        try await self.database.query("SELECT \(DeadLetter.columns) FROM dead_letter WHERE id = \(id)").first.map {
            try DeadLetter($0)
        }
    }

    /// Says that a record will not be handled.
    /// - Parameter audit: Runs in the same transaction.
    /// - Returns: `nil` where there is none that waits.
    public func discard(
        _ id: UUID, by: String, note: String?,
        audit: @Sendable (DeadLetter, PostgresTransaction) async throws -> Void
    ) async throws -> DeadLetter? {
        try await self.database.transaction { tx in
            let rows = try await tx.query(
                """
                UPDATE dead_letter
                SET state = 'discarded', settled_at = clock_timestamp(), settled_by = \(by), note = \(note)
                WHERE id = \(id) AND state IN ('new', 'parked')
                RETURNING \(DeadLetter.columns)
                """
            )
            guard let letter = try rows.first.map({ try DeadLetter($0) }) else { return nil }
            try await audit(letter, tx)
            return letter
        }
    }
}
