import CoreMetrics
import Crypto
import Foundation
public import LanternKafka
public import LanternPostgres
import Logging
import Tracing

/// Runs a service's handler for each event of one type, once: the event's id, the effect and the offset commit together.
///
/// Older versions are brought up to date by the type's upcasters; a newer one is put aside, to be handled when the service
/// understands it.
public struct Inbox<Event: DomainEvent>: RecordHandler {
    private let consumer: String
    private let topic: String
    private let keepsOrder: Bool
    private let relation: KafkaProcessing.TraceRelation
    private let handler: @Sendable (Event, PostgresTransaction) async throws -> Void

    /// - Parameters:
    ///   - consumer: Names this handler among others of the service; events are seen once for each.
    ///   - keepsOrder: Whether the events of an aggregate wait where one before them was put aside.
    ///   - handler: May run again after a failure, in a new transaction; what it did before was rolled back then.
    public init(
        consumer: String, topic: String, keepsOrder: Bool = true, relation: KafkaProcessing.TraceRelation = .both,
        handler: @escaping @Sendable (Event, PostgresTransaction) async throws -> Void
    ) {
        self.consumer = consumer
        self.topic = topic
        self.keepsOrder = keepsOrder
        self.relation = relation
        self.handler = handler
    }

    public func handle(_ records: [KafkaRecord], in tx: PostgresTransaction) async throws {
        var wanted: [(record: KafkaRecord, event: EventEnvelope, type: EventType)] = []
        for record in records {
            // Told by the header where there is one: most records of a topic are other types'.
            if let type = record.header("ce_type"), EventType(parsing: type).action != Event.type.action { continue }
            guard
                record.header("ce_type") != nil
                    || CloudEvents.isStructured(record)
            else { continue }
            let event = try CloudEvents.event(record)
            let type = EventType(parsing: event.type)
            if type.action == Event.type.action { wanted.append((record, event, type)) }
        }
        guard !wanted.isEmpty else { return }
        let parked = try await self.parkedKeys(of: wanted.map(\.record), in: tx)
        for (record, event, type) in wanted {
            guard "\(event.service).events.v1" == record.topic else {
                throw EventError(code: .sourceMismatch, message: "\(event.source) may not write to \(record.topic)")
            }
            if let key = record.key, parked.contains(key) {
                try await self.park(record, in: tx)
            } else {
                try await self.handle(event, type, record, in: tx)
            }
        }
    }

    private func handle(
        _ event: EventEnvelope, _ type: EventType, _ record: KafkaRecord, in tx: PostgresTransaction
    ) async throws {
        try await KafkaProcessing.process(record, group: self.consumer, relation: self.relation) {
            var context = InstrumentationContext.current ?? .topLevel
            // What the handler records is done by the service, because of the event, on nobody's request.
            context.eventActor = nil
            try await InstrumentationContext.withValue(context) {
                let seen = try await tx.query(
                    """
                    INSERT INTO inbox (consumer, source, event_id)
                    VALUES (\(self.consumer), \(event.source), \(event.id))
                    ON CONFLICT DO NOTHING
                    """
                )
                guard seen.affectedRows == 1 else {
                    let source = event.source
                    return tx.afterCommit {
                        Counter(label: "lantern_duplicates_total", dimensions: [("source", source)]).increment()
                    }
                }
                try await self.handler(try Event.decode(event.data, of: type), tx)
            }
        }
    }

    /// Keys of which something waits already. Relies on `dead_letter_open`.
    private func parkedKeys(of records: [KafkaRecord], in tx: PostgresTransaction) async throws -> Set<[UInt8]> {
        guard self.keepsOrder, !DeadLetterReplay.isRunning else { return [] }
        let digests = Set(records.compactMap(\.key)).map { PostgresBytes(Array(SHA256.hash(data: $0))) }
        guard !digests.isEmpty else { return [] }
        // Locked, so that a letter that is being settled right now is waited for: a record that parked behind it would
        // be released by nobody.
        let rows = try await tx.query(
            """
            SELECT first.record_key
            FROM unnest(\(digests)) AS wanted (digest)
            CROSS JOIN LATERAL (
              SELECT record_key FROM dead_letter
              WHERE consumer = \(self.consumer) AND topic = \(self.topic) AND sha256(record_key) = wanted.digest
                AND state IN ('new', 'parked')
              ORDER BY id LIMIT 1 FOR SHARE
            ) AS first
            """
        )
        return Set(try rows.map { try $0("record_key", as: PostgresBytes.self).bytes })
    }

    private func park(_ record: KafkaRecord, in tx: PostgresTransaction) async throws {
        let letters = DeadLetters(consumer: self.consumer)
        let error = EventError(code: .parked, message: "an earlier record of its key waits as a dead letter")
        try await letters.trace(record, error, logger: .current) { try await letters.add(record, error, in: tx) }
    }
}

/// A duration as swift-metrics timers take it.
func nanoseconds(_ duration: Duration) -> Int64 {
    duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
}
