@testable import ActivityService
import Foundation
import Lantern
import Testing

private let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
private let spanID = "00f067aa0ba902b7"

@Suite("Events on their way to the timeline")
struct IncomingEntryTests {
    private static let now = Timestamp(microseconds: 1_769_903_999_000_001)

    private func record(
        source: String = "/services/order", topic: String = "order.events.v1", time: Timestamp? = Self.now,
        traceparent: String? = nil, data: [UInt8] = Array("{}".utf8)
    ) -> KafkaRecord {
        CloudEvents.record(
            EventEnvelope(
                id: "0190b5a8-7c00-7abc-8def-0123456789ab", source: source, type: "order.order.placed.v1", time: time,
                subject: "order/1", traceparent: traceparent, data: data
            ),
            topic: topic
        )
    }

    // MARK: - Who may write where

    @Test(
        "a service writes to its own topic, a foreign producer to any",
        arguments: [
            ("/services/order", "order.events.v1"), ("/prod/services/order", "order.events.v1"),
            ("https://shop.example/services/order", "order.events.v1"), ("/services/order/", "order.events.v1"),
            ("/shop/7", "till.events.v1"), ("urn:example:till", "till.events.v1"), ("till", "till.events.v2"),
            ("/services", "till.events.v1"),
        ]
    )
    func mayWrite(source: String, topic: String) throws {
        let entry = try IncomingEntry(self.record(source: source, topic: topic), now: Self.now)
        #expect(entry.event.source == source)
    }

    @Test(
        "nobody speaks for another service",
        arguments: [
            ("/services/order", "auth.events.v1"), ("/services/order", "order.events.v2"), ("/services/order", "order"),
            ("/services/order", "ORDER.events.v1"), ("/services/order", "order.events.v1.x"),
            ("/services/order", "x.order.events.v1"),
            ("/prod/services/order", "auth.events.v1"), ("//services//order//", "auth.events.v1"),
            ("https://evil.example/services/order", "evil.events.v1"),
        ]
    )
    func mayNotWrite(source: String, topic: String) throws {
        let error = try #require(throws: EventError.self) {
            try IncomingEntry(self.record(source: source, topic: topic), now: Self.now)
        }
        #expect(error.code == .sourceMismatch)
    }

    @Test("a record that is no event is refused with the reason of its dead letter")
    func notAnEvent() throws {
        let record = KafkaRecord(topic: "order.events.v1", value: Array("{}".utf8))
        let error = try #require(throws: EventError.self) { try IncomingEntry(record, now: Self.now) }
        #expect(error.code == .notACloudEvent)
    }

    // MARK: - Time

    @Test("an entry stands at the time of its event, not at the time it came")
    func eventTime() throws {
        let early = Timestamp(microseconds: 1)
        let entry = try IncomingEntry(self.record(time: early), now: Self.now)
        #expect(entry.time == early)
        #expect(!entry.isAhead)
    }

    @Test("an event without a time stands at the time it came")
    func noTime() throws {
        let entry = try IncomingEntry(self.record(source: "urn:example:till", time: nil), now: Self.now)
        #expect(entry.time == Self.now)
        #expect(!entry.isAhead)
    }

    @Test(
        "a time more than a day ahead is marked",
        arguments: [
            (.zero, false), (.seconds(60), false), (.seconds(86_400), false),
            (Duration.seconds(86_400) + .microseconds(1), true),
            (.seconds(365 * 86_400), true), (.seconds(-365 * 86_400), false),
        ] as [(Duration, Bool)]
    )
    func ahead(later: Duration, isAhead: Bool) throws {
        let entry = try IncomingEntry(self.record(time: Self.now + later), now: Self.now)
        #expect(entry.isAhead == isAhead)
        #expect(entry.time == Self.now + later)
    }

    // MARK: - Trace

    @Test("an entry belongs to the trace of its event")
    func trace() throws {
        let entry = try IncomingEntry(self.record(traceparent: "00-\(traceID)-\(spanID)-01"), now: Self.now)
        #expect(entry.traceID == traceID)
        #expect(entry.spanID == spanID)
    }

    @Test("a later version of the header may say more (W3C Trace Context, section 3.2.4)")
    func laterVersion() throws {
        let entry = try IncomingEntry(self.record(traceparent: "01-\(traceID)-\(spanID)-01-more"), now: Self.now)
        #expect(entry.traceID == traceID)
    }

    @Test(
        "a trace that cannot be read is none, and no reason to refuse the event",
        arguments: [
            nil, "", "-", "00", "none", "00-\(traceID)", "00-\(traceID)-\(spanID)", "00-\(spanID)-\(traceID)-01",
            "00-\(traceID)0-\(spanID)-01", "00-\(traceID)-0\(spanID)-01", "\(traceID)-\(spanID)-01",
            "00_\(traceID)_\(spanID)_01",
        ]
    )
    func noTrace(traceparent: String?) throws {
        let entry = try IncomingEntry(self.record(traceparent: traceparent), now: Self.now)
        #expect(entry.traceID == nil)
        #expect(entry.spanID == nil)
    }

    @Test(
        "ids that W3C Trace Context forbids are no trace",
        arguments: [
            "00-\(traceID.uppercased())-\(spanID)-01", "00-\(String(repeating: "0", count: 32))-\(spanID)-01",
            "00-\(traceID)-\(String(repeating: "0", count: 16))-01",
            "00-\(String(repeating: "x", count: 32))-\(spanID)-01",
            "ff-\(traceID)-\(spanID)-01", "00-\(traceID)-\(spanID)-01-more",
        ]
    )
    func forbiddenTrace(traceparent: String) throws {
        let entry = try IncomingEntry(self.record(traceparent: traceparent), now: Self.now)
        #expect(entry.traceID == nil)
    }

    // MARK: - Data

    @Test(
        "data that is JSON is shown as JSON, anything else is not",
        arguments: [
            ("{}", true), ("[]", true), (#"{"a":[1,{"b":null}]}"#, true), ("1.5e3", true), ("-0", true), ("true", true),
            ("null", true),
            (#""🏮""#, true), (" { } \n", true),
            ("", false), (" ", false), ("hello", false), ("{", false), (#"{"a"}"#, false), ("[1 2]", false),
            ("tru", false),
            ("01", false), ("+1", false), ("1.", false), (".5", false), ("NaN", false), ("'a'", false),
            (#""\x""#, false),
            ("{} x", false), ("\"\n\"", false), (#""\ud800""#, false), ("<a/>", false), ("{a:1}", false),
        ]
    )
    func json(text: String, isJSON: Bool) throws {
        let entry = try IncomingEntry(self.record(data: Array(text.utf8)), now: Self.now)
        #expect(entry.dataIsJSON == isJSON)
    }

    @Test(
        "bytes that are no text are no JSON",
        arguments: [[0xFF], [0x22, 0xFF, 0x22], [0x22, 0x00, 0x22], [0xC3, 0x28]] as [[UInt8]])
    func notText(data: [UInt8]) throws {
        let entry = try IncomingEntry(self.record(data: data), now: Self.now)
        #expect(!entry.dataIsJSON)
        #expect(entry.event.data == data)
    }

    @Test(
        "what only Foundation takes for JSON is none: it goes into the timeline's answer byte by byte",
        arguments: [
            // A comma too many; a byte order mark; UTF-16 and UTF-32.
            Array("[1,]".utf8), Array(#"{"a":1,}"#.utf8), [0xEF, 0xBB, 0xBF, 0x7B, 0x7D],
            [0x7B, 0x00, 0x22, 0x00, 0x61, 0x00, 0x22, 0x00, 0x3A, 0x00, 0x31, 0x00, 0x7D, 0x00],
            [0xFF, 0xFE, 0x7B, 0x00, 0x7D, 0x00],
            [0x5B, 0x00, 0x00, 0x00, 0x31, 0x00, 0x00, 0x00, 0x5D, 0x00, 0x00, 0x00],
        ] as [[UInt8]]
    )
    func lenientJSON(data: [UInt8]) throws {
        let entry = try IncomingEntry(self.record(data: data), now: Self.now)
        #expect(!entry.dataIsJSON)
    }

    // MARK: - Identity

    @Test("the action is the type without its version")
    func action() throws {
        #expect(try IncomingEntry(self.record(), now: Self.now).action == "order.order.placed")
    }

    @Test("an event that comes twice is another entry each time, with the same digest: a duplicate is seen")
    func duplicate() throws {
        let first = try IncomingEntry(self.record(), now: Self.now)
        let second = try IncomingEntry(self.record(), now: Self.now + .seconds(5))
        #expect(first.digest == second.digest)
        #expect(first.digest.count == 32)
        #expect(first.id != second.id)
        // New salts, so another hash: nobody can tell from the log that two entries hold the same data.
        #expect(first.hash != second.hash)
    }

    @Test("an event that says something else under the same id has another digest: a conflict is seen")
    func conflict() throws {
        let first = try IncomingEntry(self.record(), now: Self.now)
        let second = try IncomingEntry(self.record(data: Array(#"{"total":0}"#.utf8)), now: Self.now)
        #expect(EventKey(first.event) == EventKey(second.event))
        #expect(first.digest != second.digest)
    }

    @Test("the hash can be worked out again from what is stored")
    func hash() throws {
        let record = self.record(traceparent: "00-\(traceID)-\(spanID)-01")
        let entry = try IncomingEntry(record, now: Self.now)
        let stored = Leaf(dataSalt: entry.leaf.dataSalt, personalSalt: entry.leaf.personalSalt)
        #expect(
            Leaf.hash(stored.bytes(of: try CloudEvents.event(record), time: entry.time, traceID: traceID)) == entry.hash
        )
    }
}
