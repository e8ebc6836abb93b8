import Lantern

/// The spans of a batch: one for each record, child of the span that created it; and one for the batch, which links to
/// all of them and in which the statements run.
final class BatchTraces: Sendable {
    private let spans: [(process: any Span, store: any Span)]
    private let links: [InstrumentationContext]

    init(_ records: [KafkaRecord], group: String) {
        let instrument = InstrumentationSystem.instrument
        var spans: [(any Span, any Span)] = []
        var links: [InstrumentationContext] = []
        for record in records where KafkaHeaderCarrier().extract(key: "traceparent", from: record) != nil {
            var context = InstrumentationContext.topLevel
            instrument.extract(record, into: &context, using: KafkaHeaderCarrier())
            guard !context.isEmpty else { continue }
            links.append(context)
            let process = startSpan("process \(record.topic)", context: context, ofKind: .consumer)
            process.addLink(SpanLink(context: context, attributes: [:]))
            process.updateAttributes { attributes in
                attributes["messaging.system"] = "kafka"
                attributes["messaging.operation.name"] = "process"
                attributes["messaging.operation.type"] = "process"
                attributes["messaging.destination.name"] = record.topic
                attributes["messaging.consumer.group.name"] = group
                attributes["messaging.destination.partition.id"] = record.partition.map { String($0) }
                attributes["messaging.kafka.offset"] = record.offset
            }
            spans.append((process, startSpan("store timeline entry", context: process.context, ofKind: .internal)))
        }
        self.spans = spans
        self.links = links
    }

    /// Runs `work` in the batch's span; without one where no record has a trace: heads of idle sources.
    func batch(_ work: () async throws -> Void) async throws {
        guard !self.links.isEmpty else { return try await work() }
        try await withSpan("ingest batch", context: .topLevel, ofKind: .consumer) { span in
            for link in self.links { span.addLink(SpanLink(context: link, attributes: [:])) }
            span.attributes["messaging.batch.message_count"] = self.links.count
            try await work()
        }
    }

    /// Ends the records' spans: their events are stored.
    func end() {
        for (process, store) in self.spans {
            store.end()
            process.end()
        }
    }
}
