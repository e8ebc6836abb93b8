import CoreMetrics
import Foundation
public import LanternKafka
public import LanternPostgres
public import Logging
import Tracing

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

    /// Opens the span `dead_letter <topic>` around the putting aside, in the trace of the record, whose last span would
    /// otherwise be one that failed, and logs it there.
    public func trace(
        _ record: KafkaRecord, _ error: EventError, logger: Logger,
        _ putAside: nonisolated(nonsending) () async throws -> Void
    ) async throws {
        var context = InstrumentationContext.topLevel
        InstrumentationSystem.instrument.extract(record, into: &context, using: KafkaHeaderCarrier())
        let origin = context
        try await withSpan("dead_letter \(record.topic)", context: context, ofKind: .consumer) { span in
            if !origin.isEmpty { span.addLink(SpanLink(context: origin, attributes: [:])) }
            span.updateAttributes { attributes in
                attributes["messaging.system"] = "kafka"
                attributes["messaging.operation.name"] = "dead_letter"
                attributes["messaging.operation.type"] = "settle"
                attributes["messaging.destination.name"] = record.topic
                attributes["messaging.consumer.group.name"] = self.consumer
                attributes["messaging.destination.partition.id"] = record.partition.map { String($0) }
                attributes["messaging.kafka.offset"] = record.offset
                attributes["error.type"] = error.code.rawValue
            }
            span.setStatus(SpanStatus(code: .error))
            logger.error(
                "record put aside as dead letter", error: error,
                metadata: [
                    "topic": "\(record.topic)", "partition": "\(record.partition ?? -1)",
                    "offset": "\(record.offset ?? -1)", "reason": "\(error.code.rawValue)",
                ]
            )
            try await putAside()
        }
    }

    /// Stores the whole record with the reason.
    /// - Throws: `error` itself while a dead letter is handled again: it stays the one that it is.
    public func add(_ record: KafkaRecord, _ error: EventError, in tx: PostgresTransaction) async throws {
        if DeadLetterReplay.isRunning { throw error }
        let event = try? CloudEvents.event(record)
        func text(_ value: String?) -> String? { value.map { $0.replacing("\0", with: "\u{FFFD}") } }
        try await tx.query(
            """
            INSERT INTO dead_letter (
              id, state, consumer, reason, error, topic, partition, record_offset, source, event_id, epoch, sequence, traceparent,
              record_key, record_value, header_names, header_values
            ) VALUES (
              \(UUID.version7()), \(error.code == .parked ? "parked" : "new"), \(self.consumer), \(error.code.rawValue), \(text(error.message) ?? ""), \(record.topic),
              \(record.partition ?? -1), \(record.offset ?? -1), \(text(event?.source ?? record.header("ce_source"))),
              \(text(event?.id ?? record.header("ce_id"))), \(event?.epoch), \(event?.sequence),
              \(text(KafkaHeaderCarrier().extract(key: "traceparent", from: record))),
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
