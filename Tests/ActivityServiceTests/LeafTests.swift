@testable import ActivityService
import Crypto
import Foundation
import Lantern
import Testing

@Suite("Leaves of the log")
struct LeafTests {
    private static let leaf = Leaf(dataSalt: Array(0..<32), personalSalt: Array(32..<64))
    private static let time = Timestamp(microseconds: 1_769_903_999_000_001)
    private static let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let event = EventEnvelope(
        id: "0190b5a8-7c00-7abc-8def-0123456789ab", source: "/services/order", type: "order.order.placed.v1",
        time: time,
        subject: "order/0190b5a8-7c00-7000-8000-000000000001", subjectVersion: 3, dataContentType: "application/json",
        epoch: 2,
        sequence: 42, partitionKey: "0190b5a8-7c00-7000-8000-000000000001",
        actor: EventActor(id: "user-1", type: "user", ip: "192.0.2.7"), outcome: .success,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", data: Array(#"{"total":1250}"#.utf8)
    )

    private func bytes(_ change: (inout EventEnvelope) -> Void = { _ in }) -> [UInt8] {
        var event = Self.event
        change(&event)
        return Self.leaf.bytes(of: event, time: Self.time, traceID: Self.traceID)
    }

    @Test("a leaf is put together as the wire format says")
    func goldenBytes() {
        let data = [UInt8](0..<32) + Array(#"{"total":1250}"#.utf8)
        // One personal field, the address: nine bytes.
        let personal = [UInt8](32..<64) + [0, 0, 0, 9] + Array("192.0.2.7".utf8)
        let fields: [[UInt8]] = [
            Array("lantern-entry/v1".utf8),
            Array("/services/order".utf8),
            Array("2".utf8),
            Array("42".utf8),
            Array("0190b5a8-7c00-7abc-8def-0123456789ab".utf8),
            Array("order.order.placed.v1".utf8),
            Array("2026-01-31T23:59:59.000001Z".utf8),
            Array("default".utf8),
            Array("user-1".utf8),
            Array("order/0190b5a8-7c00-7000-8000-000000000001".utf8),
            Array("success".utf8),
            Array("4bf92f3577b34da6a3ce929d0e0e4736".utf8),
            Array(SHA256.hash(data: data)),
            Array(SHA256.hash(data: personal)),
        ]
        var expected: [UInt8] = []
        for field in fields { expected += [0, 0, 0, UInt8(field.count)] + field }
        #expect(self.bytes() == expected)
        #expect(Self.leaf.bytes(of: Self.event, time: Self.time, traceID: Self.traceID).count == 332)
    }

    @Test("its hash is the one that other software works out")
    func goldenHash() {
        // By Python's hashlib, from the wire format alone.
        let expected = "f0744864107b5eaa8440551c5463a7fc48c8437c4dae75153c24e4e7ce76c5e1"
        #expect(Leaf.hash(self.bytes()).hexadecimal == expected)
    }

    @Test("leaves are hashed apart from nodes (RFC 6962, section 2.1)")
    func emptyLeaf() {
        #expect(Leaf.hash([]).hexadecimal == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")
        #expect(Leaf.hash([0x61]) == Array(SHA256.hash(data: [0x00, 0x61])))
    }

    /// Something else that is said of the event, and the field of the leaf that says it.
    struct Change: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var field: Int
        var apply: @Sendable (inout EventEnvelope) -> Void

        init(_ what: String, _ field: Int, _ apply: @escaping @Sendable (inout EventEnvelope) -> Void) {
            self.testDescription = what
            self.field = field
            self.apply = apply
        }
    }

    @Test(
        "each thing that is said of an event changes its own field and no other",
        arguments: [
            Change("source", 1) { $0.source = "/services/auth" }, Change("epoch", 2) { $0.epoch = 3 },
            Change("sequence", 3) { $0.sequence = 43 }, Change("id", 4) { $0.id = "other" },
            Change("type", 5) { $0.type = "order.order.paid.v1" }, Change("tenant", 7) { $0.tenant = "acme" },
            Change("actor", 8) { $0.actor.id = "user-2" }, Change("target", 9) { $0.subject = "order/2" },
            Change("outcome", 10) { $0.outcome = .failure }, Change("data", 12) { $0.data.append(0x20) },
            Change("address", 13) { $0.actor.ip = "192.0.2.8" },
        ]
    )
    func changes(change: Change) throws {
        let before = try Self.fields(self.bytes())
        let after = try Self.fields(self.bytes(change.apply))
        #expect(before.count == 14 && after.count == 14)
        #expect(zip(before, after).enumerated().filter { $0.element.0 != $0.element.1 }.map(\.offset) == [change.field])
    }

    @Test("time and trace are fields as well; an entry without a trace has an empty one")
    func timeAndTrace() throws {
        let before = try Self.fields(self.bytes())
        let later = try Self.fields(
            Self.leaf.bytes(of: Self.event, time: Self.time + .microseconds(1), traceID: Self.traceID)
        )
        #expect(later[6] == Array("2026-01-31T23:59:59.000002Z".utf8))
        #expect(later[..<6] == before[..<6] && later[7...] == before[7...])
        let untraced = try Self.fields(Self.leaf.bytes(of: Self.event, time: Self.time, traceID: nil))
        #expect(untraced[11] == [])
        #expect(untraced[..<11] == before[..<11] && untraced[12...] == before[12...])
    }

    @Test("an event without number, subject or address has empty fields in their places")
    func foreign() throws {
        let fields = try Self.fields(
            self.bytes { event in
                event.epoch = nil
                event.sequence = nil
                event.subject = nil
                event.actor.ip = nil
            }
        )
        #expect(fields.count == 14)
        #expect([fields[2], fields[3], fields[9]] == [[], [], []])
        #expect(fields[13] == Array(SHA256.hash(data: [UInt8](32..<64) + [0, 0, 0, 0])))
    }

    @Test("data and address are in a leaf by salted hashes only: erased, they are nowhere")
    func erasing() throws {
        let leaf = self.bytes()
        #expect(leaf.firstRange(of: Self.event.data) == nil)
        #expect(leaf.firstRange(of: Array("192.0.2.7".utf8)) == nil)
        // Nor can the hash be found by trying likely values without the salt.
        let fields = try Self.fields(leaf)
        #expect(fields[12] != Array(SHA256.hash(data: Self.event.data)))
        #expect(fields[13] != Array(SHA256.hash(data: [0, 0, 0, 9] + Array("192.0.2.7".utf8))))

        // Whoever kept the two hashes can still prove all the rest.
        let erased = try Self.fields(
            self.bytes { event in
                event.data = []
                event.actor.ip = nil
            }
        )
        #expect(erased[..<12] == fields[..<12])
        var kept = erased
        kept.replaceSubrange(12..<14, with: fields[12..<14])
        #expect(LengthPrefixed.encode(kept) == leaf)
    }

    @Test("other salts give another hash of the same event, each salt for its own field")
    func salts() throws {
        let before = try Self.fields(self.bytes())
        let otherData = Leaf(dataSalt: Array(repeating: 1, count: 32), personalSalt: Self.leaf.personalSalt)
        let otherPersonal = Leaf(dataSalt: Self.leaf.dataSalt, personalSalt: Array(repeating: 1, count: 32))
        for (leaf, field) in [(otherData, 12), (otherPersonal, 13)] {
            let bytes = leaf.bytes(of: Self.event, time: Self.time, traceID: Self.traceID)
            #expect(Leaf.hash(bytes) != Leaf.hash(self.bytes()))
            let after = try Self.fields(bytes)
            #expect(zip(before, after).enumerated().filter { $0.element.0 != $0.element.1 }.map(\.offset) == [field])
        }
    }

    @Test("every leaf has two new salts of 32 bytes")
    func newSalts() {
        let leaves = (0..<100).map { _ in Leaf() }
        let salts = leaves.flatMap { [$0.dataSalt, $0.personalSalt] }
        #expect(salts.allSatisfy { $0.count == 32 })
        #expect(Set(salts).count == 200)
    }

    @Test("text that moves from one field to the next makes another leaf")
    func unambiguous() {
        let moved = self.bytes { event in
            event.source = "/services/orde"
            event.epoch = nil
            event.tenant = "r2default"
        }
        let other = self.bytes { event in
            event.id += "o"
            event.type = "rder.order.placed.v1"
        }
        #expect(Set([self.bytes(), moved, other]).count == 3)
    }

    /// The fields of a leaf, as an auditor would take it apart.
    private static func fields(_ leaf: [UInt8]) throws -> [[UInt8]] {
        var fields: [[UInt8]] = []
        var rest = leaf[...]
        while !rest.isEmpty {
            let length = rest.prefix(4).reduce(0) { $0 * 256 + Int($1) }
            rest = rest.dropFirst(4)
            try #require(rest.count >= length)
            fields.append(Array(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
        return fields
    }
}
