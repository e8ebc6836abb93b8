@testable import LanternKafka
import LanternKafkaTesting
import Synchronization
import Testing

/// A close that is not completed leaves a member in the group that nobody hears of until its session is over: whoever has
/// its partitions next waits as long.
@Suite("A consumer that is closed", .timeLimit(.minutes(2)))
struct ClosingTests {
    enum Moment: String, CaseIterable, CustomStringConvertible {
        case joining = "it has not joined yet"
        case unanswered = "it has heard of partitions and reads none"
        case reading = "it reads"
        case waiting = "it waits for records"
        case brokerAway = "its broker is away"

        var description: String { self.rawValue }
    }

    /// `close` gives up waiting after five seconds: it must have ended before, and freed everything.
    private func expectEnd(of consumer: KafkaConsumer) async {
        let start = ContinuousClock.now
        await consumer.close()
        #expect(start.duration(to: .now) < .seconds(4))
        #expect(consumer.handle.use { _ in true } == nil)
    }

    @Test("it has left when close returns", arguments: Moment.allCases)
    func ends(_ moment: Moment) async throws {
        let fixture = try KafkaFixture(topics: ["t": 4])
        let consumer = try fixture.consumer()
        var waiting: Task<KafkaConsumer.Event, any Error>?
        switch moment {
        case .joining: break
        case .unanswered: _ = try await consumer.next()
        case .reading, .waiting, .brokerAway:
            try await fixture.fill(0..<10)
            _ = try await fixture.read(consumer, count: 10)
            if moment == .waiting {
                waiting = Task { try await consumer.next() }
                try await wait(for: "the wait to begin") { consumer.state.withLock { $0.demand != nil } }
            }
            if moment == .brokerAway { fixture.broker.setDown(true) }
        }
        await self.expectEnd(of: consumer)
        if let waiting {
            let error = await #expect(throws: KafkaError.self) { try await waiting.value }
            #expect(error?.code == .closed)
        }
    }

    @Test("it has left also where partitions were to go, and it has not finished with them")
    func openRevocation() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        let consumer = try fixture.consumer()
        try await fixture.fill(0..<10, partitions: [0, 1])
        _ = try await fixture.read(consumer, count: 20)
        let other = try fixture.consumer("other")
        guard case .revoked = try await consumer.next() else {
            Issue.record("something else came than a revocation")
            return
        }
        await self.expectEnd(of: consumer)
        // The other has all of them then.
        let records = try await fixture.read(other, count: 20)
        #expect(Set(records.map(\.partition)) == [0, 1])
        await self.expectEnd(of: other)
    }
}
