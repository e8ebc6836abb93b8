import LanternEvents
import LanternKafka

/// Where records go, and in which order.
enum PartitionChecks {
    static let all = [
        ConformanceCheck("the same key goes to the same partition, from whomever it comes", body: Self.sameKey),
        ConformanceCheck("a record with a partition goes there, whatever its key", body: Self.chosenPartition),
        ConformanceCheck("a partition that is not there is refused", body: Self.noSuchPartition),
        ConformanceCheck("many sends to one partition keep their order", body: Self.orderOverSends),
        ConformanceCheck("deliveries say where each record is", body: Self.deliveries),
        ConformanceCheck("sends of many tasks at once are all kept, each in its order", body: Self.manyTasks),
        ConformanceCheck("a batch of 10,000 records is kept in order", body: Self.bigBatch),
    ]

    private static func sameKey(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("keys")
        let producers = [try context.producer("one"), try context.producer("two")]
        let keys = (0..<40).map { Array("key \($0)".utf8) }
        var partitions: [[UInt8]: Set<Int32>] = [:]
        for round in 0..<4 {
            let records = keys.map { KafkaRecord(topic: topic.name, key: $0, value: Array("\(round)".utf8)) }
            let deliveries = try await context.send(records, by: producers[round % 2])
            for (key, delivery) in zip(keys, deliveries) { partitions[key, default: []].insert(delivery.partition) }
        }
        let wandering = partitions.values.filter { $0.count != 1 }
        try demand(wandering.isEmpty, "expected one partition for each key, seen \(short(wandering))")
        let used = Set(partitions.values.joined())
        let all = Set(topic.partitions.map(\.partition))
        try demand(used.isSubset(of: all), "expected partitions among \(all), seen \(used)")
        try demand(
            all.count == 1 || used.count > 1,
            "expected 40 keys in several of \(all.count) partitions, seen all in \(used)")
        return .passed
    }

    private static func chosenPartition(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("chosen")
        let producer = try context.producer()
        let records = (0..<5).flatMap { _ in
            topic.partitions.map {
                KafkaRecord(
                    topic: topic.name, partition: $0.partition, key: Array("one key".utf8),
                    value: Array("\($0.partition)".utf8))
            }
        }
        let deliveries = try await context.send(records, by: producer)
        try demand(deliveries.map(\.partition), equals: records.compactMap(\.partition), "partitions of the deliveries")
        let read = try await context.read(try await context.everything(of: topic), count: records.count)
        try demand(read.count, equals: records.count, "records")
        for record in read {
            try demand(record.partition.map { Int($0) }, equals: record.number, "partition of \(short(record.place))")
        }
        return .passed
    }

    private static func noSuchPartition(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("refused")
        let producer = try context.producer()
        let stray = KafkaRecord(topic: topic.name, partition: Int32(topic.partitions.count), value: [1])
        do {
            let deliveries = try await context.send([stray], by: producer)
            throw ConformanceFailure("a partition that is not there: expected an error, seen \(deliveries)")
        } catch is KafkaError {}
        // And nothing else suffers.
        try await context.send([KafkaRecord(topic.partitions[0], number: 0)], by: producer)
        return .passed
    }

    private static func orderOverSends(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("order")
        let producer = try context.producer()
        let partition = topic.partitions[0]
        var offsets: [Int64] = []
        for send in 0..<300 {
            let records = (0..<5).map { KafkaRecord(partition, number: send * 5 + $0) }
            offsets += try await context.send(records, by: producer).map(\.offset)
        }
        let rising = zip(offsets, offsets.dropFirst()).allSatisfy { $0 < $1 }
        try demand(rising, "expected rising offsets, seen \(short(offsets))")
        let read = try await context.read(try await context.everything(of: topic), count: offsets.count)
        try demand(read.numbers, equals: Array(0..<1_500), "records in the order of their offsets")
        try demand(read.compactMap(\.offset), equals: offsets, "offsets of the records")
        return .passed
    }

    private static func deliveries(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("deliveries")
        let producer = try context.producer()
        let none = try await context.send([], by: producer)
        try demand(none, equals: [], "deliveries of no record")
        let records = (0..<300).map { number -> KafkaRecord in
            // With a partition, by a key, and by neither.
            switch number % 3 {
            case 0: KafkaRecord(topic.partitions[number % topic.partitions.count], number: number)
            case 1: KafkaRecord(topic: topic.name, key: Array("\(number)".utf8), value: Array("\(number)".utf8))
            default: KafkaRecord(topic: topic.name, value: Array("\(number)".utf8))
            }
        }
        let deliveries = try await context.send(records, by: producer)
        let read = try await context.read(try await context.everything(of: topic), count: records.count)
        try demand(read.count, equals: records.count, "records")
        for record in read {
            guard let number = record.number, records.indices.contains(number) else {
                throw ConformanceFailure("expected the records that were sent, seen \(short(record))")
            }
            let there = KafkaProducer.Delivery(partition: record.partition ?? -1, offset: record.offset ?? -1)
            try demand(there, equals: deliveries[number], "place of record \(number)")
        }
        return .passed
    }

    private static func manyTasks(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("tasks")
        let producer = try context.producer()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<100 {
                group.addTask {
                    let key = Array("\(task)".utf8)
                    let records = (0..<10).map {
                        KafkaRecord(topic: topic.name, key: key, value: Array("\(task * 10 + $0)".utf8))
                    }
                    try await context.send(records, by: producer)
                }
            }
            try await group.waitForAll()
        }
        let read = try await context.read(try await context.everything(of: topic), count: 1_000)
        try demand(read.numbers.sorted(), equals: Array(0..<1_000), "records of 100 tasks, once each")
        let byTask = Dictionary(grouping: read.numbers) { $0 / 10 }
        let mixed = byTask.filter { $0.value != $0.value.sorted() }
        try demand(mixed.isEmpty, "expected the records of each task in order, seen \(short(mixed))")
        return .passed
    }

    private static func bigBatch(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("batch")
        let producer = try context.producer()
        let padding = String(repeating: "x", count: 100)
        let records = (0..<10_000).map {
            KafkaRecord(topic: topic.name, key: Array("\($0 % 97)".utf8), value: Array("\($0) \(padding)".utf8))
        }
        let deliveries = try await context.send(records, by: producer)
        for (partition, own) in Dictionary(grouping: deliveries, by: \.partition) {
            let rising = zip(own, own.dropFirst()).allSatisfy { $0.offset < $1.offset }
            try demand(rising, "expected rising offsets in partition \(partition), seen \(short(own.map(\.offset)))")
        }
        let read = try await context.read(try await context.everything(of: topic), count: records.count)
        try demand(read.count, equals: records.count, "records")
        var sent: [Int32: [[UInt8]?]] = [:]
        for (record, delivery) in zip(records, deliveries) {
            sent[delivery.partition, default: []].append(record.value)
        }
        for partition in topic.partitions {
            let values = sent[partition.partition] ?? []
            try demand(read.of(partition).map(\.value), equals: values, "values of \(partition), in order")
        }
        return .passed
    }
}
