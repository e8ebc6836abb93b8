import CoreMetrics
import Synchronization
public import Tracing

/// Spans and metrics of a client, by the OpenTelemetry conventions for messaging and Kafka.
final class KafkaTelemetry: Sendable {
    private let factory: any MetricsFactory
    private let clientID: String
    private let counters = Mutex<[String: Counter]>([:])
    private let timers = Mutex<[String: Timer]>([:])

    init(clientID: String) {
        self.factory = MetricsSystem.factory
        self.clientID = clientID
    }

    func send(
        _ records: [KafkaRecord], topic: String, _ operation: ([KafkaRecord]) async throws -> [KafkaProducer.Delivery]
    ) async throws -> [KafkaProducer.Delivery] {
        let start = ContinuousClock.now
        let instrument = InstrumentationSystem.instrument
        var links: [InstrumentationContext] = []
        for record in records {
            var context = InstrumentationContext.topLevel
            instrument.extract(record, into: &context, using: KafkaHeaderCarrier())
            if !context.isEmpty { links.append(context) }
        }
        // Nothing to be part of and nothing to link to: control records of an idle relay are not worth a trace.
        if links.isEmpty, InstrumentationContext.current == nil {
            return try await self.measure(records.count, topic: topic, start: start) { try await operation(records) }
        }
        return try await withSpan("send \(topic)", ofKind: .client) { span in
            span.updateAttributes { attributes in
                attributes["messaging.system"] = "kafka"
                attributes["messaging.operation.name"] = "send"
                attributes["messaging.operation.type"] = "send"
                attributes["messaging.destination.name"] = topic
                attributes["messaging.client.id"] = self.clientID
                attributes["messaging.batch.message_count"] = records.count
            }
            for link in links { span.addLink(SpanLink(context: link, attributes: [:])) }
            var stamped = records
            let carrier = KafkaHeaderCarrier()
            for index in stamped.indices where carrier.extract(key: "traceparent", from: stamped[index]) == nil {
                instrument.inject(span.context, into: &stamped[index], using: KafkaHeaderCarrier())
            }
            do {
                return try await self.measure(records.count, topic: topic, start: start) {
                    try await operation(stamped)
                }
            } catch {
                span.attributes["error.type"] = Self.errorType(error)
                throw error
            }
        }
    }

    private func measure<Value>(
        _ count: Int, topic: String, start: ContinuousClock.Instant, _ operation: () async throws -> Value
    ) async throws -> Value {
        do {
            let value = try await operation()
            self.sent(count, topic: topic, error: "", start: start)
            return value
        } catch {
            self.sent(count, topic: topic, error: Self.errorType(error), start: start)
            throw error
        }
    }

    private func sent(_ count: Int, topic: String, error: String, start: ContinuousClock.Instant) {
        self.counter("messaging_client_sent_messages_total", topic: topic, operation: "send", error: error)
            .increment(by: count)
        self.operation("send", topic: topic, error: error, duration: start.duration(to: .now))
    }

    func consumed(_ count: Int, topic: String, group: String) {
        self.counter("messaging_client_consumed_messages_total", topic: topic, operation: "poll", group: group)
            .increment(by: count)
    }

    func lag(_ lag: Int64, of partition: KafkaPartition, group: String) {
        Meter(
            label: "messaging_kafka_consumer_lag",
            dimensions: [
                ("messaging_destination_name", partition.topic),
                ("messaging_destination_partition_id", String(partition.partition)),
                ("messaging_consumer_group_name", group),
            ],
            factory: self.factory
        ).set(lag)
    }

    private func operation(_ name: String, topic: String, error: String, duration: Duration) {
        let key = "\(name)\u{1F}\(topic)\u{1F}\(error)"
        let timer = self.timers.withLock { timers in
            if let timer = timers[key] { return timer }
            let timer = Timer(
                label: "messaging_client_operation_duration_seconds",
                dimensions: [
                    ("messaging_system", "kafka"), ("messaging_operation_name", name),
                    ("messaging_destination_name", topic), ("error_type", error),
                ],
                factory: self.factory
            )
            timers[key] = timer
            return timer
        }
        let (seconds, attoseconds) = duration.components
        timer.recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }

    private func counter(
        _ label: String, topic: String, operation: String, group: String = "", error: String = ""
    ) -> Counter {
        let key = "\(label)\u{1F}\(topic)\u{1F}\(group)\u{1F}\(error)"
        return self.counters.withLock { counters in
            if let counter = counters[key] { return counter }
            let counter = Counter(
                label: label,
                dimensions: [
                    ("messaging_system", "kafka"), ("messaging_operation_name", operation),
                    ("messaging_destination_name", topic), ("messaging_consumer_group_name", group),
                    ("error_type", error),
                ],
                factory: self.factory
            )
            counters[key] = counter
            return counter
        }
    }

    private static func errorType(_ error: any Error) -> String {
        (error as? KafkaError)?.code.rawValue ?? (error is CancellationError ? "cancelled" : "other")
    }
}

/// Carries trace context in the headers of a record.
public struct KafkaHeaderCarrier: Injector, Extractor {
    public init() {}

    /// The trace of the event (CloudEvents extension "Distributed Tracing") before that of its transport: both are the same
    /// where they come from the platform, and where they are not, what handles an event belongs to what made it.
    public func extract(key: String, from record: KafkaRecord) -> String? {
        let isTrace = key == "traceparent" || key == "tracestate"
        // One that is too short to be any is as good as none.
        let isOfEvent = isTrace && (record.header("ce_traceparent")?.utf8.count ?? 0) >= 55
        return record.header(isOfEvent ? "ce_" + key : key)
    }

    public func inject(_ value: String, forKey key: String, into record: inout KafkaRecord) {
        record.headers.removeAll { $0.name == key }
        record.headers.append(KafkaHeader(key, value))
    }
}
