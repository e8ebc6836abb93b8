import Foundation
import LanternKafka
import LanternPostgres
import Logging
import Testing
import TestSupport
import Tracing

@testable import LanternEvents

@Suite("The outbox against a real PostgreSQL")
struct OutboxStoreTests {
    private struct Happened: DomainEvent {
        static let type = EventType("test.thing.happened", version: 1)
        var name: String
        var subject: EventSubject { EventSubject("thing", self.name, version: 1) }
    }

    private let outbox = Outbox(service: "test", wake: {})

    private func database() async throws -> PostgresClient {
        let client = try await TestCluster.shared.client()
        try await client.migrate(OutboxSchema.component, OutboxSchema.migrations, logger: Logger(label: "test"))
        return client
    }

    private func append(_ name: String, to client: PostgresClient) async throws {
        try await client.transaction { tx in try await self.outbox.append(Happened(name: name), in: tx) }
    }

    @Test("numbers are given without gaps, whoever appends at once")
    func gapless() async throws {
        let client = try await self.database()
        let store = OutboxStore(database: client, source: self.outbox.source)
        let leadership = try await store.takeOver()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<50 { group.addTask { try await self.append("\(number)", to: client) } }
            for _ in 0..<20 { _ = try await store.seal(leadership, limit: 7) }
            try await group.waitForAll()
        }
        while try await store.seal(leadership, limit: 7) < 50 {}
        let events = try await store.sealed(epoch: leadership.epoch, after: leadership.publishedThrough, limit: 100)
        #expect(events.map(\.event.sequence) == (1...50).map { Int64($0) })
        client.close()
    }

    @Test("what a rolled-back transaction appended is not there")
    func rolledBack() async throws {
        struct Stop: Error {}
        let client = try await self.database()
        let store = OutboxStore(database: client, source: self.outbox.source)
        let leadership = try await store.takeOver()
        try? await client.transaction { tx in
            try await self.outbox.append(Happened(name: "never"), in: tx)
            throw Stop()
        }
        try await self.append("committed", to: client)
        #expect(try await store.seal(leadership, limit: 10) == 1)
        #expect(
            try await store.sealed(epoch: leadership.epoch, after: leadership.publishedThrough, limit: 10).map(
                \.event.partitionKey) == ["committed"])
        client.close()
    }

    @Test("a leader whose term is over can neither seal nor mark")
    func fenced() async throws {
        let client = try await self.database()
        let store = OutboxStore(database: client, source: self.outbox.source)
        let old = try await store.takeOver()
        try await self.append("a", to: client)
        _ = try await store.seal(old, limit: 10)
        let new = try await store.takeOver()
        #expect(new.term == old.term + 1)
        let seal = await #expect(throws: EventError.self) { _ = try await store.seal(old, limit: 10) }
        #expect(seal?.code == .lostLeadership)
        let mark = await #expect(throws: EventError.self) { try await store.markPublished(old, through: 1) }
        #expect(mark?.code == .lostLeadership)
        try await store.markPublished(new, through: 1)
        #expect(try await store.takeOver().publishedThrough == 1)
        client.close()
    }

    @Test("a database that was restored begins a new epoch, and what may be unpublished is numbered anew")
    func restored() async throws {
        let client = try await self.database()
        let store = OutboxStore(database: client, source: self.outbox.source)
        let before = try await store.takeOver()
        for name in ["a", "b", "c"] { try await self.append(name, to: client) }
        _ = try await store.seal(before, limit: 10)
        try await store.markPublished(before, through: 1)
        let ids = try await store.sealed(epoch: before.epoch, after: before.publishedThrough, limit: 10).map(\.event.id)
        // As another cluster would have it.
        try await client.query("UPDATE outbox_head SET system_identifier = system_identifier + 1")
        let after = try await store.takeOver()
        #expect(after.epoch == before.epoch + 1)
        #expect(after.publishedThrough == 0)
        #expect(try await store.sealed(epoch: after.epoch, after: after.publishedThrough, limit: 10).isEmpty)
        #expect(try await store.seal(after, limit: 10) == 2)
        let again = try await store.sealed(epoch: after.epoch, after: after.publishedThrough, limit: 10)
        // Published after `a` had been marked or perhaps not: their ids stay, so what did arrive is a duplicate.
        #expect(Set(again.map(\.event.partitionKey)) == ["b", "c"])
        #expect(again.map(\.event.sequence) == [1, 2])
        #expect(Set(again.map(\.event.id)) == Set(ids.suffix(2)))
        client.close()
    }

    @Test("an event read twice gives the same bytes")
    func identical() async throws {
        let client = try await self.database()
        let store = OutboxStore(database: client, source: self.outbox.source)
        let leadership = try await store.takeOver()
        try await self.append("a", to: client)
        _ = try await store.seal(leadership, limit: 10)
        let first = try #require(
            try await store.sealed(epoch: leadership.epoch, after: leadership.publishedThrough, limit: 1).first)
        let second = try #require(
            try await store.sealed(epoch: leadership.epoch, after: leadership.publishedThrough, limit: 1).first)
        let one = CloudEvents.record(first.event, topic: first.topic)
        let two = CloudEvents.record(second.event, topic: second.topic)
        #expect(one.headers == two.headers)
        #expect(one.value == two.value && one.key == two.key)
        client.close()
    }

    @Test("data that no broker would take is refused before it is committed")
    func tooLarge() async throws {
        let client = try await self.database()
        let error = await #expect(throws: EventError.self) {
            try await self.append(String(repeating: "x", count: Outbox.maximumDataSize), to: client)
        }
        #expect(error?.code == .tooLarge)
        client.close()
    }

    @Test("attributes that no reader would take are refused before they are committed")
    func longSubject() async throws {
        let client = try await self.database()
        for thing in [String(repeating: "x", count: 1_020), "a\0b"] {
            let error = await #expect(throws: EventError.self) { try await self.append(thing, to: client) }
            #expect(error?.code == .invalidAttribute)
            #expect(error?.message.contains("subject") == true)
        }
        try await self.append(String(repeating: "x", count: 1_018), to: client)
        client.close()
    }
}
