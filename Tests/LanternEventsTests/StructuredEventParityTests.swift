import Foundation
import LanternKafka
import LanternPostgres
import Testing

@testable import LanternEvents

/// What is said in one mode and in the other is the same event: for its duplicates, its leaf and its readers.
@Suite("The two modes of CloudEvents say the same")
struct StructuredEventParityTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var event: EventEnvelope
        /// The member of the data, where there is one.
        var data: String?
    }

    private static let full = EventEnvelope(
        id: "0190b5a8-7c00-7abc-8def-0123456789ab", source: "/services/order", type: "order.order.placed.v1",
        time: Timestamp(microseconds: 1_769_903_999_000_001), subject: "order/1 \"é\" 🏮", subjectVersion: 3,
        dataSchema: "urn:lantern:event:order.order.placed.v1", dataContentType: "application/json", epoch: 2,
        sequence: 42, partitionKey: "1 \"é\" 🏮", tenant: "acme",
        actor: EventActor(id: "user-1", type: "user", ip: "192.0.2.7"), outcome: .denied,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", tracestate: "vendor=1",
        baggage: "tenant=acme", data: Array(#"{ "total":1250, "name":"Öl 🏮" }"#.utf8)
    )

    private static func with(_ type: String?, _ data: [UInt8]) -> EventEnvelope {
        var event = self.full
        event.dataContentType = type
        event.data = data
        return event
    }

    private static let cases: [Case] = [
        Case(testDescription: "JSON", event: full, data: #""data":{ "total":1250, "name":"Öl 🏮" }"#),
        Case(
            testDescription: "text", event: with("text/plain", Array("a \"b\"\n".utf8)),
            data: #""data":"a \"b\"\n""#),
        Case(
            testDescription: "bytes", event: with("application/octet-stream", [0, 0xFF, 0x7B]),
            data: #""data_base64":"AP97""#),
        Case(
            testDescription: "JSON as bytes", event: with("application/json", Array("[1]".utf8)),
            data: #""data_base64":"WzFd""#),
        Case(testDescription: "no data", event: with(nil, []), data: nil),
        Case(
            testDescription: "the least", event: EventEnvelope(id: "1", source: "urn:example:till", type: "sale"),
            data: nil),
    ]

    /// As a producer of structured mode would write it.
    /// - Parameter numbers: As JSON numbers, and not as text.
    private func structured(_ test: Case, numbers: Bool) throws -> KafkaRecord {
        let event = test.event
        func text(_ value: String) throws -> String {
            String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
        }
        func number(_ value: Int64) throws -> String { numbers ? "\(value)" : try text(CloudEvents.sequence(value)) }
        let attributes: [(String, String?)] = [
            ("specversion", try text("1.0")), ("id", try text(event.id)), ("source", try text(event.source)),
            ("type", try text(event.type)), ("time", try event.time.map { try text($0.description) }),
            ("subject", try event.subject.map(text)), ("subjectversion", try event.subjectVersion.map(number)),
            ("dataschema", try event.dataSchema.map(text)),
            ("datacontenttype", try event.dataContentType.map(text)), ("sourceepoch", try event.epoch.map(number)),
            ("sequence", try event.sequence.map(number)), ("partitionkey", try event.partitionKey.map(text)),
            ("tenant", try text(event.tenant)), ("actorid", try text(event.actor.id)),
            ("actortype", try text(event.actor.type)), ("actorip", try event.actor.ip.map(text)),
            ("outcome", try text(event.outcome.rawValue)), ("traceparent", try event.traceparent.map(text)),
            ("tracestate", try event.tracestate.map(text)), ("baggage", try event.baggage.map(text)),
        ]
        let members = attributes.compactMap { name, value in value.map { #""\#(name)":\#($0)"# } }
        return KafkaRecord(
            topic: "order.events.v1", key: event.partitionKey.map { Array($0.utf8) },
            value: Array("{\((members + [test.data].compactMap { $0 }).joined(separator: ","))}".utf8),
            headers: [KafkaHeader("content-type", "application/cloudevents+json; charset=utf-8")]
        )
    }

    @Test("an event is the same in both modes", arguments: Self.cases, [true, false])
    func same(test: Case, numbers: Bool) throws {
        let binary = try CloudEvents.event(CloudEvents.record(test.event, topic: "order.events.v1"))
        let structured = try CloudEvents.event(try self.structured(test, numbers: numbers))
        #expect(structured == binary)
        #expect(structured == test.event)
        // So the second one is a duplicate of the first, and no conflict.
        #expect(structured.contentBytes == binary.contentBytes)
    }

    @Test(
        "an event that came in structured mode can be sent on in binary mode, and is still the same",
        arguments: Self.cases)
    func sentOn(test: Case) throws {
        let event = try CloudEvents.event(try self.structured(test, numbers: true))
        #expect(try CloudEvents.event(CloudEvents.record(event, topic: "order.events.v1")) == event)
    }

    @Test("what the record's headers say of an event in structured mode is the transport's, and no part of it")
    func headersDoNotCount() throws {
        var record = try self.structured(Self.cases[0], numbers: true)
        record.headers += [KafkaHeader("ce_id", "other"), KafkaHeader("ce_tenant", "other")]
        #expect(try CloudEvents.event(record) == Self.full)
    }

    @Test("the trace of an event in structured mode is found in its record's headers, where its attributes have none")
    func traceOfTransport() throws {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        var record = try self.structured(Self.cases[5], numbers: true)
        record.headers.append(KafkaHeader("traceparent", traceparent))
        // The span that handles the record takes it from there: the entry must not belong to another trace.
        #expect(KafkaHeaderCarrier().extract(key: "traceparent", from: record) == traceparent)
        #expect(try CloudEvents.event(record).traceparent == traceparent)
    }
}
