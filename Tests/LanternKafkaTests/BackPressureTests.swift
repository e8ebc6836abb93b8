@testable import LanternKafka
import LanternKafkaTesting
import Testing

@Suite("What a producer has under way is bounded", .timeLimit(.minutes(1)))
struct BackPressureTests {
    private func record(_ number: Int, size: Int = 1) -> KafkaRecord {
        KafkaRecord(topic: "t", partition: 0, value: Array(repeating: UInt8(truncatingIfNeeded: number), count: size))
    }

    /// A producer that knows its topic, and a broker that is away.
    private func stuck(_ limits: KafkaProducer.Limits) async throws -> (KafkaFixture, KafkaProducer) {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer(limits)
        try await producer.send(self.record(0))
        fixture.broker.setDown(true)
        return (fixture, producer)
    }

    @Test("beyond so many records a send waits, and goes on in order when there is room")
    func records() async throws {
        let (fixture, producer) = try await self.stuck(KafkaProducer.Limits(records: 10))
        let sending = Task { try await producer.send((1...50).map { self.record($0) }) }
        try await wait(for: "ten records under way, no more", within: .seconds(10)) { producer.underWay == 10 }
        let other = Task { try await producer.send(self.record(51)) }
        fixture.broker.setDown(false)
        let offsets = try await sending.value.map(\.offset)
        #expect(offsets == offsets.sorted())
        // The other came in between.
        let between = try await other.value.offset
        #expect(Set(offsets + [between]) == Set(Int64(1)...51))
        await producer.close(deadline: .seconds(5))
    }

    @Test("beyond so many bytes a send waits")
    func bytes() async throws {
        let (fixture, producer) = try await self.stuck(KafkaProducer.Limits(records: 1_000, bytes: 1_000))
        let sending = Task { try await producer.send((1...20).map { self.record($0, size: 300) }) }
        try await wait(for: "three records under way, no more", within: .seconds(10)) { producer.underWay == 3 }
        fixture.broker.setDown(false)
        #expect(try await sending.value.count == 20)
        await producer.close(deadline: .seconds(5))
    }

    @Test("a record larger than all bytes that may be under way goes alone")
    func oversize() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer(KafkaProducer.Limits(records: 10, bytes: 100))
        let deliveries = try await producer.send((0..<5).map { self.record($0, size: $0 == 2 ? 5_000 : 60) })
        #expect(deliveries.map(\.offset) == [0, 1, 2, 3, 4])
        await producer.close(deadline: .seconds(5))
    }

    @Test("a send that is cancelled while it waits for room sends nothing, and takes none")
    func cancelledForRoom() async throws {
        let (fixture, producer) = try await self.stuck(KafkaProducer.Limits(records: 5))
        let first = Task { try await producer.send((1...5).map { self.record($0) }) }
        try await wait(for: "five records under way") { producer.underWay == 5 }
        let second = Task { try await producer.send((6...8).map { self.record($0) }) }
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        fixture.broker.setDown(false)
        #expect(try await first.value.map(\.offset) == [1, 2, 3, 4, 5])
        // Nothing is between them, and all the room is there.
        #expect(try await producer.send((9...13).map { self.record($0) }).map(\.offset) == [6, 7, 8, 9, 10])
        await producer.close(deadline: .seconds(5))
    }

    @Test("what was handed over before its send was cancelled is written nevertheless")
    func cancelledUnderWay() async throws {
        let (fixture, producer) = try await self.stuck(KafkaProducer.Limits(records: 5))
        let sending = Task { try await producer.send([self.record(1), self.record(2)]) }
        try await wait(for: "two records under way") { producer.underWay == 2 }
        sending.cancel()
        await #expect(throws: CancellationError.self) { try await sending.value }
        fixture.broker.setDown(false)
        #expect(try await producer.send((3...7).map { self.record($0) }).map(\.offset) == [3, 4, 5, 6, 7])
        await producer.close(deadline: .seconds(5))
    }

    @Test("a single record that was handed over before its send was cancelled is written nevertheless")
    func cancelledSingle() async throws {
        let (fixture, producer) = try await self.stuck(KafkaProducer.Limits(records: 1))
        let sending = Task { try await producer.send(self.record(1)) }
        try await wait(for: "a record under way") { producer.underWay == 1 }
        sending.cancel()
        await #expect(throws: CancellationError.self) { try await sending.value }
        fixture.broker.setDown(false)
        #expect(try await producer.send(self.record(2)).offset == 2)
        await producer.close(deadline: .seconds(5))
    }

    @Test("a batch that fails in its middle gives back the room of what did not go", arguments: [0, 1, 3])
    func failedBatch(index: Int) async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        // All or nothing fits: less room than this makes the last batch wait for ever.
        let producer = try fixture.producer(KafkaProducer.Limits(records: 4, bytes: 2_000_000))
        for _ in 0..<3 {
            let error = await #expect(throws: KafkaError.self) {
                try await producer.send((0..<4).map { self.record($0, size: $0 == index ? 1_100_000 : 1) })
            }
            #expect(error?.code == .tooLarge)
        }
        let deliveries = try await producer.send((0..<4).map { self.record($0) })
        #expect(deliveries.map(\.offset) == (0..<4).map { Int64(3 * index + $0) })
        await producer.close(deadline: .seconds(5))
    }

    @Test("a close that gives up answers those that wait for room as well")
    func closing() async throws {
        let (fixture, producer) = try await self.stuck(KafkaProducer.Limits(records: 2))
        let sends = (0..<4).map { number in
            Task { try await producer.send([self.record(number), self.record(number)]) }
        }
        try await wait(for: "two records under way") { producer.underWay == 2 }
        await producer.close(deadline: .zero)
        for send in sends {
            let error = await #expect(throws: KafkaError.self) { try await send.value }
            #expect(error?.code == .closed)
        }
        fixture.broker.stop()
    }
}
