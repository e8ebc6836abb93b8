import CoreMetrics
import Synchronization
import Tracing

/// Spans and metrics of a client, by the OpenTelemetry conventions for messaging and Kafka.
final class KafkaTelemetry: Sendable {
    private let factory: any MetricsFactory
    private let clientID: String
    private let sent = Mutex(KnownSent())
    private let consumed = Mutex<[String: Counter]>([:])
    private let lags = Mutex<[KafkaPartition: Meter]>([:])
    private let rebalances = Mutex<[String: Counter]>([:])
    private let queue = Mutex<(messages: Meter, bytes: Meter)?>(nil)

    /// The instruments of one topic and outcome.
    private struct Sent {
        var messages: Counter
        var duration: Timer
    }

    private struct KnownSent {
        /// Most senders send to one topic, and it goes well.
        var last: (topic: String, instruments: Sent)?
        /// By topic and outcome.
        var all: [String: Sent] = [:]
    }

    init(clientID: String) {
        self.factory = MetricsSystem.factory
        self.clientID = clientID
    }

    // MARK: - Sending

    func send<Result>(
        _ records: [KafkaRecord], topic: String, _ operation: ([KafkaRecord]) async throws -> Result
    ) async throws -> Result {
        let start = ContinuousClock.now
        let instrument = InstrumentationSystem.instrument
        let links = records.compactMap { Self.context(of: $0) }
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
                instrument.inject(span.context, into: &stamped[index], using: carrier)
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

    /// Whether sending the record is worth a span: there is something to be part of, or to link to.
    func isTraced(_ record: KafkaRecord) -> Bool {
        InstrumentationContext.current != nil || Self.context(of: record) != nil
    }

    /// What the record's own headers say it belongs to.
    private static func context(of record: KafkaRecord) -> InstrumentationContext? {
        guard !record.headers.isEmpty else { return nil }
        var context = InstrumentationContext.topLevel
        InstrumentationSystem.instrument.extract(record, into: &context, using: KafkaHeaderCarrier())
        return context.isEmpty ? nil : context
    }

    private func measure<Value>(
        _ count: Int, topic: String, start: ContinuousClock.Instant, _ operation: () async throws -> Value
    ) async throws -> Value {
        do {
            let value = try await operation()
            self.sent(count, topic: topic, error: "", since: start)
            return value
        } catch {
            self.sent(count, topic: topic, error: Self.errorType(error), since: start)
            throw error
        }
    }

    /// - Parameter error: What went wrong, in a word; empty where nothing did.
    func sent(_ count: Int, topic: String, error: String, since start: ContinuousClock.Instant) {
        let instruments = self.sent.withLock { known in
            if error.isEmpty, let last = known.last, last.topic == topic { return last.instruments }
            let key = error.isEmpty ? topic : "\(topic)\u{1F}\(error)"
            if let instruments = known.all[key] {
                if error.isEmpty { known.last = (topic, instruments) }
                return instruments
            }
            let instruments = Sent(
                messages: Counter(
                    label: "messaging_client_sent_messages_total",
                    dimensions: [
                        ("messaging_system", "kafka"), ("messaging_operation_name", "send"),
                        ("messaging_destination_name", topic), ("messaging_consumer_group_name", ""),
                        ("error_type", error),
                    ],
                    factory: self.factory
                ),
                duration: Timer(
                    label: "messaging_client_operation_duration_seconds",
                    dimensions: [
                        ("messaging_system", "kafka"), ("messaging_operation_name", "send"),
                        ("messaging_destination_name", topic), ("error_type", error),
                    ],
                    factory: self.factory
                )
            )
            known.all[key] = instruments
            return instruments
        }
        instruments.messages.increment(by: count)
        instruments.duration.recordNanoseconds(nanoseconds(start.duration(to: .now)))
    }

    // MARK: - Consuming

    func consumed(_ records: [KafkaRecord], group: String) {
        // Runs of one topic: a fetch brings them together.
        var start = records.startIndex
        while start < records.endIndex {
            let topic = records[start].topic
            let end = records[start...].firstIndex { $0.topic != topic } ?? records.endIndex
            self.counter(topic: topic, group: group).increment(by: end - start)
            start = end
        }
    }

    private func counter(topic: String, group: String) -> Counter {
        self.consumed.withLock { known in
            if let counter = known[topic] { return counter }
            let counter = Counter(
                label: "messaging_client_consumed_messages_total",
                dimensions: [
                    ("messaging_system", "kafka"), ("messaging_operation_name", "poll"),
                    ("messaging_destination_name", topic), ("messaging_consumer_group_name", group),
                    ("error_type", ""),
                ],
                factory: self.factory
            )
            known[topic] = counter
            return counter
        }
    }

    func rebalanced(group: String) {
        self.rebalances.withLock { known in
            if let counter = known[group] { return counter }
            let counter = Counter(
                label: "lantern_kafka_rebalances_total", dimensions: [("messaging_consumer_group_name", group)],
                factory: self.factory
            )
            known[group] = counter
            return counter
        }.increment()
    }

    // MARK: - librdkafka's statistics

    /// Of a producer: what waits in its queue.
    func statistics(_ statistics: KafkaStatistics) {
        let meters = self.queue.withLock { known in
            if let known { return known }
            let dimensions = [("messaging_client_id", self.clientID)]
            let meters = (
                messages: Meter(
                    label: "lantern_kafka_producer_queue_messages", dimensions: dimensions, factory: self.factory),
                bytes: Meter(
                    label: "lantern_kafka_producer_queue_bytes", dimensions: dimensions, factory: self.factory)
            )
            known = meters
            return meters
        }
        meters.messages.set(statistics.queuedMessages)
        meters.bytes.set(statistics.queuedBytes)
    }

    /// Of a consumer: its lag in each partition that it reads.
    func statistics(_ statistics: KafkaStatistics, group: String) {
        for (partition, lag) in statistics.lag {
            self.lags.withLock { known in
                if let meter = known[partition] { return meter }
                let meter = Meter(
                    label: "messaging_kafka_consumer_lag",
                    dimensions: [
                        ("messaging_destination_name", partition.topic),
                        ("messaging_destination_partition_id", String(partition.partition)),
                        ("messaging_consumer_group_name", group),
                    ],
                    factory: self.factory
                )
                known[partition] = meter
                return meter
            }.set(lag)
        }
    }

    /// A lag that nobody renews would keep an alert on: the member that has the partition now tells of it.
    func forgetLag(of partitions: [KafkaPartition]) {
        for partition in partitions { self.lags.withLock { $0.removeValue(forKey: partition) }?.destroy() }
    }

    func forgetLag() {
        self.forgetLag(of: self.lags.withLock { Array($0.keys) })
    }

    static func errorType(_ error: any Error) -> String {
        (error as? KafkaError)?.code.rawValue ?? (error is CancellationError ? "cancelled" : "other")
    }
}

/// A duration as swift-metrics timers take it.
func nanoseconds(_ duration: Duration) -> Int64 {
    duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
}
