import LanternEvents
import LanternKafka
import TransportConformance

/// What only Kafka promises: topics that are asked for, and offsets that it keeps for groups.
struct KafkaChecks {
    private let configuration: KafkaConfiguration
    private let admin: KafkaAdmin
    /// Why topics cannot be created.
    private let refusal: String?

    init(_ configuration: KafkaConfiguration, _ admin: KafkaAdmin, refusal: String?) {
        self.configuration = configuration
        self.admin = admin
        self.refusal = refusal
    }

    var all: [ConformanceCheck] {
        [
            ConformanceCheck("a topic is created once, and described as it was asked for", body: self.created),
            ConformanceCheck("the offsets of a partition are told", body: self.offsets),
            ConformanceCheck(
                "a group goes on where it has committed, and its lag is what is left", body: self.committed),
            ConformanceCheck("a topic that is not there is made, or refused in time", body: self.unknownTopic),
        ]
    }

    private func created(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        if let refusal { return .skipped(refusal) }
        let name = context.name("described")
        let specification = KafkaTopicSpecification(name, partitions: 3, configuration: ["cleanup.policy": "compact"])
        let admin = self.admin
        let first = try await context.within("a topic is created") { try await admin.create(specification) }
        try demand(first, equals: true, "a new topic was made")
        let second = try await context.within("a topic is created again") { try await admin.create(specification) }
        try demand(second, equals: false, "a topic that is there was made")
        let description = try await context.until("the topic has leaders") {
            () async throws -> KafkaTopicDescription? in
            guard let seen = try await admin.topic(name) else { return nil }
            return seen.partitions.allSatisfy { $0.leader >= 0 && $0.inSync > 0 } ? seen : nil
        }
        try demand(description.partitions.map(\.id), equals: [0, 1, 2], "partitions")
        let other = try await context.within("a topic is looked for") { try await admin.topic(context.name("nowhere")) }
        try demand(other, equals: nil, "a topic that is not there")
        return .passed
    }

    private func offsets(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("offsets")
        let partition = topic.partitions[0]
        let admin = self.admin
        let empty = try await context.within("offsets are told") { try await admin.offsets(of: partition) }
        try demand(empty, equals: 0..<0, "offsets of an empty partition")
        try await self.fill(context, [partition], each: 7)
        let filled = try await context.within("offsets are told") { try await admin.offsets(of: partition) }
        try demand(filled, equals: 0..<7, "offsets of seven records")
        return .passed
    }

    private func committed(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("committed")
        let group = context.name("committed")
        let admin = self.admin
        try await self.fill(context, topic.partitions, each: 20)
        let none = try await context.within("offsets are told") {
            try await admin.committed(by: group, topic.partitions)
        }
        try demand(none, equals: [:], "offsets of a group that has committed none")

        let first = try self.consumer(context, group, topic)
        _ = try await context.read(first, count: 20 * topic.partitions.count)
        let done = Dictionary(uniqueKeysWithValues: topic.partitions.map { ($0, Int64($0.partition % 10) + 5) })
        try await context.within("offsets are committed") { try await first.commitAndWait(done) }
        let told = try await context.within("offsets are told") {
            try await admin.committed(by: group, topic.partitions)
        }
        try demand(told, equals: done, "offsets that were committed")
        let lag = try await context.within("the lag is told") {
            try await admin.lag(of: group, topic: topic.name)
        }
        try demand(lag, equals: done.mapValues { 20 - $0 }, "records that are left")
        try await context.within("a member leaves") { await first.close() }

        let second = try self.consumer(context, group, topic)
        let left = Int(lag.values.reduce(0, +))
        let read = try await context.read(second, count: left) { _ in .committed }
        for partition in topic.partitions {
            let offsets = read.filter { $0.partition == partition.partition }.compactMap(\.offset)
            try demand(offsets, equals: Array((done[partition] ?? 0)..<20), "offsets of \(partition), gone on with")
        }
        return .passed
    }

    private func unknownTopic(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        var configuration = self.configuration
        configuration.properties["topic.metadata.propagation.max.ms"] = "5000"
        let producer = try KafkaProducer(configuration: configuration, logger: context.logger)
        context.atEnd { await producer.close(deadline: .zero) }
        let record = KafkaRecord(topic: context.name("unknown"), value: [1])
        do {
            let deliveries = try await context.send([record], by: producer)
            try demand(deliveries.map(\.offset), equals: [0], "offset in a topic that the broker made")
        } catch let error as KafkaError {
            try demand(
                error.code != .fatal && error.code != .closed,
                "a topic that is not there: expected an error of the record, seen \(error)")
        }
        return .passed
    }

    private func consumer(
        _ context: ConformanceContext, _ group: String, _ topic: ConformanceTopic
    ) throws -> KafkaConsumer {
        let consumer = try KafkaConsumer(
            configuration: self.configuration, group: group, topics: [topic.name], logger: context.logger)
        context.atEnd { await consumer.close() }
        return consumer
    }

    private func fill(_ context: ConformanceContext, _ partitions: [KafkaPartition], each count: Int) async throws {
        let records = partitions.flatMap { partition in
            (0..<count).map {
                KafkaRecord(topic: partition.topic, partition: partition.partition, value: Array("\($0)".utf8))
            }
        }
        try await context.send(records, by: try context.producer())
    }
}
