import Lantern
import Synchronization

/// The spans of a batch: one for each record, child of the span that created it; and one for the batch, which links to
/// all of them and in which the statements run.
///
/// Whoever gives this up without ``end()``, after the batch failed, ends them as failed: each attempt at a record is a span.
final class BatchTraces: Sendable {
    /// The spans of one record.
    private struct Spans {
        var record: KafkaRecord
        var process: any Span
        /// `nil` once the record is put aside.
        var store: (any Span)?
    }

    private let spans: Mutex<[Spans]>
    /// Why the batch failed, once it has.
    private let failure = Mutex<String?>(nil)
    private let links: [InstrumentationContext]
    private let recordCount: Int

    init(_ records: [KafkaRecord], group: String) {
        let instrument = InstrumentationSystem.instrument
        var spans: [Spans] = []
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
            spans.append(
                Spans(
                    record: record, process: process,
                    store: startSpan("store timeline entry", context: process.context, ofKind: .internal)
                )
            )
        }
        self.spans = Mutex(spans)
        self.links = links
        // Heads are told from events by their type.
        self.recordCount = records.count { $0.header("ce_type")?.hasPrefix("lantern.") != true }
    }

    /// Where ``end()`` did not come. After a dry run, or a COMMIT whose outcome nobody knows, there is nothing to say.
    deinit {
        guard let failure = self.failure.withLock({ $0 }) else { return }
        for spans in self.spans.withLock({ $0 }) {
            for span in [spans.store, spans.process].compactMap({ $0 }) {
                // One that is put aside has a reason of its own.
                if spans.store != nil { span.attributes["error.type"] = failure }
                span.setStatus(SpanStatus(code: .error))
                span.end()
            }
        }
    }

    /// Runs `work` in the batch's span; without one where no record has a trace: heads of idle sources.
    func batch(_ work: () async throws -> Void) async throws {
        do {
            try await self.withBatchSpan(work)
        } catch {
            let type = (error as? PostgresError)?.code.rawValue ?? (error as? EventError)?.code.rawValue
            self.failure.withLock { $0 = type ?? (error is CancellationError ? "cancelled" : "other") }
            throw error
        }
    }

    private func withBatchSpan(_ work: () async throws -> Void) async throws {
        guard !self.links.isEmpty else { return try await work() }
        try await withSpan("ingest batch", context: .topLevel, ofKind: .consumer) { span in
            for link in self.links { span.addLink(SpanLink(context: link, attributes: [:])) }
            span.attributes["messaging.batch.message_count"] = self.recordCount
            try await work()
        }
    }

    /// Says that a record becomes no entry.
    func putAside(_ record: KafkaRecord, _ error: EventError) {
        self.spans.withLock { spans in
            for index in spans.indices
            where spans[index].record.offset == record.offset && spans[index].record.partition == record.partition
                && spans[index].record.topic == record.topic
            {
                spans[index].process.attributes["error.type"] = error.code.rawValue
                spans[index].process.setStatus(SpanStatus(code: .error))
                spans[index].store = nil
            }
        }
    }

    /// Ends the records' spans: their events are stored.
    func end() {
        let ended = self.spans.withLock { spans in
            defer { spans = [] }
            return spans
        }
        for spans in ended {
            spans.store?.end()
            spans.process.end()
        }
    }
}
