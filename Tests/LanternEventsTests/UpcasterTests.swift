import Foundation
import LanternEvents
import LanternKafka
import LanternPostgres
import TestSupport
import Testing

@Suite("Older versions of an event")
struct UpcasterTests {
    /// As it was at first.
    private struct NamedV1: Codable { var name: String }

    /// The name in two parts.
    private struct NamedV2: Codable { var first: String; var last: String }

    /// As it is now.
    private struct Named: DomainEvent, Equatable {
        static let type = EventType("test.person.named", version: 3)
        static let upcasters = [
            // In any order.
            Upcaster(from: 2) { (old: NamedV2) -> Named in Named(first: old.first, last: old.last, language: "unknown")
            },
            Upcaster(from: 1) { (old: NamedV1) -> NamedV2 in
                let parts = old.name.split(separator: " ", maxSplits: 1).map { String($0) }
                return NamedV2(first: parts.first ?? "", last: parts.count > 1 ? parts[1] : "")
            },
        ]
        var first: String
        var last: String
        var language: String
        var subject: EventSubject { EventSubject("person", "1", version: 1) }
    }

    /// One whose first version nobody can read any more.
    private struct Forgetful: DomainEvent {
        static let type = EventType("test.person.forgotten", version: 3)
        static let upcasters = [Upcaster(from: 2) { (old: NamedV2) -> Forgetful in Forgetful(first: old.first) }]
        var first: String
        var subject: EventSubject { EventSubject("person", "1", version: 1) }
    }

    private static let current = Named(first: "Ada", last: "Lovelace", language: "en")

    private func decode(_ data: String, version: Int) throws -> Named {
        try Named.decode(Array(data.utf8), of: EventType("test.person.named", version: version))
    }

    // MARK: - Decoding

    @Test("the present version is read as it is")
    func present() throws {
        #expect(
            try self.decode(#"{"first":"Ada","last":"Lovelace","language":"en"}"#, version: 3) == Self.current)
    }

    @Test("an older version comes through every version between")
    func chain() throws {
        #expect(
            try self.decode(#"{"name":"Ada Lovelace"}"#, version: 1)
                == Named(first: "Ada", last: "Lovelace", language: "unknown"))
        #expect(
            try self.decode(#"{"first":"Ada","last":"Lovelace"}"#, version: 2)
                == Named(first: "Ada", last: "Lovelace", language: "unknown"))
    }

    @Test("what an upcaster writes is what the next one reads, also where it holds anything")
    func anyText() throws {
        let name = try #require(
            String(data: try JSONEncoder().encode("\u{0}\"\\\u{2028}é🏮 von und zu"), encoding: .utf8))
        let named = try self.decode(#"{"name":\#(name)}"#, version: 1)
        #expect(named.first == "\u{0}\"\\\u{2028}é🏮")
        #expect(named.last == "von und zu")
    }

    @Test("a type without upcasters reads its own version only")
    func withoutUpcasters() throws {
        #expect(ThingHappened.upcasters.isEmpty)
        let data = Array(#"{"number":1,"thing":"a"}"#.utf8)
        #expect(try ThingHappened.decode(data, of: ThingHappened.type) == ThingHappened(thing: "a", number: 1))
    }

    @Test(
        "a newer version is refused, and by its own reason: it waits until it is understood", arguments: [4, 5, 1_000])
    func newer(version: Int) throws {
        let error = try #require(throws: EventError.self) {
            try self.decode(#"{"first":"Ada","last":"Lovelace","language":"en"}"#, version: version)
        }
        #expect(error.code == .newerVersion)
        #expect(error.message.contains("v\(version)") && error.message.contains("3"))
    }

    @Test("a version that nothing leads on from is refused")
    func missing() throws {
        let error = try #require(throws: EventError.self) {
            try Forgetful.decode(
                Array(#"{"name":"Ada"}"#.utf8), of: EventType("test.person.forgotten", version: 1))
        }
        #expect(error.code == .undecodable)
        let second = try Forgetful.decode(
            Array(#"{"first":"Ada","last":""}"#.utf8), of: EventType("test.person.forgotten", version: 2))
        #expect(second.first == "Ada")
    }

    @Test("data that is not of the version it says it is, is an error of decoding", arguments: [1, 2, 3])
    func wrongShape(version: Int) {
        #expect(throws: DecodingError.self) { try self.decode(#"{"nom":"Ada"}"#, version: version) }
        #expect(throws: DecodingError.self) { try self.decode("Ada", version: version) }
    }

    // MARK: - Through an inbox

    /// An event with the id of its version.
    private func record(version: Int, data: String, action: String = "test.person.named") -> KafkaRecord {
        CloudEvents.record(
            EventEnvelope(
                id: "\(action)-\(version)", source: ThingHappened.source, type: "\(action).v\(version)",
                dataContentType: "application/json", partitionKey: "person-\(action)-\(version)", data: Array(data.utf8)
            ), topic: ThingHappened.topic
        )
    }

    @Test(
        "a handler is given every version in the shape of today; what is newer is put aside and the rest goes on",
        .timeLimit(.minutes(1)))
    func inbox() async throws {
        let consumer = try await TestConsumer.make()
        let transport = InProcessTransport(partitions: 1)
        let inbox = Inbox<Named>(consumer: TestConsumer.group, topic: ThingHappened.topic) { event, tx in
            try await consumer.note("\(event.first) \(event.last) \(event.language)", 1, in: tx)
        }
        try await consumer.consuming(from: transport, with: inbox) {
            try await transport.produce([
                self.record(version: 1, data: #"{"name":"Ada Lovelace"}"#),
                self.record(version: 4, data: #"{"names":["Ada"]}"#),
                self.record(version: 2, data: #"{"first":"Grace","last":"Hopper"}"#),
                self.record(version: 3, data: #"{"first":"Alan","last":"Turing","language":"en"}"#),
            ])
            try await wait(for: "three events") { try await consumer.effects().count == 3 }
        }
        #expect(
            try await consumer.effects().map(\.thing)
                == ["Ada Lovelace unknown", "Grace Hopper unknown", "Alan Turing en"])
        let letters = try await consumer.letters()
        #expect(letters.map(\.reason) == ["newer_version"])
        #expect(letters.map(\.eventID) == ["test.person.named-4"])
    }

    @Test("a version that nothing leads on from is put aside, and says so", .timeLimit(.minutes(1)))
    func inboxWithoutUpcaster() async throws {
        let consumer = try await TestConsumer.make()
        let transport = InProcessTransport(partitions: 1)
        let inbox = Inbox<Forgetful>(consumer: TestConsumer.group, topic: ThingHappened.topic) { event, tx in
            try await consumer.note(event.first, 1, in: tx)
        }
        try await consumer.consuming(from: transport, with: inbox) {
            try await transport.produce([
                self.record(version: 1, data: #"{"name":"Ada"}"#, action: "test.person.forgotten"),
                self.record(version: 3, data: #"{"first":"Grace"}"#, action: "test.person.forgotten"),
            ])
            try await wait(for: "the event that can be read") { try await consumer.effects().count == 1 }
        }
        #expect(try await consumer.effects().map(\.thing) == ["Grace"])
        #expect(try await consumer.letters().map(\.reason) == ["undecodable"])
    }
}
