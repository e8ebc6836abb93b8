import LanternKafka
import LanternKafkaTesting
import Logging
import Testing
import TestSupport

@Suite("Producer and consumer over a real Kafka-protocol broker")
struct KafkaTests {
    private static let logger = {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }()

    private func configuration(_ broker: EmbeddedBroker, _ name: String) -> KafkaConfiguration {
        KafkaConfiguration(
            bootstrapServers: broker.bootstrapServers,
            properties: ["fetch.wait.max.ms": "10", "session.timeout.ms": "6000"], clientID: name
        )
    }

    /// Reads until `count` records came, beginning where `start` says.
    private func read(
        _ consumer: KafkaConsumer, count: Int, start: (KafkaPartition) -> KafkaPosition.Offset = { _ in .earliest }
    ) async throws -> [KafkaRecord] {
        var records: [KafkaRecord] = []
        while records.count < count {
            switch try await consumer.next() {
            case .assigned(let partitions): try consumer.assign(partitions.map { KafkaPosition($0, start($0)) })
            case .revoked, .lost: break
            case .records(let new): records += new
            }
        }
        return records
    }

    @Test("records come back whole, in order, with key, headers and tombstones", .timeLimit(.minutes(1)))
    func roundTrip() async throws {
        let broker = try EmbeddedBroker(topics: ["t": 1])
        let producer = try KafkaProducer(configuration: self.configuration(broker, "p"), logger: Self.logger)
        let sent = (0..<100).map { number in
            KafkaRecord(
                topic: "t", key: Array("key".utf8), value: number == 50 ? nil : Array("value \(number)".utf8),
                headers: [KafkaHeader("n", "\(number)"), KafkaHeader("n", "again"), KafkaHeader("empty", [])]
            )
        }
        let deliveries = try await producer.send(sent)
        #expect(deliveries.map(\.offset) == (0..<100).map { Int64($0) })

        let consumer = try KafkaConsumer(
            configuration: self.configuration(broker, "c"), group: "g", topics: ["t"], logger: Self.logger
        )
        let records = try await self.read(consumer, count: 100)
        #expect(records.map(\.offset) == (0..<100).map { Int64($0) })
        #expect(records.map(\.value) == sent.map(\.value))
        #expect(records.allSatisfy { $0.key == Array("key".utf8) })
        #expect(records[7].headers.first == KafkaHeader("n", "7"))
        #expect(records[7].header("n") == "again")
        await consumer.close()
        await producer.close(deadline: .seconds(5))
    }

    @Test("reading begins where the caller says", .timeLimit(.minutes(1)))
    func positions() async throws {
        let broker = try EmbeddedBroker(topics: ["t": 1])
        let producer = try KafkaProducer(configuration: self.configuration(broker, "p"), logger: Self.logger)
        try await producer.send((0..<20).map { KafkaRecord(topic: "t", value: Array("\($0)".utf8)) })
        let consumer = try KafkaConsumer(
            configuration: self.configuration(broker, "c"), group: "g", topics: ["^t$"], logger: Self.logger
        )
        let records = try await self.read(consumer, count: 5) { _ in .at(15) }
        #expect(records.first?.offset == 15)
        await consumer.close()
        await producer.close(deadline: .seconds(5))
    }

    @Test(
        "a record that waits for its broker is sent when it is back, and close gives up on one that is not",
        .timeLimit(.minutes(1)))
    func brokerAway() async throws {
        let broker = try EmbeddedBroker(topics: ["t": 1])
        var configuration = self.configuration(broker, "p")
        configuration.properties["reconnect.backoff.max.ms"] = "200"
        let producer = try KafkaProducer(configuration: configuration, logger: Self.logger)
        try await producer.send([KafkaRecord(topic: "t", value: [1])])
        broker.setDown(true)
        let waiting = Task { try await producer.send([KafkaRecord(topic: "t", value: [2])]) }
        broker.setDown(false)
        #expect(try await waiting.value.first?.offset == 1)

        broker.setDown(true)
        let abandoned = Task { try await producer.send([KafkaRecord(topic: "t", value: [3])]) }
        await producer.close(deadline: .milliseconds(300))
        let error = await #expect(throws: KafkaError.self) { try await abandoned.value }
        #expect(error?.code == .closed)
        await #expect(throws: KafkaError.self) { try await producer.send([KafkaRecord(topic: "t", value: [4])]) }
    }

    @Test("the number of partitions is what the topic has")
    func partitions() async throws {
        let broker = try EmbeddedBroker(topics: ["three": 3])
        let producer = try KafkaProducer(configuration: self.configuration(broker, "p"), logger: Self.logger)
        #expect(try await producer.partitionCount(of: "three") == 3)
        await producer.close(deadline: .seconds(1))
    }

    @Test("cancelling a waiting consumer ends its wait, and it can be asked again", .timeLimit(.minutes(1)))
    func cancellation() async throws {
        let broker = try EmbeddedBroker(topics: ["t": 1])
        let consumer = try KafkaConsumer(
            configuration: self.configuration(broker, "c"), group: "g", topics: ["t"], logger: Self.logger
        )
        if case .assigned(let partitions) = try await consumer.next() {
            try consumer.assign(partitions.map { KafkaPosition($0, .earliest) })
        }
        let waiting = Task { try await consumer.next() }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        let producer = try KafkaProducer(configuration: self.configuration(broker, "p"), logger: Self.logger)
        try await producer.send([KafkaRecord(topic: "t", value: [1])])
        #expect(try await self.read(consumer, count: 1).count == 1)
        await consumer.close()
        await producer.close(deadline: .seconds(1))
    }

    @Test("a property that librdkafka does not know is named, its value is not")
    func configurationError() throws {
        let configuration = KafkaConfiguration(
            bootstrapServers: "127.0.0.1:1", properties: ["no.such.property": "marked-secret"], clientID: "x"
        )
        let error = #expect(throws: KafkaError.self) {
            try KafkaProducer(configuration: configuration, logger: Self.logger)
        }
        #expect(error?.code == .configuration)
        #expect(error?.message.contains("no.such.property") == true)
        #expect(error?.message.contains("marked-secret") == false)
    }

    @Test("a broker on a port that is taken says so")
    func portInUse() throws {
        let broker = try EmbeddedBroker()
        let port = try #require(broker.bootstrapServers.split(separator: ":").last.flatMap { UInt16($0) })
        #expect(throws: EmbeddedBrokerError.self) { try EmbeddedBroker(port: port) }
    }
}
