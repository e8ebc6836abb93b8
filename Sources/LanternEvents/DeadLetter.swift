import CoreMetrics
import Foundation
public import LanternKafka
public import LanternPostgres

/// Puts records aside that cannot be handled: a row of the same transaction that moves the offset, so that a record is
/// neither lost nor doubled.
public struct DeadLetters: Sendable {
    private let consumer: String

    public init(consumer: String) {
        self.consumer = consumer
    }

    /// Makes the metric's series with the factory that is current here: an alert on an increase needs the zero before it.
    public static func prepareMetrics() {
        for reason in EventError.Code.deadLetterReasons {
            Counter(label: "lantern_dead_letters_total", dimensions: [("reason", reason.rawValue)]).increment(by: 0)
        }
    }

    /// Stores the whole record with the reason.
    public func add(_ record: KafkaRecord, _ error: EventError, in tx: PostgresTransaction) async throws {
        let event = try? CloudEvents.event(record)
        func text(_ value: String?) -> String? { value.map { $0.replacing("\0", with: "\u{FFFD}") } }
        try await tx.query(
            """
            INSERT INTO dead_letter (
              id, consumer, reason, error, topic, partition, record_offset, source, event_id, epoch, sequence, traceparent,
              record_key, record_value, header_names, header_values
            ) VALUES (
              \(UUID.version7()), \(self.consumer), \(error.code.rawValue), \(text(error.message) ?? ""), \(record.topic),
              \(record.partition ?? -1), \(record.offset ?? -1), \(text(event?.source ?? record.header("ce_source"))),
              \(text(event?.id ?? record.header("ce_id"))), \(event?.epoch), \(event?.sequence),
              \(text(record.header("traceparent"))),
              \(record.key.map { PostgresBytes($0) }), \(record.value.map { PostgresBytes($0) }),
              \(record.headers.map { text($0.name) ?? "" }), \(record.headers.map { $0.value.map { PostgresBytes($0) } })
            )
            """
        )
        let reason = error.code.rawValue
        tx.afterCommit {
            Counter(label: "lantern_dead_letters_total", dimensions: [("reason", reason)]).increment()
        }
    }
}
