@testable import LanternKafka
import LanternKafkaTesting
import Testing

@Suite("A producer", .timeLimit(.minutes(1)))
struct ProducerTests {
    private func record(_ number: Int, partition: Int32? = 0) -> KafkaRecord {
        KafkaRecord(topic: "t", partition: partition, value: Array("\(number)".utf8))
    }

    @Test("thousands of single sends at once are all written, each at a place of its own")
    func manySends() async throws {
        let fixture = try KafkaFixture(topics: ["t": 3])
        let producer = try fixture.producer()
        let places = try await withThrowingTaskGroup(of: KafkaProducer.Delivery.self) { group in
            for number in 0..<3_000 {
                group.addTask { try await producer.send(self.record(number, partition: Int32(number % 3))) }
            }
            var places: [Int32: [Int64]] = [:]
            for try await delivery in group { places[delivery.partition, default: []].append(delivery.offset) }
            return places
        }
        for partition in Int32(0)..<3 { #expect(places[partition]?.sorted() == (0..<1_000).map { Int64($0) }) }
        await producer.close(deadline: .seconds(5))
    }

    @Test("a batch of several topics goes to each of them")
    func topics() async throws {
        let topics = ["t", "a-topic-with-a-name-that-is-not-short", "u"]
        let fixture = try KafkaFixture(topics: Dictionary(uniqueKeysWithValues: topics.map { ($0, 1) }))
        let producer = try fixture.producer()
        let records = (0..<30).map {
            KafkaRecord(topic: topics[$0 % 3], partition: 0, value: Array("\($0)".utf8))
        }
        #expect(try await producer.send(records).map(\.offset) == (0..<30).map { Int64($0 / 3) })
        for record in records.prefix(6) { try await producer.send(record) }
        await producer.close(deadline: .seconds(5))
        for (index, topic) in topics.enumerated() {
            let consumer = try fixture.consumer(group: topic, topics: [topic])
            let read = try await fixture.read(consumer, count: 12)
            let own = Array(stride(from: index, to: 30, by: 3)) + [index, index + 3]
            #expect(read.map { $0.value ?? [] } == own.map { Array("\($0)".utf8) })
            await consumer.close()
        }
    }

    @Test("a topic whose name is too long is refused")
    func badName() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer()
        for _ in 0..<2 {
            await #expect(throws: KafkaError.self) {
                try await producer.send(KafkaRecord(topic: String(repeating: "t", count: 600), value: [1]))
            }
        }
        #expect(try await producer.send(self.record(0)).offset == 0)
        await producer.close(deadline: .seconds(5))
    }

    @Test("records with headers for a partition that is not there are refused, however many, and the next one is sent")
    func refusedHeaders() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer()
        var record = self.record(0)
        record.headers = (0..<20).map { KafkaHeader("name-\($0)", String(repeating: "v", count: 50 * $0)) }
        try await producer.send(record)
        var refused = record
        refused.partition = 99
        for _ in 0..<300 {
            await #expect(throws: KafkaError.self) { try await producer.send(refused) }
            await #expect(throws: KafkaError.self) { try await producer.send([refused]) }
        }
        try await producer.send([record])
        await producer.close(deadline: .seconds(5))
        let consumer = try fixture.consumer()
        let read = try await fixture.read(consumer, count: 2)
        #expect(read.map(\.headers) == [record.headers, record.headers])
        await consumer.close()
    }

    @Test("everybody who sends while it is closed hears of an end, and so does who closes it")
    func closedWhileSending() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        for round in 0..<30 {
            let producer = try fixture.producer()
            try await producer.send(self.record(round))
            // What is sent while there is no broker stays in the queue.
            if round % 2 == 1 { fixture.broker.setDown(true) }
            await withTaskGroup(of: Void.self) { group in
                for task in 0..<32 {
                    group.addTask {
                        do {
                            while true {
                                if task % 2 == 0 {
                                    try await producer.send(self.record(task))
                                } else {
                                    try await producer.send([self.record(task), self.record(task)])
                                }
                            }
                        } catch {
                            #expect((error as? KafkaError)?.code == .closed)
                        }
                    }
                }
                for _ in 0..<round { await Task.yield() }
                await producer.close(deadline: .zero)
            }
            if round % 2 == 1 { fixture.broker.setDown(false) }
        }
    }

    @Test("close waits for what is under way")
    func close() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer()
        try await producer.send(self.record(0))
        fixture.broker.setDown(true)
        let sending = Task { try await producer.send((1...5).map { self.record($0) }) }
        try await wait(for: "five records under way") { producer.underWay == 5 }
        let closing = Task { await producer.close(deadline: .seconds(20)) }
        fixture.broker.setDown(false)
        #expect(try await sending.value.map(\.offset) == [1, 2, 3, 4, 5])
        await closing.value
        let error = await #expect(throws: KafkaError.self) { try await producer.send(self.record(6)) }
        #expect(error?.code == .closed)
        await #expect(throws: KafkaError.self) { try await producer.partitionCount(of: "t") }
        await producer.close(deadline: .zero)
    }

    // MARK: - Errors

    @Test("a record that is too large is told so, and takes no room from those that follow")
    func tooLarge() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer(KafkaProducer.Limits(records: 1))
        let large = KafkaRecord(topic: "t", partition: 0, value: Array(repeating: 1, count: 1_100_000))
        for _ in 0..<3 {
            let error = await #expect(throws: KafkaError.self) { try await producer.send(large) }
            #expect(error?.code == .tooLarge)
        }
        #expect(try await producer.send(self.record(0)).offset == 0)
        await producer.close(deadline: .seconds(5))
    }

    @Test("a batch with a record that fails throws its error")
    func oneOfBatch() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer()
        var batch = (0..<10).map { self.record($0) }
        batch[4].value = Array(repeating: 1, count: 1_100_000)
        let error = await #expect(throws: KafkaError.self) { try await producer.send(batch) }
        #expect(error?.code == .tooLarge)
        // What was before it is written.
        #expect(try await producer.send(self.record(10)).offset == 4)
        await producer.close(deadline: .seconds(5))
    }

    @Test("a partition that is not there is refused, before and after the topic is known")
    func unknownPartition() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        let producer = try fixture.producer(KafkaProducer.Limits(records: 1))
        for _ in 0..<2 {
            let error = await #expect(throws: KafkaError.self) { try await producer.send(self.record(0, partition: 2)) }
            #expect(error?.code == .other)
            #expect(error?.message.contains("partition") == true)
            #expect(try await producer.send(self.record(0, partition: 1)).partition == 1)
        }
        await producer.close(deadline: .seconds(5))
    }

    @Test(
        "what the broker refuses is told by its code, and what follows is written",
        arguments: [
            // librdkafka asks again for a topic that it may not write to only when it refreshes its metadata.
            (EmbeddedBroker.InjectedError.topicAuthorizationFailed, KafkaError.Code.authorization, false),
            (EmbeddedBroker.InjectedError.messageTooLarge, KafkaError.Code.tooLarge, true),
        ])
    func refused(injected: EmbeddedBroker.InjectedError, code: KafkaError.Code, goesOn: Bool) async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer(KafkaProducer.Limits(records: 1))
        try await producer.send(self.record(0))
        fixture.broker.inject([injected], into: .produce)
        let error = await #expect(throws: KafkaError.self) { try await producer.send(self.record(1)) }
        #expect(error?.code == code)
        if goesOn { #expect(try await producer.send(self.record(2)).offset == 1) }
        await producer.close(deadline: .seconds(5))
    }

    @Test("what may work later is tried again, and written once")
    func retried() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer()
        try await producer.send(self.record(0))
        fixture.broker.inject([.notEnoughReplicas, .requestTimedOut, .notEnoughReplicas], into: .produce)
        // Alone: the embedded broker would take what is sent beside it first.
        #expect(try await producer.send(self.record(1)).offset == 1)
        try await producer.send((2...9).map { self.record($0) })
        let consumer = try fixture.consumer()
        let read = try await fixture.read(consumer, count: 10)
        #expect(read.map(\.number) == Array(0...9))
        await consumer.close()
        await producer.close(deadline: .seconds(5))
    }

    @Test("a broker that has lost the order of records is a fatal error")
    func outOfOrder() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer()
        try await producer.send(self.record(0))
        fixture.broker.inject([.outOfOrderSequence], into: .produce)
        for number in 1...3 {
            let error = await #expect(throws: KafkaError.self) { try await producer.send(self.record(number)) }
            #expect(error?.code == .fatal)
        }
        await producer.close(deadline: .seconds(5))
    }

    @Test("after a fatal error what waits and what comes fails with it, and a new producer goes on")
    func fatal() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer()
        try await producer.send(self.record(0))
        fixture.broker.setDown(true)
        let waiting = Task { try await producer.send([self.record(1), self.record(2)]) }
        try await wait(for: "two records under way") { producer.underWay == 2 }
        producer.raiseFatalError()
        let first = await #expect(throws: KafkaError.self) { try await waiting.value }
        #expect(first?.code == .fatal)
        let second = await #expect(throws: KafkaError.self) { try await producer.send(self.record(3)) }
        #expect(second?.code == .fatal)
        await producer.close(deadline: .seconds(5))
        fixture.broker.setDown(false)
        let next = try fixture.producer()
        #expect(try await next.send(self.record(4)).offset == 1)
        await next.close(deadline: .seconds(5))
    }
}
