import LanternEvents
import Testing

@Suite("Event types")
struct EventTypeTests {
    @Test(
        "a type is its action and its version",
        arguments: [
            ("order.order.placed.v1", "order.order.placed", 1), ("order.order.placed.v12", "order.order.placed", 12),
            ("auth.session.reuse_detected.v2", "auth.session.reuse_detected", 2), ("placed.v3", "placed", 3),
            ("a.v1.v2", "a.v1", 2),
        ]
    )
    func reads(text: String, action: String, version: Int) {
        let type = EventType(parsing: text)
        #expect(type.action == action)
        #expect(type.version == version)
        #expect(type.description == text)
    }

    @Test(
        "a type without a version is an action of version 1",
        arguments: [
            "sale", "com.example.sale", "v1", "order.order.placed.v", "order.order.placed.v0", "order.order.placed.v-1",
            "order.order.placed.v1.0", "order.order.placed.vx", "order.order.placed.V1", "order.order.placed.1",
            "order.order.placed.v1beta", "order.order.placed.v99999999999999999999", "order.order.placed.", ".", "",
        ]
    )
    func foreign(text: String) {
        let type = EventType(parsing: text)
        #expect(type.action == text)
        #expect(type.version == 1)
    }

    @Test("a sign is no part of a version")
    func sign() {
        #expect(EventType(parsing: "order.order.placed.v+1").action == "order.order.placed.v+1")
    }

    @Test("an action alone is no type: version and all come back")
    func roundTrip() {
        let type = EventType("order.order.placed", version: 7)
        #expect(type.description == "order.order.placed.v7")
        #expect(EventType(parsing: type.description) == type)
        #expect(EventType("order.order.placed", version: 1) != type)
    }

    @Test("a subject names its aggregate by type and id")
    func subject() {
        let subject = EventSubject("order", 17, version: 3)
        #expect(subject.type == "order")
        #expect(subject.id == "17")
        #expect(subject.version == 3)
    }

    @Test("an event ended well and was done by whoever asked, unless it says otherwise")
    func defaults() {
        struct Turned: DomainEvent {
            static let type = EventType("test.lamp.turned", version: 1)
            var subject: EventSubject { EventSubject("lamp", "1", version: 1) }
        }
        #expect(Turned().outcome == .success)
        #expect(Turned().actor == nil)
        #expect(EventActor.system("order") == EventActor(id: "order", type: "system", ip: nil))
    }
}
