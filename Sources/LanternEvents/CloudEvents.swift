public import LanternKafka
import LanternPostgres

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

    /// Reads a record in binary mode.
    /// - Throws: ``EventError``; its code says what is wrong with the record, so that it can be put aside.
    public static func event(_ record: KafkaRecord) throws(EventError) -> EventEnvelope {
        guard let version = record.header("ce_specversion") else {
            throw EventError(code: .notACloudEvent, message: "the record has no ce_specversion header")
        }
        guard version == "1.0" else {
            throw EventError(code: .unsupportedVersion, message: "ce_specversion is not 1.0")
        }
        func required(_ name: String) throws(EventError) -> String {
            guard let value = record.header(name), !value.isEmpty else {
                throw EventError(code: .invalidAttribute, message: "\(name) is missing, empty or not UTF-8")
            }
            // PostgreSQL cannot hold NUL in text, and no identifier needs it.
            guard !value.utf8.contains(0), value.utf8.count <= 1_024 else {
                throw EventError(
                    code: .invalidAttribute, message: "\(name) holds a NUL character or is longer than 1,024 bytes")
            }
            return value
        }
        func optional(_ name: String) throws(EventError) -> String? {
            guard record.headers.contains(where: { $0.name == name && $0.value?.isEmpty == false }) else { return nil }
            return try required(name)
        }
        func optional(_ name: String, or other: String) throws(EventError) -> String? {
            if let value = try optional(name) { return value }
            return try optional(other)
        }
        // Where a request came from is no reason to lose what it did: what cannot be kept of it is left out. A `tracestate` of
        // 32 members can be 16 KiB long.
        func trace(_ name: String) -> String? {
            KafkaHeaderCarrier().extract(key: name, from: record).flatMap {
                $0.isEmpty || $0.utf8.contains(0) || $0.utf8.count > 16_448 ? nil : $0
            }
        }
        func number(_ name: String) throws(EventError) -> Int64? {
            guard let text = try optional(name) else { return nil }
            guard let value = Int64(text), value >= 0 else {
                throw EventError(code: .invalidAttribute, message: "\(name) is not a whole number from 0")
            }
            return value
        }
        var time: Timestamp?
        if let text = try optional("ce_time") {
            guard let value = Timestamp(text) else {
                throw EventError(code: .invalidAttribute, message: "ce_time is not an RFC 3339 time")
            }
            time = value
        }
        let outcome = try optional("ce_outcome").flatMap(EventOutcome.init(rawValue:)) ?? .unknown
        return EventEnvelope(
            id: try required("ce_id"),
            source: try required("ce_source"),
            type: try required("ce_type"),
            time: time,
            subject: try optional("ce_subject"),
            subjectVersion: try number("ce_subjectversion"),
            dataSchema: try optional("ce_dataschema"),
            dataContentType: try optional("content-type", or: "ce_datacontenttype"),
            epoch: try number("ce_sourceepoch"),
            sequence: try number("ce_sequence"),
            partitionKey: try optional("ce_partitionkey"),
            tenant: try optional("ce_tenant") ?? "default",
            actor: EventActor(
                id: try optional("ce_actorid") ?? "unknown",
                type: try optional("ce_actortype") ?? "unknown",
                ip: try optional("ce_actorip")
            ),
            outcome: outcome,
            traceparent: trace("traceparent"),
            tracestate: trace("tracestate"),
            baggage: trace("baggage"),
            data: record.value ?? []
        )
    }
}

/// What is wrong with an event or the path it travels.
public struct EventError: Error, Sendable, CustomStringConvertible {
    /// Stable; also the reason of a dead letter and the label of its metric.
    public enum Code: String, Sendable {
        case notACloudEvent = "not_a_cloudevent"
        case unsupportedVersion = "unsupported_version"
        case invalidAttribute = "invalid_attribute"
        /// The data is not what its type promises.
        case undecodable
        /// The source may not write to this topic.
        case sourceMismatch = "source_mismatch"
        /// Another event bears the same id.
        case idConflict = "id_conflict"
        /// The database cannot hold it.
        case storeRefused = "store_refused"
        /// The handler failed each time it was tried.
        case handlerFailed = "handler_failed"
        /// Another leader has taken over.
        case lostLeadership = "lost_leadership"
        /// Larger than a record may be.
        case tooLarge = "too_large"
        /// Another member has moved the offset: this one no longer owns the partition.
        case fenced

        /// Those for which a record is put aside.
        static let deadLetterReasons: [Code] = [
            .notACloudEvent, .unsupportedVersion, .invalidAttribute, .undecodable, .sourceMismatch, .idConflict,
            .storeRefused, .handlerFailed,
        ]
    }

    public var code: Code
    public var message: String

    public init(code: Code, message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(self.code.rawValue): \(self.message)" }
}
