import LanternEvents
import LanternKafka

/// Members that share the work.
enum GroupChecks {
    static let all = [
        ConformanceCheck("two members have each partition once, and read every record once", body: Self.sharing),
        ConformanceCheck("two groups read the same records", body: Self.groups),
        ConformanceCheck("a member that leaves gives its partitions to those that stay", body: Self.leaving),
        ConformanceCheck(
            "a member that joins is given partitions, and the others stay where they are",
            assuming: .movesOnlyWhatMustMove, body: Self.increments),
    ]

    private static func sharing(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("sharing", partitions: 6)
        guard topic.partitions.count > 1 else { return .skipped("the topic has one partition") }
        let log = GroupLog()
        let one = try context.member("one", of: "sharing", topic, log)
        let two = try context.member("two", of: "sharing", topic, log)
        try await context.shared(topic, log, among: one, two)
        let sent = try await Self.send(context, topic, each: 200)
        try await context.handled(sent, log)
        try log.demandOnce(topic.partitions)
        return .passed
    }

    private static func groups(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await PositionChecks.filled(context, "groups", each: 20)
        let one = try context.consumer(group: "groups-one", topics: [topic.name])
        let two = try context.consumer(group: "groups-two", topics: [topic.name])
        for consumer in [one, two] {
            let read = try await context.read(consumer, count: 20 * topic.partitions.count)
            for partition in topic.partitions {
                try demand(read.of(partition).numbers, equals: Array(0..<20), "records of \(partition)")
            }
        }
        return .passed
    }

    private static func leaving(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("leaving", partitions: 4)
        guard topic.partitions.count > 1 else { return .skipped("the topic has one partition") }
        let log = GroupLog()
        let one = try context.member("one", of: "leaving", topic, log)
        let two = try context.member("two", of: "leaving", topic, log)
        try await context.shared(topic, log, among: one, two)
        var sent = try await Self.send(context, topic, each: 20)
        try await context.handled(sent, log)
        try await context.within("a member leaves") { await two.leave() }
        // Nobody has them, or whoever stays.
        sent.formUnion(try await Self.send(context, topic, each: 20))
        try await context.shared(topic, log, among: one)
        sent.formUnion(try await Self.send(context, topic, each: 20))
        try await context.handled(sent, log)
        try log.demandOnce(topic.partitions)
        return .passed
    }

    private static func increments(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("increments", partitions: 4)
        guard topic.partitions.count > 1 else { return .skipped("the topic has one partition") }
        let log = GroupLog()
        let one = try context.member("one", of: "increments", topic, log)
        try await context.shared(topic, log, among: one)
        try demand(log.revoked(from: "one"), equals: [], "what was taken from the only member")
        let two = try context.member("two", of: "increments", topic, log)
        try await context.shared(topic, log, among: one, two)
        try demand(log.revoked(from: "one"), equals: log.partitions(of: "two"), "what was taken from the first member")
        try demand(log.revoked(from: "two"), equals: [], "what was taken from the second member")
        try await context.within("a member leaves") { await two.leave() }
        let before = log.revoked(from: "one")
        try await context.shared(topic, log, among: one)
        try demand(log.revoked(from: "one"), equals: before, "what was taken from the first when the second left")
        try log.demandNoFault()
        return .passed
    }

    /// Sends so many records to each partition, one send after the other.
    static func send(
        _ context: ConformanceContext, _ topic: ConformanceTopic, each count: Int
    ) async throws -> Set<Place> {
        let producer = try context.producer()
        var sent: Set<Place> = []
        for number in 0..<count {
            let records = topic.partitions.map { KafkaRecord($0, number: number) }
            let deliveries = try await context.send(records, by: producer)
            sent.formUnion(zip(topic.partitions, deliveries).map { Place(partition: $0, offset: $1.offset) })
        }
        return sent
    }
}
