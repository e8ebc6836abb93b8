public import LanternKafka
import LanternPostgres

extension CloudEvents {
    /// Bytes of one attribute.
    static let maximumAttributeSize = 1_024

    /// Reads a record in binary mode (Kafka protocol binding, section 3.2), or in structured mode with JSON (3.3).
    /// - Throws: ``EventError``; its code says what is wrong with the record, so that it can be put aside.
    public static func event(_ record: KafkaRecord) throws(EventError) -> EventEnvelope {
        guard Self.isStructured(record) else {
            return try Self.event(BinaryAttributes(record: record), record: record, data: record.value ?? [])
        }
        guard record.contentType?.lowercased().hasPrefix("application/cloudevents+json") == true else {
            throw EventError(
                code: .notACloudEvent, message: "structured mode is read as application/cloudevents+json only")
        }
        let structured = try StructuredEvent(record)
        return try Self.event(structured, record: record, data: structured.data)
    }

    /// Which event of which source a record is, also where it cannot be read as a whole: for those who account for what they
    /// put aside. `nil` where it is not numbered.
    public static func number(of record: KafkaRecord) -> (source: String, epoch: Int64?, sequence: Int64)? {
        if let event = try? Self.event(record) {
            return event.sequence.map { (event.source, event.epoch, $0) }
        }
        guard !Self.isStructured(record) else { return nil }
        let attributes = BinaryAttributes(record: record)
        func number(_ name: String) -> Int64? {
            attributes.text(name).flatMap { Int64($0) }.flatMap { $0 >= 0 ? $0 : nil }
        }
        guard let source = attributes.text("source"), !source.isEmpty, source.utf8.count <= Self.maximumAttributeSize,
            !source.utf8.contains(0), let sequence = number("sequence")
        else { return nil }
        return (source, number("sourceepoch"), sequence)
    }

    /// Whether the value holds the whole event, or several. Media types are compared without regard to case.
    public static func isStructured(_ record: KafkaRecord) -> Bool {
        record.contentType?.lowercased().hasPrefix("application/cloudevents") == true
    }

    private static func event(
        _ attributes: some EventAttributes, record: KafkaRecord, data: [UInt8]
    ) throws(EventError) -> EventEnvelope {
        guard let version = attributes.text("specversion") else {
            throw EventError(code: .notACloudEvent, message: "the record has no \(attributes.label("specversion"))")
        }
        guard version == "1.0" else {
            throw EventError(code: .unsupportedVersion, message: "\(attributes.label("specversion")) is not 1.0")
        }
        func required(_ name: String) throws(EventError) -> String {
            guard let value = attributes.text(name), !value.isEmpty else {
                throw EventError(
                    code: .invalidAttribute, message: "\(attributes.label(name)) is missing, empty or not UTF-8")
            }
            // PostgreSQL cannot hold NUL in text, and no identifier needs it.
            guard !value.utf8.contains(0), value.utf8.count <= Self.maximumAttributeSize else {
                throw EventError(
                    code: .invalidAttribute,
                    message: "\(attributes.label(name)) holds a NUL character or is longer than 1,024 bytes")
            }
            return value
        }
        func optional(_ name: String) throws(EventError) -> String? {
            attributes.isPresent(name) ? try required(name) : nil
        }
        // Where a request came from is no reason to lose what it did: what cannot be kept of it is left out. A `tracestate` of
        // 32 members can be 16 KiB long.
        func trace(_ name: String) -> String? {
            attributes.trace(name).flatMap {
                $0.isEmpty || $0.utf8.contains(0) || $0.utf8.count > 16_448 ? nil : $0
            }
        }
        func number(_ name: String) throws(EventError) -> Int64? {
            guard let text = try optional(name) else { return nil }
            guard let value = Int64(text), value >= 0 else {
                throw EventError(
                    code: .invalidAttribute, message: "\(attributes.label(name)) is not a whole number from 0")
            }
            return value
        }
        var time: Timestamp?
        if let text = try optional("time") {
            guard let value = Timestamp(text) else {
                throw EventError(
                    code: .invalidAttribute, message: "\(attributes.label("time")) is not an RFC 3339 time")
            }
            time = value
        }
        return EventEnvelope(
            id: try required("id"),
            source: try required("source"),
            type: try required("type"),
            time: time,
            subject: try optional("subject"),
            subjectVersion: try number("subjectversion"),
            dataSchema: try optional("dataschema"),
            dataContentType: try optional("datacontenttype"),
            epoch: try number("sourceepoch"),
            sequence: try number("sequence"),
            partitionKey: try optional("partitionkey"),
            tenant: try optional("tenant") ?? "default",
            actor: EventActor(
                id: try optional("actorid") ?? "unknown",
                type: try optional("actortype") ?? "unknown",
                ip: try optional("actorip")
            ),
            outcome: try optional("outcome").flatMap(EventOutcome.init(rawValue:)) ?? .unknown,
            traceparent: trace("traceparent"),
            tracestate: trace("tracestate"),
            baggage: trace("baggage"),
            data: data
        )
    }
}

/// Where the attributes of an event stand.
protocol EventAttributes {
    /// `nil` where it is not there, or is not text.
    func text(_ name: String) -> String?
    func isPresent(_ name: String) -> Bool
    func trace(_ name: String) -> String?
    /// The name as the sender wrote it, for errors.
    func label(_ name: String) -> String
}

/// Binary mode: each attribute is a header `ce_*`, but for the content type.
private struct BinaryAttributes: EventAttributes {
    private let record: KafkaRecord
    /// Where the last header of an attribute stands: one pass over the headers, however many attributes are asked for.
    private var places: [String: Int]

    init(record: KafkaRecord) {
        self.record = record
        self.places = Dictionary(minimumCapacity: record.headers.count)
        for (index, header) in record.headers.enumerated() where header.name.hasPrefix("ce_") {
            self.places[String(header.name.dropFirst(3))] = index
        }
        // The transport's own name for it wins.
        if let index = record.headers.lastIndex(where: { $0.isContentType }),
            record.headers[index].value?.isEmpty == false
        {
            self.places["datacontenttype"] = index
        }
    }

    func text(_ name: String) -> String? {
        self.places[name].flatMap { self.record.headers[$0].value }.flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// One of no bytes is none.
    func isPresent(_ name: String) -> Bool {
        self.places[name].map { self.record.headers[$0].value?.isEmpty == false } ?? false
    }

    func label(_ name: String) -> String { "ce_" + name }

    func trace(_ name: String) -> String? { KafkaHeaderCarrier().extract(key: name, from: self.record) }
}

extension KafkaRecord {
    /// The transport's content type. Producers differ in how they write the name.
    fileprivate var contentType: String? {
        self.header("content-type")
            ?? self.headers.last { $0.isContentType }
            .flatMap { self.header($0.name) }
    }
}

extension KafkaHeader {
    fileprivate var isContentType: Bool { self.name.utf8.count == 12 && self.name.lowercased() == "content-type" }
}
