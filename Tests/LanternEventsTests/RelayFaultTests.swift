import Foundation
import LanternKafka
import LanternPostgres
import Synchronization
import TestSupport
import Testing

@testable import LanternEvents

/// Whatever befalls a relay between sealing and marking: every committed event is published, in order and without gaps, and
/// nothing is marked that was not answered for.
@Suite("A relay whose transport fails it, or that dies", .serialized)
struct RelayFaultTests {
    private let transport = InProcessTransport()

    @Test(
        "every event is published, whatever befalls a send", .timeLimit(.minutes(2)),
        arguments: Misfortunes.Kind.failures)
    func failures(kind: Misfortunes.Kind) async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(20))
        // Of the first batch, twice of one batch, and once more.
        let misfortunes = Misfortunes([kind, nil, kind, kind, nil, nil, kind], of: outbox)
        try await outbox.relaying(on: misfortunes.transport(on: self.transport)) {
            try await wait(for: "some of the events") { try await outbox.publishedThrough() >= 7 }
            try await outbox.append(ThingHappened.some(20, things: ["x", "y"]))
            try await wait(for: "all of them") { try await outbox.publishedThrough() == 40 }
        }
        #expect(misfortunes.misplacedWatermarks == [])
        PublishedEvents(self.transport).expectComplete(40)
    }

    @Test(
        "every event is published, wherever in a send a relay dies and another one goes on", .timeLimit(.minutes(2)),
        arguments: Misfortunes.Kind.stops)
    func deaths(kind: Misfortunes.Kind) async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(30))
        for life in 1...3 {
            // One batch goes well, the next one is its last.
            let misfortunes = Misfortunes([nil, kind], of: outbox, acknowledged: Int64(life - 1) * 7)
            try await outbox.relaying(on: misfortunes.transport(on: self.transport)) {
                try await wait(for: "relay \(life) to hang") { misfortunes.hanging == 1 }
            }
            try await outbox.append(ThingHappened.some(5, things: ["life \(life)"]))
            #expect(misfortunes.misplacedWatermarks == [])
            #expect(try await outbox.publishedThrough() == Int64(life) * 7, "only what was answered for")
        }
        try await outbox.relaying(on: self.transport) {
            try await wait(for: "all events") { try await outbox.publishedThrough() == 45 }
        }
        PublishedEvents(self.transport).expectComplete(45)
    }

    @Test("after a fatal error the relay makes a new producer, and closes the old one", .timeLimit(.minutes(1)))
    func fatal() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(10))
        let faulty = Misfortunes([.isFatalHalfway, nil, .isFatalAfter], of: outbox).transport(on: self.transport)
        try await outbox.relaying(on: faulty) {
            try await wait(for: "all events") { try await outbox.publishedThrough() == 10 }
            #expect(faulty.made.producers == 3)
            #expect(faulty.made.closedProducers == 2)
        }
        #expect(faulty.made.closedProducers == 3, "the last one is closed at the end")
        PublishedEvents(self.transport).expectComplete(10)
    }

    @Test("heads that cannot be announced keep no event back, and come as soon as they can", .timeLimit(.minutes(1)))
    func heads() async throws {
        let outbox = try await TestOutbox.make()
        let isFailing = Mutex(true)
        let failed = Mutex(0)
        let faulty = FaultyTransport(self.transport) { records, send in
            if !records.contains(where: \.isEvent), isFailing.withLock({ $0 }) {
                failed.withLock { $0 += 1 }
                throw KafkaError(code: .retriable, message: "no heads now")
            }
            return try await send(records)
        }
        try await outbox.append(ThingHappened.some(20))
        try await outbox.relaying(on: faulty) {
            try await wait(for: "the events") { try await outbox.publishedThrough() == 20 }
            try await wait(for: "two announcements") { failed.withLock { $0 } >= 2 }
            try await outbox.append([ThingHappened(thing: "later", number: 1)])
            try await wait(for: "the next event") { try await outbox.publishedThrough() == 21 }
            #expect(self.transport.heads().isEmpty)
            isFailing.withLock { $0 = false }
            try await wait(for: "a head in each partition") {
                Set(
                    self.transport.records(of: ThingHappened.topic).filter { SourceHead($0)?.sequence == 21 }
                        .map(\.partition)
                ).count == 3
            }
        }
        PublishedEvents(self.transport).expectComplete(21)
    }

    @Test("a topic that grows is counted anew with each head", .timeLimit(.minutes(1)))
    func growth() async throws {
        let outbox = try await TestOutbox.make()
        let count = Mutex<Int32>(2)
        var growing = FaultyTransport(self.transport)
        growing.onCount = { _ in count.withLock { $0 } }
        try await outbox.append(ThingHappened.some(5))
        try await outbox.relaying(on: growing) {
            try await wait(for: "a head") { self.transport.heads().contains { $0.sequence == 5 } }
            count.withLock { $0 = 3 }
            try await outbox.append([ThingHappened(thing: "later", number: 1)])
            try await wait(for: "the next head") { self.transport.heads().contains { $0.sequence == 6 } }
        }
        // A head that says 2 of what may be in the third would make a gap of it.
        for head in self.transport.heads() { #expect(head.partitions == (head.sequence == 6 ? 3 : 2)) }
    }

    // MARK: - Two at once

    @Test(
        "a relay that is stuck in a send while another takes its term marks nothing any more", .timeLimit(.minutes(1)))
    func fenced() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(20))
        let gate = Gate()
        let stuck = FaultyTransport(self.transport) { records, send in
            let deliveries = try await send(records)
            if records.contains(where: \.isEvent) { await gate.pass() }
            return deliveries
        }
        let first = Task { try await outbox.lead(on: stuck, draining: false) }
        try await wait(for: "the first relay to be stuck") { gate.arrived == 1 }
        #expect(try await outbox.publishedThrough() == 0)
        try await outbox.lead(on: self.transport, draining: true)
        #expect(try await outbox.publishedThrough() == 20)

        gate.open()
        let error = await #expect(throws: EventError.self) { try await first.value }
        #expect(error?.code == .lostLeadership)
        #expect(try await outbox.publishedThrough() == 20, "nothing went back")
        PublishedEvents(self.transport).expectComplete(20)
    }

    @Test("a relay that has lost its term before it seals gives no number", .timeLimit(.minutes(1)))
    func fencedSealing() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(3))
        let first = Task { try await outbox.lead(on: self.transport, draining: false) }
        try await wait(for: "the first relay") { try await outbox.publishedThrough() == 3 }
        try await outbox.lead(on: self.transport, draining: true)
        let error = await #expect(throws: EventError.self) { try await first.value }
        #expect(error?.code == .lostLeadership)
        PublishedEvents(self.transport).expectComplete(3)
    }

    @Test(
        "a leader whose session dies while it is stuck is followed by another, and does not disturb it",
        .timeLimit(.minutes(1)))
    func deadSession() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(20))
        let gate = Gate()
        let stuck = FaultyTransport(self.transport) { records, send in
            if records.contains(where: \.isEvent) { await gate.pass() }
            return try await send(records)
        }
        let first = outbox.relay(on: stuck)
        let running = Task { try await first.run() }
        try await wait(for: "the leader to be stuck") { gate.arrived == 1 }
        try await outbox.endLeadersSession()
        try await outbox.relaying(on: self.transport) {
            try await wait(for: "all events") { try await outbox.publishedThrough() == 20 }
            gate.open()
            try await outbox.append(ThingHappened.some(5, things: ["later"]))
            try await wait(for: "the later ones") { try await outbox.publishedThrough() == 25 }
        }
        running.cancel()
        _ = await running.result
        #expect(try await outbox.publishedThrough() == 25)
        PublishedEvents(self.transport).expectComplete(25)
    }

    @Test("many relays at once publish every event, and one after the other leads", .timeLimit(.minutes(2)))
    func crowd() async throws {
        let outbox = try await TestOutbox.make()
        let relays = (0..<4).map { _ in outbox.relay(on: self.transport) }
        let running = relays.map { relay in Task { try await relay.run() } }
        for round in 0..<4 {
            try await outbox.append(ThingHappened.some(10, things: ["\(round)a", "\(round)b"]))
            try await wait(for: "round \(round)") { try await outbox.publishedThrough() == Int64(round + 1) * 10 }
            let term = try await outbox.term()
            try await outbox.endLeadersSession()
            try await wait(for: "another leader") { try await outbox.term() > term }
        }
        for task in running { task.cancel() }
        for task in running { _ = await task.result }
        PublishedEvents(self.transport).expectComplete(40)
        #expect(try await outbox.term() > 4)
    }
}
