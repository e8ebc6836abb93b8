@testable import LanternEvents
import LanternKafka
import Testing

@Suite("Heads of sources")
struct SourceHeadTests {
    private static let head = SourceHead(source: "/services/order", epoch: 2, sequence: 42, partitions: 3)

    @Test("a head is read as it was written")
    func roundTrip() throws {
        let record = try Self.head.record(topic: "order.events.v1", partition: 1, id: "h-1")
        #expect(record.topic == "order.events.v1")
        #expect(record.partition == 1)
        #expect(SourceHead(record) == Self.head)
    }

    @Test("a source that has sent nothing yet has a head as well")
    func zero() throws {
        let head = SourceHead(source: "/services/order", epoch: 1, sequence: 0, partitions: 1)
        #expect(SourceHead(try head.record(topic: "order.events.v1", partition: 0, id: "h-1")) == head)
    }

    @Test("its record is a CloudEvent of the source, of a type that is no entry of the timeline, and has no number")
    func cloudEvent() throws {
        let event = try CloudEvents.event(try Self.head.record(topic: "order.events.v1", partition: 0, id: "h-1"))
        #expect(event.id == "h-1")
        #expect(event.source == "/services/order")
        #expect(event.type == "lantern.source.head.v1")
        #expect(event.type.hasPrefix("lantern."))
        #expect(event.dataContentType == "application/json")
        // A head with a sequence would look like an event that was held.
        #expect(event.sequence == nil)
        #expect(event.epoch == nil)
    }

    @Test(
        "data that is no head is none",
        arguments: [
            "", "{}", "[]", "null", "head", #"{"source":"/services/order"}"#,
            #"{"source":"/services/order","epoch":2,"sequence":42}"#,
            #"{"source":"/services/order","epoch":0,"sequence":42,"partitions":3}"#,
            #"{"source":"/services/order","epoch":-1,"sequence":42,"partitions":3}"#,
            #"{"source":"/services/order","epoch":2,"sequence":-1,"partitions":3}"#,
            #"{"source":"/services/order","epoch":2,"sequence":"42","partitions":3}"#,
            #"{"source":"/services/order","epoch":2,"sequence":1e30,"partitions":3}"#,
            #"{"source":"/services/order","epoch":2,"sequence":42,"partitions":3000000000}"#,
        ]
    )
    func garbage(data: String) {
        let record = KafkaRecord(
            topic: "order.events.v1", partition: 0, value: Array(data.utf8),
            headers: [KafkaHeader("ce_type", SourceHead.type)]
        )
        #expect(SourceHead(record) == nil)
    }

    @Test(
        "an event whose data looks like a head is an event",
        arguments: [nil, "", "order.order.placed.v1", "lantern.source.head.v2"])
    func otherType(type: String?) throws {
        var record = try Self.head.record(topic: "order.events.v1", partition: 0, id: "h-1")
        record.headers = type.map { [KafkaHeader("ce_type", $0)] } ?? []
        #expect(SourceHead(record) == nil)
    }

    @Test("a tombstone is no head")
    func tombstone() throws {
        var record = try Self.head.record(topic: "order.events.v1", partition: 0, id: "h-1")
        record.value = nil
        #expect(SourceHead(record) == nil)
    }
}
