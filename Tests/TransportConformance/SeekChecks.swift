import LanternEvents
import LanternKafka

/// Reading again, and leaving out.
enum SeekChecks {
    static let all = [
        ConformanceCheck("a seek back reads again, and moves no other partition", body: Self.back),
        ConformanceCheck("a seek forward leaves out what lies between", body: Self.forward),
        ConformanceCheck(
            "a seek of one partition leaves the others of a reader from now on where they are", body: Self.reader),
        ConformanceCheck("a seek of a partition that is not held does nothing", body: Self.foreign),
    ]

    private static func back(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await PositionChecks.filled(context, "back", each: 20)
        let consumer = try context.consumer(group: "back", topics: [topic.name])
        _ = try await context.read(consumer, count: 20 * topic.partitions.count)
        let partition = topic.partitions[0]
        try consumer.seek([KafkaPosition(partition, .at(5))])
        // One more of each, so that what follows the seek is known to its end.
        let producer = try context.producer()
        try await context.send(topic.partitions.map { KafkaRecord($0, number: 20) }, by: producer)
        let again = try await context.read(consumer, "what follows the seek comes") { records in
            topic.partitions.allSatisfy { records.of($0).numbers.contains(20) }
        }
        try demand(again.of(partition).numbers, equals: Array(5...20), "records of \(partition) after the seek to 5")
        for other in topic.partitions.dropFirst() {
            try demand(again.of(other).numbers, equals: [20], "records of \(other), which was not moved")
        }
        return .passed
    }

    private static func forward(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("forward")
        let partition = topic.partitions[0]
        let producer = try context.producer()
        try await context.send((0..<20).map { KafkaRecord(partition, number: $0) }, by: producer)
        let consumer = try context.consumer(group: "forward", topics: [topic.name])
        var early = try await context.begin(consumer, topic.partitions) { _ in .earliest }
        if early.isEmpty {
            early = try await context.read(consumer, "the first record comes", maximum: 1) { !$0.isEmpty }
        }
        try demand(early.numbers, equals: Array(0..<early.count), "records before the seek")
        guard early.count < 15 else { return .skipped("all was read before the last partition was assigned") }
        try consumer.seek([KafkaPosition(partition, .at(15))])
        let read = try await context.read(consumer, count: 5)
        try demand(read.numbers, equals: Array(15..<20), "records after the seek to 15")
        return .passed
    }

    private static func reader(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await PositionChecks.filled(context, "one-of-reader", each: 10)
        let reader = try await context.reader(of: topic)
        let partition = topic.partitions[0]
        try reader.seek([KafkaPosition(partition, .at(5))])
        // The end may be asked for a little later than it was said: so one is sent after the other until some come.
        let load = Load(try context.producer(), topic)
        context.atEnd { load.end() }
        let read = try await context.read(reader, "records of every partition come") { records in
            topic.partitions.allSatisfy { !records.of($0).isEmpty }
        }
        load.end()
        try demand(read.of(partition).first?.offset, equals: 5, "first offset of \(partition) after the seek")
        for other in topic.partitions.dropFirst() {
            let old = read.of(other).filter { ($0.offset ?? -1) < 10 }
            try demand(old.isEmpty, "expected of \(other) offsets from 10 on, seen \(short(old.places))")
        }
        return .passed
    }

    private static func foreign(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await PositionChecks.filled(context, "held", each: 5)
        let other = try await PositionChecks.filled(context, "not-held", each: 5)
        let consumer = try context.consumer(group: "held", topics: [topic.name])
        let early = try await context.begin(consumer, topic.partitions) { _ in .earliest }
        try consumer.seek(other.partitions.map { KafkaPosition($0, .earliest) })
        let count = 5 * topic.partitions.count - early.count
        let read = try await context.read(consumer, "\(count) records come") { $0.count >= count }
        let foreign = (early + read).filter { $0.topic != topic.name }
        try demand(foreign.isEmpty, "expected records of \(topic.name) only, seen \(short(foreign.places))")
        try demand(early.count + read.count, equals: 5 * topic.partitions.count, "records")
        return .passed
    }
}
