@testable import LanternKafka
import LanternKafkaTesting
import Testing

@Suite("Pause and resume", .timeLimit(.minutes(2)))
struct PauseTests {
    private let zero = KafkaPartition(topic: "t", partition: 0)
    private let one = KafkaPartition(topic: "t", partition: 1)

    private func record(_ partition: KafkaPartition, _ number: Int) -> KafkaRecord {
        KafkaRecord(topic: partition.topic, partition: partition.partition, value: Array("\(number)".utf8))
    }

    @Test("a paused partition gives nothing while the others do, and goes on where it stood")
    func paused() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        let producer = try fixture.producer()
        let consumer = try fixture.consumer()
        try await producer.send([self.record(self.zero, 0), self.record(self.one, 0)])
        _ = try await fixture.read(consumer, count: 2)
        try consumer.pause([self.zero])
        for number in 1..<10 {
            // The paused one first: it would be read first.
            try await producer.send([self.record(self.zero, number)])
            try await producer.send([self.record(self.one, number)])
            let read = try await fixture.read(consumer, count: 1)
            #expect(read.map(\.partition) == [1])
            #expect(read.map(\.number) == [number])
        }
        try consumer.resume([self.zero])
        let read = try await fixture.read(consumer, count: 9)
        #expect(read.allSatisfy { $0.partition == 0 })
        #expect(read.map(\.number) == Array(1..<10))
        await consumer.close()
        await producer.close(deadline: .seconds(5))
    }

    @Test("a partition that is paused with records unread gives each of them once when it is resumed")
    func unread() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<1_000)
        let consumer = try fixture.consumer()
        var numbers: [Int] = []
        while numbers.count < 1_000 {
            numbers += try await fixture.read(consumer, count: 1, maximum: 70).map(\.number)
            try consumer.pause([self.zero])
            try consumer.resume([self.zero])
        }
        #expect(numbers == Array(0..<1_000))
        await consumer.close()
    }

    @Test("a partition that is resumed while somebody waits for records gives each of them once")
    func whileWaiting() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let total = 4_000
        try await fixture.fill(0..<total)
        let consumer = try fixture.consumer()
        var numbers: [Int] = []
        while numbers.count < total {
            numbers += try await fixture.read(consumer, count: 1, maximum: 40).map(\.number)
            try consumer.pause([self.zero])
            let waiting = Task { try await fixture.read(consumer, count: 1, maximum: 40).map(\.number) }
            try consumer.resume([self.zero])
            if numbers.count == total { waiting.cancel() }
            if let read = try? await waiting.value { numbers += read }
        }
        #expect(numbers == Array(0..<total))
        await consumer.close()
    }

    @Test("one that is paused and resumed by another task while records are taken loses none of them")
    func fromOutside() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let total = 20_000
        try await fixture.fill(0..<total)
        let consumer = try fixture.consumer()
        let numbers = try await withThrowingTaskGroup(of: [Int]?.self) { group in
            group.addTask {
                var numbers: [Int] = []
                while numbers.last != total - 1 {
                    numbers += try await fixture.read(consumer, count: 1, maximum: 20).map(\.number)
                }
                return numbers
            }
            group.addTask {
                while !Task.isCancelled {
                    try consumer.pause([self.zero])
                    for _ in 0..<Int.random(in: 0..<20) { await Task.yield() }
                    try consumer.resume([self.zero])
                    for _ in 0..<Int.random(in: 0..<2_000) { await Task.yield() }
                }
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        // One that is just being handed over may come again.
        var next = 0
        for number in numbers ?? [] {
            #expect(number <= next, "\(number) came where \(next) was due")
            next = max(next, number + 1)
        }
        #expect(next == total)
        await consumer.close()
    }

    @Test("resuming what is not paused repeats nothing")
    func notPaused() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<10)
        let consumer = try fixture.consumer()
        var numbers = try await fixture.read(consumer, count: 4, maximum: 4).map(\.number)
        try consumer.resume([self.zero])
        numbers += try await fixture.read(consumer, count: 6).map(\.number)
        #expect(numbers == Array(0..<10))
        await consumer.close()
    }

    @Test("a partition that was paused when it went is read when it comes back")
    func comingBack() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        let consumer = try fixture.consumer("first")
        let first = RunningMember(consumer)
        try await wait(for: "the first member to have all") { first.held.count == 2 }
        try consumer.pause([self.zero, self.one])
        let second = RunningMember(try fixture.consumer("second"))
        try await wait(for: "the members to share") { first.held.count == 1 && second.held.count == 1 }
        let moved = try #require(second.held.first)
        await second.leave()
        try await wait(for: "the partition to come back") { first.held.count == 2 }
        let producer = try fixture.producer()
        try await producer.send([self.record(self.zero, 1), self.record(self.one, 1)])
        try await wait(for: "its record", within: .seconds(10)) { !first.records.isEmpty }
        // The other one stayed, and stays paused.
        #expect(first.records.map(\.partition) == [moved.partition])
        await first.leave()
        await producer.close(deadline: .seconds(5))
    }
}
