import Foundation
public import LanternPostgres
import Tracing

/// Where a service records what it did: in the transaction that does it.
public struct Outbox: Sendable {
    /// Largest data of one event in bytes: below what brokers take by default, with room for headers.
    public static let maximumDataSize = 900_000

    /// `/services/<service>`.
    public let source: String
    /// `<service>.events.v1`.
    public let topic: String
    private let service: String
    private let catalogue: EventCatalogue?
    private let wake: @Sendable () -> Void

    /// - Parameters:
    ///   - catalogue: Types that may be appended; any where there is none.
    ///   - wake: Called after a commit that appended something; wakes the relay of this process.
    public init(service: String, catalogue: EventCatalogue? = nil, wake: @escaping @Sendable () -> Void) {
        self.catalogue = catalogue
        self.service = service
        self.source = "/services/\(service)"
        self.topic = "\(service).events.v1"
        self.wake = wake
    }

    /// Records `event`: it is published if and only if the transaction commits, exactly once on the timeline.
    ///
    /// Call it after the statement that locks the aggregate (its INSERT or UPDATE), so that the events of one aggregate
    /// keep its order. The event takes the trace, the actor and the tenant of the moment.
    ///
    /// - Throws: ``EventError`` with code `tooLarge`, `invalidAttribute` or `notInCatalogue`; ``PostgresError``.
    public func append(_ event: some DomainEvent, in tx: PostgresTransaction) async throws {
        let type = type(of: event).type
        if let catalogue, !catalogue.contains(type) {
            throw EventError(code: .notInCatalogue, message: "\(type) is not in the catalogue of \(self.service)")
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let data = PostgresBytes(try encoder.encode(event))
        guard data.bytes.count <= Self.maximumDataSize else {
            throw EventError(
                code: .tooLarge,
                message:
                    "the data of \(type) has \(data.bytes.count) bytes, at most \(Self.maximumDataSize) are allowed"
            )
        }
        let subject = event.subject
        var actor = event.actor ?? InstrumentationContext.current?.eventActor ?? .system(self.service)
        if actor.ip == nil { actor.ip = InstrumentationContext.current?.eventActor?.ip }
        // As readers take them, who would put the event aside.
        for (name, value) in [
            ("subject", "\(subject.type)/\(subject.id)"), ("actor's id", actor.id), ("actor's type", actor.type),
            ("actor's address", actor.ip ?? "-"),
        ] where value.utf8.contains(0) || value.utf8.count > CloudEvents.maximumAttributeSize {
            throw EventError(
                code: .invalidAttribute,
                message: "the \(name) of \(type) holds a NUL character or is longer than 1,024 bytes"
            )
        }

        try await withSpan("create \(self.topic)", ofKind: .producer) { span in
            span.updateAttributes { attributes in
                attributes["messaging.system"] = "kafka"
                attributes["messaging.operation.name"] = "create"
                attributes["messaging.operation.type"] = "create"
                attributes["messaging.destination.name"] = self.topic
                attributes["messaging.kafka.message.key"] = subject.id
                attributes["cloudevents.event_type"] = type.description
            }
            var trace: [String: String] = [:]
            InstrumentationSystem.instrument.inject(span.context, into: &trace, using: DictionaryCarrier())
            try await tx.query(
                """
                INSERT INTO outbox (
                  id, topic, key, type, subject, subject_version, data_schema, content_type, data, tenant,
                  actor_id, actor_type, actor_ip, outcome, traceparent, tracestate, baggage
                ) VALUES (
                  \(UUID.version7()), \(self.topic), \(subject.id), \(type.description),
                  \("\(subject.type)/\(subject.id)"), \(subject.version),
                  \(self.catalogue.map { _ in EventCatalogue.schemaID(of: type) }), \("application/json"), \(data), \("default"),
                  \(actor.id), \(actor.type), \(actor.ip), \(event.outcome.rawValue),
                  \(trace["traceparent"]), \(trace["tracestate"]), \(trace["baggage"])
                )
                """
            )
        }
        tx.afterCommit(self.wake)
    }
}
