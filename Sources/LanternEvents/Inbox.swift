import CoreMetrics
import Foundation
public import LanternKafka
public import LanternPostgres
import Tracing

/// Runs a service's handler for each event of one type, once: the event's id, the effect and the offset commit together.
public struct Inbox<Event: DomainEvent>: RecordHandler {
    private let consumer: String
    private let topic: String
    private let handler: @Sendable (Event, PostgresTransaction) async throws -> Void

    /// - Parameters:
    ///   - consumer: Names this handler among others of the service; events are seen once for each.
    ///   - handler: May run again after a failure, in a new transaction; what it did before was rolled back then.
    public init(
        consumer: String, topic: String,
        handler: @escaping @Sendable (Event, PostgresTransaction) async throws -> Void
    ) {
        self.consumer = consumer
        self.topic = topic
        self.handler = handler
    }

    public func handle(_ records: [KafkaRecord], in tx: PostgresTransaction) async throws {
        for record in records where record.header("ce_type") == Event.type.description {
            let envelope = try CloudEvents.event(record)
            guard "\(envelope.service).events.v1" == record.topic else {
                throw EventError(code: .sourceMismatch, message: "\(envelope.source) may not write to \(record.topic)")
            }
            try await self.handle(envelope, record, in: tx)
        }
    }

    private func handle(_ envelope: EventEnvelope, _ record: KafkaRecord, in tx: PostgresTransaction) async throws {
        var context = InstrumentationContext.current ?? .topLevel
        InstrumentationSystem.instrument.extract(record, into: &context, using: KafkaHeaderCarrier())
        // What the handler records is done by the service, because of the event, on nobody's request.
        context.eventActor = nil
        let origin = context
        let start = ContinuousClock.now
        try await withSpan("process \(record.topic)", context: context, ofKind: .consumer) { span in
            span.addLink(SpanLink(context: origin, attributes: [:]))
            span.updateAttributes { attributes in
                attributes["messaging.system"] = "kafka"
                attributes["messaging.operation.name"] = "process"
                attributes["messaging.operation.type"] = "process"
                attributes["messaging.destination.name"] = record.topic
                attributes["messaging.consumer.group.name"] = self.consumer
                attributes["messaging.destination.partition.id"] = record.partition.map { String($0) }
                attributes["messaging.kafka.offset"] = record.offset
            }
            let seen = try await tx.query(
                """
                INSERT INTO inbox (consumer, source, event_id)
                VALUES (\(self.consumer), \(envelope.source), \(envelope.id))
                ON CONFLICT DO NOTHING
                """
            )
            guard seen.affectedRows == 1 else {
                let source = envelope.source
                return tx.afterCommit {
                    Counter(label: "lantern_duplicates_total", dimensions: [("source", source)]).increment()
                }
            }
            let event = try JSONDecoder().decode(Event.self, from: Data(envelope.data))
            try await self.handler(event, tx)
        }
        Timer(
            label: "messaging_process_duration_seconds",
            dimensions: [
                ("messaging_system", "kafka"), ("messaging_destination_name", record.topic),
                ("messaging_consumer_group_name", self.consumer),
            ]
        ).recordNanoseconds(nanoseconds(start.duration(to: .now)))
    }
}

/// A duration as swift-metrics timers take it.
func nanoseconds(_ duration: Duration) -> Int64 {
    duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
}
