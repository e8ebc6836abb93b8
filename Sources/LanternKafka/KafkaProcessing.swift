import CoreMetrics
import Tracing

/// The span and the metric of handling one record, by the messaging conventions.
public enum KafkaProcessing {
    /// How the span of a record's handling relates to the span that sent it. Asynchronous work fits badly into one tree:
    /// some want the whole story in one trace, some want each trace short.
    public enum TraceRelation: String, Sendable, CaseIterable {
        /// In the sender's trace.
        case child
        /// In a trace of its own, which links to the sender's.
        case link
        /// In the sender's trace, with a link as well: for tools that follow either.
        case both
    }

    /// Runs `work` in the span `process <topic>` and measures it.
    public static func process<Result>(
        _ record: KafkaRecord, group: String, relation: TraceRelation = .both,
        _ work: nonisolated(nonsending) () async throws -> Result
    ) async throws -> Result {
        let start = ContinuousClock.now
        defer {
            Timer(
                label: "messaging_process_duration_seconds",
                dimensions: [
                    ("messaging_system", "kafka"), ("messaging_destination_name", record.topic),
                    ("messaging_consumer_group_name", group),
                ]
            ).recordNanoseconds(nanoseconds(start.duration(to: .now)))
        }
        return try await Self.span(record, group: group, relation: relation, work)
    }

    private static func span<Result>(
        _ record: KafkaRecord, group: String, relation: TraceRelation,
        _ work: nonisolated(nonsending) () async throws -> Result
    ) async throws -> Result {
        var sender = InstrumentationContext.topLevel
        InstrumentationSystem.instrument.extract(record, into: &sender, using: KafkaHeaderCarrier())
        let origin = sender
        let parent = relation == .link ? InstrumentationContext.topLevel : origin
        return try await withSpan("process \(record.topic)", context: parent, ofKind: .consumer) { span in
            if relation != .child, !origin.isEmpty { span.addLink(SpanLink(context: origin, attributes: [:])) }
            span.updateAttributes { attributes in
                attributes["messaging.system"] = "kafka"
                attributes["messaging.operation.name"] = "process"
                attributes["messaging.operation.type"] = "process"
                attributes["messaging.destination.name"] = record.topic
                attributes["messaging.consumer.group.name"] = group
                attributes["messaging.destination.partition.id"] = record.partition.map { String($0) }
                attributes["messaging.kafka.offset"] = record.offset
            }
            return try await work()
        }
    }
}
