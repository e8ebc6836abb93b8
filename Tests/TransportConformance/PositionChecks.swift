import LanternEvents
import LanternKafka

/// Where reading begins.
enum PositionChecks {
    static let all = [
        ConformanceCheck(
            "a reader sees what is sent from now on, all of it, and nothing of before", body: Self.fromNowOn),
        ConformanceCheck("a consumer begins exactly at the offset that it is told", body: Self.exactly),
        ConformanceCheck("a consumer at the end begins with the next record", body: Self.atTheEnd),
        ConformanceCheck("a consumer at the latest sees nothing of before", body: Self.latest),
        ConformanceCheck(
            "a consumer that committed nothing begins where it is told, each time", body: Self.uncommitted),
        ConformanceCheck(
            "an offset beyond the end begins at the earliest", assuming: .resetsToEarliest, body: Self.beyond),
        ConformanceCheck(
            "an offset that is not kept any more begins at the earliest", assuming: .resetsToEarliest,
            body: Self.dropped),
    ]

    private static func fromNowOn(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("now")
        let producer = try context.producer()
        for round in 0..<5 {
            try await context.send(
                topic.partitions.map { KafkaRecord($0, number: -1 - round) }, by: producer)
            let reader = try await context.reader(of: topic)
            // At once: what is sent after the reader was made is its own.
            let records = topic.partitions.flatMap { partition in
                (0..<3).map { KafkaRecord(partition, number: round * 3 + $0) }
            }
            try await context.send(records, by: producer)
            let read = try await context.read(reader, "the \(records.count) records since the reader was made come") {
                $0.count >= records.count
            }
            for partition in topic.partitions {
                try demand(
                    read.of(partition).numbers, equals: (0..<3).map { round * 3 + $0 },
                    "round \(round), records of \(partition)")
            }
            await reader.close()
        }
        return .passed
    }

    private static func exactly(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await Self.filled(context, "exactly", each: 20)
        let consumer = try context.consumer(group: "exactly", topics: [topic.name])
        let starts = Dictionary(
            uniqueKeysWithValues: topic.partitions.map { ($0, Int64($0.partition) * 3 % 20) })
        let count = starts.values.reduce(0) { $0 + 20 - Int($1) }
        let read = try await context.read(consumer, count: count) { .at(starts[$0] ?? 0) }
        for (partition, start) in starts {
            try demand(
                read.of(partition).numbers, equals: Array(Int(start)..<20), "records of \(partition) from \(start) on")
        }
        return .passed
    }

    private static func atTheEnd(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await Self.filled(context, "end", each: 10)
        let partition = topic.partitions[0]
        let producer = try context.producer()
        let consumer = try context.consumer(group: "end", topics: [topic.name])
        let early = try await context.begin(consumer, topic.partitions) { _ in .at(10) }
        let deliveries = try await context.send([KafkaRecord(partition, number: 10)], by: producer)
        let read = try await context.read(consumer, "the record at the end comes") { !$0.isEmpty }
        try demand((early + read).compactMap(\.offset), equals: deliveries.map(\.offset), "offsets from the end on")
        return .passed
    }

    private static func latest(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await Self.filled(context, "latest", each: 10)
        let producer = try context.producer()
        let consumer = try context.consumer(group: "latest", topics: [topic.name])
        // The end may be asked for a little later than it was said: so one is sent after the other until one comes.
        let load = Load(producer, topic)
        context.atEnd { load.end() }
        let read = try await context.read(consumer, "a record comes", start: { _ in .latest }) { !$0.isEmpty }
        load.end()
        let old = read.filter { ($0.offset ?? -1) < 10 }
        try demand(old.isEmpty, "expected offsets from 10 on, seen \(short(old.places))")
        return .passed
    }

    private static func uncommitted(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await Self.filled(context, "uncommitted", each: 10)
        let all = topic.partitions.count * 10
        for start in [KafkaPosition.Offset.earliest, .at(4), .committed] {
            let consumer = try context.consumer(group: "uncommitted", topics: [topic.name])
            let skipped = start == .at(4) ? 4 : 0
            let read = try await context.read(consumer, count: all - skipped * topic.partitions.count) { _ in start }
            for partition in topic.partitions {
                try demand(
                    read.of(partition).numbers, equals: Array(skipped..<10), "records of \(partition) from \(start) on")
            }
            try await context.within("a consumer closes") { await consumer.close() }
        }
        return .passed
    }

    private static func beyond(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await Self.filled(context, "beyond", each: 5)
        let consumer = try context.consumer(group: "beyond", topics: [topic.name])
        let read = try await context.read(consumer, count: 5 * topic.partitions.count) { _ in .at(1_000_000) }
        for partition in topic.partitions {
            try demand(read.of(partition).numbers, equals: Array(0..<5), "records of \(partition)")
        }
        return .passed
    }

    private static func dropped(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("dropped")
        let producer = try context.producer()
        let partition = topic.partitions[0]
        // More than a transport for development keeps, by size and by number.
        let large = Array(repeating: UInt8(1), count: 900_000)
        for _ in 0..<8 {
            let record = KafkaRecord(topic: topic.name, partition: partition.partition, value: large)
            try await context.send([record], by: producer)
        }
        for batch in 0..<6 {
            try await context.send((0..<2_000).map { KafkaRecord(partition, number: batch * 2_000 + $0) }, by: producer)
        }
        let reader = try await context.everything(of: topic)
        let kept = try await context.read(reader, "the earliest record comes") { !$0.isEmpty }
        let first = kept[0].offset
        guard first != 0 else { return .skipped("the transport has kept 12,008 records of 7 MB") }
        let consumer = try context.consumer(group: "dropped", topics: [topic.name])
        let read = try await context.read(consumer, "a record comes", start: { _ in .at(0) }) { !$0.isEmpty }
        try demand(read[0].offset, equals: first, "offset of the first record from 0 on")
        return .passed
    }

    /// A topic with so many records in each partition, numbered as their offsets are.
    static func filled(
        _ context: ConformanceContext, _ purpose: String, each count: Int
    ) async throws -> ConformanceTopic {
        let topic = try await context.topic(purpose)
        let producer = try context.producer()
        let records = topic.partitions.flatMap { partition in
            (0..<count).map { KafkaRecord(partition, number: $0) }
        }
        let deliveries = try await context.send(records, by: producer)
        try demand(deliveries.map { Int($0.offset) }, equals: records.numbers, "offsets in a new topic")
        return topic
    }
}
