import LanternPostgres
public import LanternKafka

/// CloudEvents 1.0 on Kafka, binary mode (Kafka protocol binding, section 3.2): attributes are headers `ce_*`.
public enum CloudEvents {
    /// The record that carries an event. Pure: the same envelope always gives the same bytes, so a re-send is identical.
    public static func record(_ event: EventEnvelope, topic: String) -> KafkaRecord {
        var headers: [KafkaHeader] = [
            KafkaHeader("ce_specversion", "1.0"),
            KafkaHeader("ce_id", event.id),
            KafkaHeader("ce_source", event.source),
            KafkaHeader("ce_type", event.type),
        ]
        func add(_ name: String, _ value: String?) {
            if let value { headers.append(KafkaHeader(name, value)) }
        }
        add("ce_time", event.time?.description)
        add("ce_subject", event.subject)
        add("ce_dataschema", event.dataSchema)
        add("content-type", event.dataContentType)
        add("ce_sourceepoch", event.epoch.map(String.init))
        add("ce_sequence", event.sequence.map(Self.sequence))
        add("ce_subjectversion", event.subjectVersion.map(String.init))
        add("ce_partitionkey", event.partitionKey)
        add("ce_tenant", event.tenant)
        add("ce_actorid", event.actor.id)
        add("ce_actortype", event.actor.type)
        add("ce_actorip", event.actor.ip)
        add("ce_outcome", event.outcome.rawValue)
        // Twice the same: for readers of CloudEvents' distributed tracing extension, and for those of W3C headers.
        add("ce_traceparent", event.traceparent)
        add("ce_tracestate", event.tracestate)
        add("traceparent", event.traceparent)
        add("tracestate", event.tracestate)
        add("baggage", event.baggage)
        return KafkaRecord(
            topic: topic, key: event.partitionKey.map { Array($0.utf8) }, value: event.data, headers: headers
        )
    }

    /// A sequence as it travels: decimal, padded to 20 digits, so that text order is number order.
    public static func sequence(_ value: Int64) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, 20 - digits.count)) + digits
    }
}
