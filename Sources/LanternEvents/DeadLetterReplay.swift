public import Foundation
import LanternKafka
public import LanternPostgres
import Logging
import Tracing

/// Handles a dead letter again: in place, by the handler that it was meant for, in one transaction with its new state.
///
/// Nothing is written to Kafka, so no other consumer sees the record twice; and one that fails again stays the letter that
/// it is, with one more try counted, up to ``maximumReplays``: no record can go round in a circle.
public struct DeadLetterReplay: Sendable {
    public static let maximumReplays = 10

    public enum Outcome: Sendable {
        /// Handled; in a dry run, it would be.
        case replayed
        /// Failed again.
        case failed(EventError)
        /// There is none of the id.
        case notFound
        /// It does not wait any more.
        case settled(DeadLetter.State)
        /// An older one of its key comes first.
        case blocked(by: UUID)
        /// It has failed too often.
        case exhausted
    }

    /// Set while a handler works on a dead letter.
    @TaskLocal static var isRunning = false

    private struct DryRun: Error {}
    private struct AuditFailure: Error { var cause: any Error }

    private let database: PostgresClient
    private let consumer: String
    private let handler: any RecordHandler

    public init(database: PostgresClient, consumer: String, handler: any RecordHandler) {
        self.database = database
        self.consumer = consumer
        self.handler = handler
    }

    /// - Parameters:
    ///   - dryRun: Does everything, tells how it went, and rolls back.
    ///   - audit: Runs in the same transaction, after the handler.
    /// - Throws: ``PostgresError`` where the database is away.
    public func replay(
        _ id: UUID, by: String, dryRun: Bool,
        audit: @escaping @Sendable (DeadLetter, PostgresTransaction) async throws -> Void
    ) async throws -> Outcome {
        do {
            let outcome = try await self.database.transaction { tx -> Outcome in
                let rows = try await tx.query(
                    "SELECT \(DeadLetter.columns) FROM dead_letter WHERE id = \(id) AND consumer = \(self.consumer) FOR UPDATE"
                )
                guard let letter = try rows.first.map({ try DeadLetter($0) }) else { return .notFound }
                guard letter.state == .new || letter.state == .parked else { return .settled(letter.state) }
                guard letter.replays < Self.maximumReplays else { return .exhausted }
                if letter.state == .parked, let first = try await self.blocker(of: letter, in: tx) {
                    return .blocked(by: first)
                }
                // First, so that an ordered handler does not find its own letter in its way.
                try await tx.query(
                    """
                    UPDATE dead_letter SET state = 'replayed', replays = replays + 1, settled_at = clock_timestamp(),
                      settled_by = \(by) WHERE id = \(id)
                    """
                )
                try await self.handle(letter, in: tx)
                do { try await audit(letter, tx) } catch { throw AuditFailure(cause: error) }
                if dryRun {
                    // What a COMMIT would refuse is told as well.
                    try await tx.query("SET CONSTRAINTS ALL IMMEDIATE")
                    throw DryRun()
                }
                return .replayed
            }
            if case .replayed = outcome { self.handler.committed() }
            return outcome
        } catch is DryRun {
            return .replayed
        } catch let failure as AuditFailure {
            // Not the letter's fault.
            throw failure.cause
        } catch {
            guard let failure = Self.failure(error) else { throw error }
            if !dryRun { try await self.count(failure, id) }
            return .failed(failure)
        }
    }

    /// Handles the letters that wait behind one that was settled, in order, until one fails.
    /// - Returns: How many.
    public func release(
        behind letter: DeadLetter, by: String,
        audit: @escaping @Sendable (DeadLetter, PostgresTransaction) async throws -> Void
    ) async throws -> Int {
        var count = 0
        while let next = try await self.nextParked(behind: letter),
            case .replayed = try await self.replay(next, by: by, dryRun: false, audit: audit)
        {
            count += 1
        }
        return count
    }

    private func handle(_ letter: DeadLetter, in tx: PostgresTransaction) async throws {
        var context = InstrumentationContext.topLevel
        InstrumentationSystem.instrument.extract(letter.record, into: &context, using: KafkaHeaderCarrier())
        let origin = context
        // In the trace of whoever asked for it; the event's own is a link away.
        try await withSpan("replay \(letter.record.topic)", ofKind: .consumer) { span in
            if !origin.isEmpty { span.addLink(SpanLink(context: origin, attributes: [:])) }
            span.updateAttributes { attributes in
                attributes["messaging.system"] = "kafka"
                attributes["messaging.operation.name"] = "replay"
                attributes["messaging.operation.type"] = "process"
                attributes["messaging.destination.name"] = letter.record.topic
                attributes["messaging.consumer.group.name"] = self.consumer
                attributes["messaging.destination.partition.id"] = letter.record.partition.map { String($0) }
                attributes["messaging.kafka.offset"] = letter.record.offset
                attributes["lantern.dead_letter.id"] = letter.id.uuidString.lowercased()
            }
            try await Self.$isRunning.withValue(true) {
                try await self.handler.handle([letter.record], in: tx)
            }
        }
    }

    /// What failed by the record's own fault, and not because something is away.
    private static func failure(_ error: any Error) -> EventError? {
        switch EventConsumer.disposition(of: error) {
        case .stop, .wait: nil
        case .retry(let failure), .poison(let failure): failure
        }
    }

    private func count(_ error: EventError, _ id: UUID) async throws {
        try await self.database.query(
            """
            UPDATE dead_letter SET replays = replays + 1, error = \(error.message.replacing("\0", with: "\u{FFFD}")), reason = \(error.code.rawValue)
            WHERE id = \(id) AND state IN ('new', 'parked')
            """
        )
    }

    private func blocker(of letter: DeadLetter, in tx: PostgresTransaction) async throws -> UUID? {
        try await tx.query(
            """
            SELECT id FROM dead_letter
            WHERE consumer = \(letter.consumer) AND topic = \(letter.record.topic)
              AND sha256(record_key) = sha256(\(letter.record.key.map { PostgresBytes($0) }))
              AND state IN ('new', 'parked') AND id < \(letter.id)
            ORDER BY id LIMIT 1
            """
        ).first.map { try $0("id") }
    }

    private func nextParked(behind letter: DeadLetter) async throws -> UUID? {
        guard let key = letter.record.key else { return nil }
        let rows = try await self.database.query(
            """
            SELECT id, state FROM dead_letter
            WHERE consumer = \(letter.consumer) AND topic = \(letter.record.topic)
              AND sha256(record_key) = sha256(\(PostgresBytes(key))) AND state IN ('new', 'parked')
            ORDER BY id LIMIT 1
            """
        )
        guard let row = rows.first, try row("state", as: String.self) == "parked" else { return nil }
        return try row("id")
    }
}
