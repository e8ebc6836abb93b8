@testable import LanternEvents
import LanternKafka
import LanternPostgres
import Testing

@Suite("CloudEvents on Kafka")
struct CloudEventsTests {
    /// An event with everything that can be said of one.
    private static let full = EventEnvelope(
        id: "0190b5a8-7c00-7abc-8def-0123456789ab", source: "/services/order", type: "order.order.placed.v1",
        time: Timestamp(microseconds: 1_769_903_999_000_001), subject: "order/0190b5a8-7c00-7000-8000-000000000001",
        subjectVersion: 3, dataSchema: "https://lantern.dev/schemas/order.order.placed.v1",
        dataContentType: "application/json",
        epoch: 2, sequence: 42, partitionKey: "0190b5a8-7c00-7000-8000-000000000001", tenant: "acme",
        actor: EventActor(id: "user-1", type: "user", ip: "192.0.2.7"), outcome: .success,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", tracestate: "vendor=1",
        data: Array(#"{"total":1250,"name":"Öl 🏮"}"#.utf8)
    )

    /// The least that a foreign producer can write.
    private static let least = EventEnvelope(id: "1", source: "urn:example:till", type: "sale")

    private func record(_ event: EventEnvelope = Self.full) -> KafkaRecord {
        CloudEvents.record(event, topic: "order.events.v1")
    }

    // MARK: - Writing

    @Test("the headers are those of the wire format")
    func headers() {
        let expected = [
            ("ce_specversion", "1.0"),
            ("ce_id", "0190b5a8-7c00-7abc-8def-0123456789ab"),
            ("ce_source", "/services/order"),
            ("ce_type", "order.order.placed.v1"),
            ("ce_time", "2026-01-31T23:59:59.000001Z"),
            ("ce_subject", "order/0190b5a8-7c00-7000-8000-000000000001"),
            ("ce_dataschema", "https://lantern.dev/schemas/order.order.placed.v1"),
            ("content-type", "application/json"),
            ("ce_sourceepoch", "2"),
            ("ce_sequence", "00000000000000000042"),
            ("ce_subjectversion", "3"),
            ("ce_partitionkey", "0190b5a8-7c00-7000-8000-000000000001"),
            ("ce_tenant", "acme"),
            ("ce_actorid", "user-1"),
            ("ce_actortype", "user"),
            ("ce_actorip", "192.0.2.7"),
            ("ce_outcome", "success"),
            ("ce_traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("ce_tracestate", "vendor=1"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("tracestate", "vendor=1"),
        ].map { KafkaHeader($0, $1) }
        let written = self.record().headers
        #expect(written.sorted { $0.name < $1.name } == expected.sorted { $0.name < $1.name })
    }

    @Test("key, value and topic are the event's")
    func keyAndValue() {
        let record = self.record()
        #expect(record.topic == "order.events.v1")
        #expect(record.key == Array("0190b5a8-7c00-7000-8000-000000000001".utf8))
        #expect(record.value == Self.full.data)
        #expect(record.partition == nil)
    }

    @Test("the same event gives the same bytes each time, so that a re-send is no other event")
    func identicalBytes() {
        let first = self.record()
        let second = self.record()
        #expect(first.headers == second.headers)
        #expect(first.key == second.key)
        #expect(first.value == second.value)
    }

    @Test("what an event does not have is not in its headers")
    func absent() {
        let names = self.record(Self.least).headers.map(\.name)
        #expect(
            names == [
                "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_tenant", "ce_actorid", "ce_actortype",
                "ce_outcome",
            ]
        )
        #expect(self.record(Self.least).key == nil)
    }

    @Test(
        "a sequence has twenty digits",
        arguments: [
            (0, "00000000000000000000"), (1, "00000000000000000001"), (1_234_567_890, "00000000001234567890"),
            (Int64.max, "09223372036854775807"),
        ]
    )
    func padded(sequence: Int64, text: String) {
        #expect(CloudEvents.sequence(sequence) == text)
    }

    @Test("sequences sort as text as they do as numbers")
    func sequenceOrder() {
        let numbers: [Int64] = [0, 1, 9, 10, 11, 99, 100, 1_000_000_007, .max - 1, .max]
        let texts = numbers.map { CloudEvents.sequence($0) }
        #expect(texts == texts.sorted())
    }

    // MARK: - Reading

    @Test("what was written is read, whole", arguments: EventOutcome.allCases)
    func roundTrip(outcome: EventOutcome) throws {
        var event = Self.full
        event.outcome = outcome
        #expect(try CloudEvents.event(self.record(event)) == event)
    }

    @Test("an event that says little is read as well, with what it leaves out unknown")
    func foreign() throws {
        let record = KafkaRecord(
            topic: "till.events.v1", value: Array("beep".utf8),
            headers: [
                KafkaHeader("ce_specversion", "1.0"), KafkaHeader("ce_id", "1"),
                KafkaHeader("ce_source", "urn:example:till"),
                KafkaHeader("ce_type", "sale"),
            ]
        )
        var expected = Self.least
        expected.data = Array("beep".utf8)
        #expect(try CloudEvents.event(record) == expected)
        #expect(expected.tenant == "default")
        #expect(expected.actor == EventActor(id: "unknown", type: "unknown"))
        #expect(expected.outcome == .unknown)
    }

    @Test("data is any bytes, also none")
    func anyData() throws {
        for data: [UInt8] in [[], [0], [0xFF, 0xFE, 0x00], Array(repeating: 0x7B, count: 100_000)] {
            var event = Self.full
            event.data = data
            #expect(try CloudEvents.event(self.record(event)).data == data)
        }
    }

    @Test("a tombstone is an event without data")
    func tombstone() throws {
        var record = self.record()
        record.value = nil
        #expect(try CloudEvents.event(record).data == [])
    }

    @Test("a record without headers is no CloudEvent, whatever its value")
    func noHeaders() throws {
        let record = KafkaRecord(topic: "order.events.v1", key: [1], value: Array("{}".utf8))
        let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
        #expect(error.code == .notACloudEvent)
    }

    @Test("another version of CloudEvents is refused", arguments: ["", "0.3", "1", "1.0 ", "1.0.2", "2.0"])
    func version(text: String) throws {
        let record = self.record().with("ce_specversion", Array(text.utf8))
        let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
        #expect(error.code == .unsupportedVersion)
    }

    enum Spoiling: CaseIterable, Sendable {
        case missing, null, empty, notUTF8, nul, tooLong

        func apply(to record: KafkaRecord, _ name: String) -> KafkaRecord {
            switch self {
            case .missing: record.without(name)
            case .null: record.with(name, nil)
            case .empty: record.with(name, [])
            case .notUTF8: record.with(name, [0x61, 0xFF])
            case .nul: record.with(name, [0x61, 0x00, 0x62])
            case .tooLong: record.with(name, Array(repeating: 0x61, count: 1_025))
            }
        }
    }

    @Test(
        "an event without a proper id, source or type is refused, naming what is wrong",
        arguments: ["ce_id", "ce_source", "ce_type"], Spoiling.allCases
    )
    func required(name: String, spoiling: Spoiling) throws {
        let record = spoiling.apply(to: self.record(), name)
        let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
        #expect(error.code == .invalidAttribute)
        #expect(error.message.contains(name))
    }

    @Test(
        "an optional attribute that PostgreSQL could not hold is refused",
        arguments: [
            "ce_subject", "ce_dataschema", "content-type", "ce_partitionkey", "ce_tenant", "ce_actorid", "ce_actortype",
            "ce_actorip", "ce_outcome", "ce_time",
        ],
        [Spoiling.notUTF8, .nul, .tooLong]
    )
    func optional(name: String, spoiling: Spoiling) throws {
        let record = spoiling.apply(to: self.record(), name)
        let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
        #expect(error.code == .invalidAttribute)
    }

    @Test(
        "a trace that cannot be kept is left out, and the event is not refused for it",
        arguments: ["ce_traceparent", "ce_tracestate"], [Spoiling.notUTF8, .nul]
    )
    func trace(name: String, spoiling: Spoiling) throws {
        let record = self.record().without("traceparent").without("tracestate")
        let event = try CloudEvents.event(spoiling.apply(to: record, name))
        #expect((name == "ce_traceparent" ? event.traceparent : event.tracestate) == nil)
        #expect(event.id == Self.full.id)
    }

    @Test("a tracestate of 32 members of the longest kind is kept")
    func longTracestate() throws {
        let member = String(repeating: "k", count: 256) + "=" + String(repeating: "v", count: 256)
        let state = Array(repeating: member, count: 32).joined(separator: ",")
        #expect(try CloudEvents.event(self.record().with("ce_tracestate", Array(state.utf8))).tracestate == state)
        let longer = Array((state + "," + member).utf8)
        #expect(try CloudEvents.event(self.record().with("ce_tracestate", longer)).tracestate == nil)
    }

    @Test("an optional attribute that is empty is as good as absent", arguments: [Spoiling.missing, .null, .empty])
    func emptyOptional(spoiling: Spoiling) throws {
        let event = try CloudEvents.event(spoiling.apply(to: self.record(), "ce_subject"))
        #expect(event.subject == nil)
    }

    @Test("an attribute of 1,024 bytes is not too long")
    func longest() throws {
        let id = String(repeating: "x", count: 1_024)
        #expect(try CloudEvents.event(self.record().with("ce_id", Array(id.utf8))).id == id)
    }

    @Test(
        "a time that is none is refused, so that no event stands at the wrong place",
        arguments: ["yesterday", "2026-02-30T00:00:00Z", "2026-01-01", "1769903999", "2026-01-01T00:00:00"]
    )
    func badTime(text: String) throws {
        let record = self.record().with("ce_time", Array(text.utf8))
        let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
        #expect(error.code == .invalidAttribute)
        #expect(error.message.contains("ce_time"))
    }

    @Test(
        "a number that is none, or below 0, is refused",
        arguments: ["ce_sequence", "ce_sourceepoch", "ce_subjectversion"],
        ["-1", "1.5", "one", "0x10", " 1", "9223372036854775808", "99999999999999999999"]
    )
    func badNumber(name: String, text: String) throws {
        let record = self.record().with(name, Array(text.utf8))
        let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
        #expect(error.code == .invalidAttribute)
        #expect(error.message.contains(name))
    }

    @Test("an outcome that nobody knows is unknown, not an error", arguments: ["exploded", "SUCCESS", "success "])
    func unknownOutcome(text: String) throws {
        #expect(try CloudEvents.event(self.record().with("ce_outcome", Array(text.utf8))).outcome == .unknown)
    }

    @Test("of two headers of one name the last counts")
    func lastHeader() throws {
        var record = self.record()
        record.headers.append(KafkaHeader("ce_tenant", "other"))
        #expect(try CloudEvents.event(record).tenant == "other")
    }

    @Test("trace context is read from either pair of headers, and the extension's comes first")
    func traceContext() throws {
        let bare = self.record().without("ce_traceparent").without("ce_tracestate")
        #expect(try CloudEvents.event(bare).traceparent == Self.full.traceparent)
        #expect(try CloudEvents.event(bare).tracestate == Self.full.tracestate)

        let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let both = self.record().with("traceparent", Array(other.utf8))
        #expect(try CloudEvents.event(both).traceparent == Self.full.traceparent)
    }

    @Test("the media type is read under its CloudEvents name as well")
    func contentType() throws {
        let record = self.record().without("content-type").with("ce_datacontenttype", Array("text/plain".utf8))
        #expect(try CloudEvents.event(record).dataContentType == "text/plain")
    }

    @Test("errors tell what is wrong, never what was sent")
    func quietErrors() throws {
        for (name, value) in [("ce_time", "s3cret"), ("ce_sequence", "s3cret"), ("ce_specversion", "s3cret")] {
            let record = self.record().with(name, Array(value.utf8))
            let error = try #require(throws: EventError.self) { try CloudEvents.event(record) }
            #expect(!error.description.contains("s3cret"))
        }
    }

    // MARK: - What an event is

    @Test(
        "the target is type and id of the subject",
        arguments: [
            ("order/1", "order", "1"), ("order/a/b", "order", "a/b"), ("1", "", "1"), ("/1", "", "1"),
            ("order/", "order", ""),
        ]
    )
    func target(subject: String, type: String, id: String) throws {
        var event = Self.full
        event.subject = subject
        let target = try #require(event.target)
        #expect(target.type == type)
        #expect(target.id == id)
    }

    @Test("without a subject there is no target", arguments: [nil, ""])
    func noTarget(subject: String?) {
        var event = Self.full
        event.subject = subject
        #expect(event.target == nil)
    }

    @Test(
        "the service is the last segment of the source",
        arguments: [
            ("/services/order", "order"), ("/prod/services/order", "order"), ("https://shop.example/till/", "till"),
            ("urn:example:till", "urn:example:till"), ("/", "/"),
        ]
    )
    func service(source: String, service: String) {
        var event = Self.full
        event.source = source
        #expect(event.service == service)
    }

    @Test(
        "an event that is numbered or sent anew is still the same event",
        arguments: [
            Change("epoch", { $0.epoch = 3 }), Change("sequence", { $0.sequence = 1 }),
            Change("no number", { ($0.epoch, $0.sequence) = (nil, nil) }),
            Change("trace", { $0.traceparent = nil }),
        ]
    )
    fileprivate func sameContent(change: Change) {
        var event = Self.full
        change.apply(&event)
        #expect(event != Self.full)
        #expect(event.contentBytes == Self.full.contentBytes)
    }

    @Test(
        "an event that says something else is another one, though it bears the same id",
        arguments: [
            Change("type", { $0.type = "order.order.paid.v1" }), Change("source", { $0.source = "/services/auth" }),
            Change("time", { $0.time = nil }), Change("subject", { $0.subject = "order/2" }),
            Change("version", { $0.subjectVersion = 4 }),
            Change("tenant", { $0.tenant = "other" }), Change("actor", { $0.actor.id = "user-2" }),
            Change("actor type", { $0.actor.type = "client" }),
            Change("outcome", { $0.outcome = .denied }), Change("data", { $0.data.append(0x20) }),
            Change("no data", { $0.data = [] }),
        ]
    )
    fileprivate func otherContent(change: Change) {
        var event = Self.full
        change.apply(&event)
        #expect(event.contentBytes != Self.full.contentBytes)
    }
}

extension KafkaRecord {
    fileprivate func without(_ name: String) -> KafkaRecord {
        var record = self
        record.headers.removeAll { $0.name == name }
        return record
    }

    fileprivate func with(_ name: String, _ value: [UInt8]?) -> KafkaRecord {
        var record = self.without(name)
        record.headers.append(KafkaHeader(name, value))
        return record
    }
}

/// A change to an event, with its name for the report.
private struct Change: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let apply: @Sendable (inout EventEnvelope) -> Void

    init(_ name: String, _ apply: @escaping @Sendable (inout EventEnvelope) -> Void) {
        self.testDescription = name
        self.apply = apply
    }
}
