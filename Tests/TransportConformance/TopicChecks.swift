import LanternEvents
import LanternKafka

/// Which topics a consumer reads.
enum TopicChecks {
    static let all = [
        ConformanceCheck("a consumer reads the topics that it names, and no other", body: Self.named),
        ConformanceCheck("a regular expression reads the topics that match, and no other", body: Self.matching),
        ConformanceCheck("a topic that appears later is read from its first record on", body: Self.later),
    ]

    private static func named(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let one = try await PositionChecks.filled(context, "named-one", each: 3)
        let two = try await PositionChecks.filled(context, "named-two", each: 3)
        // Its name begins as that of one which is read does.
        _ = try await PositionChecks.filled(context, "named-one-more", each: 3)
        let consumer = try context.consumer(group: "named", topics: [one.name, two.name])
        return try await Self.compare(context, consumer, [one, two])
    }

    private static func matching(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let one = try await PositionChecks.filled(context, "match-a-1", each: 3)
        let two = try await PositionChecks.filled(context, "match-b-2", each: 3)
        _ = try await PositionChecks.filled(context, "match-c-x", each: 3)
        _ = try await PositionChecks.filled(context, "other-a-1", each: 3)
        let consumer = try context.consumer(group: "match", topics: ["^\(context.name("match"))-[a-c]-[0-9]+$"])
        return try await Self.compare(context, consumer, [one, two])
    }

    private static func later(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let first = try await PositionChecks.filled(context, "later-1", each: 2)
        let consumer = try context.consumer(group: "later", topics: ["^\(context.name("later"))-.*"])
        let early = try await context.read(consumer, count: 2 * first.partitions.count)
        try demand(Set(early.map(\.topic)), equals: [first.name], "topics before the second is there")
        let second = try await PositionChecks.filled(context, "later-2", each: 5)
        let count = 5 * second.partitions.count
        let read = try await context.read(consumer, "\(count) records of \(second.name) come") { records in
            records.filter { $0.topic == second.name }.count >= count
        }
        for partition in second.partitions {
            try demand(read.of(partition).numbers, equals: Array(0..<5), "records of \(partition)")
        }
        return .passed
    }

    /// Reads all of these topics, and marks that are sent later: records of another topic would have come before them.
    private static func compare(
        _ context: ConformanceContext, _ consumer: any EventReader, _ topics: [ConformanceTopic]
    ) async throws -> ConformanceOutcome {
        let partitions = topics.flatMap(\.partitions)
        var read = try await context.read(consumer, count: 3 * partitions.count)
        let producer = try context.producer()
        try await context.send(partitions.map { KafkaRecord($0, number: 3) }, by: producer)
        read += try await context.read(consumer, count: partitions.count)
        try demand(Set(read.map(\.topic)), equals: Set(topics.map(\.name)), "topics")
        for partition in partitions {
            try demand(read.of(partition).numbers, equals: Array(0...3), "records of \(partition)")
        }
        return .passed
    }
}
