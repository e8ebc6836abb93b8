import LanternEvents
import LanternKafka

/// Cancellation and close.
enum EndingChecks {
    static let all = [
        ConformanceCheck("a wait that is cancelled loses nothing, and another can follow", body: Self.cancelled),
        ConformanceCheck("a consumer that closes with records unread leaves them to the next", body: Self.unread),
        ConformanceCheck("closing ends a wait, and what is asked afterwards is refused", body: Self.waiting),
        ConformanceCheck("a producer that closes answers every send that is under way", body: Self.underWay),
    ]

    private static func cancelled(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("cancelled")
        let partition = topic.partitions[0]
        let producer = try context.producer()
        let consumer = try context.consumer(group: "cancelled", topics: [topic.name])
        var read = try await context.begin(consumer, topic.partitions) { _ in .earliest }
        var cancellations = 0
        for number in 0..<60 {
            let waiting = Task { try await consumer.next(maximum: 500, maximumBytes: 8 << 20) }
            // Before, while and after the record comes.
            if number % 3 == 0 { waiting.cancel() }
            async let sent = context.send([KafkaRecord(partition, number: number)], by: producer)
            if number % 3 == 1 { waiting.cancel() }
            _ = try await sent
            waiting.cancel()
            do {
                switch try await context.within("a cancelled wait ends", { try await waiting.value }) {
                case .records(let records): read += records
                case .assigned(let partitions): try consumer.assign(partitions.map { KafkaPosition($0, .earliest) })
                case .revoked, .lost: break
                }
            } catch is CancellationError {
                cancellations += 1
            }
        }
        try demand(cancellations > 0, "expected some of 60 cancelled waits to throw CancellationError, seen none")
        if read.count < 60 { read += try await context.read(consumer, count: 60 - read.count) }
        try demand(read.numbers, equals: Array(0..<60), "records over all waits")
        return .passed
    }

    private static func unread(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await PositionChecks.filled(context, "unread", each: 200)
        let first = try context.consumer(group: "unread", topics: [topic.name])
        _ = try await context.read(first, "the first record comes", maximum: 1) { !$0.isEmpty }
        try await context.within("a consumer with unread records closes") { await first.close() }
        let second = try context.consumer(group: "unread", topics: [topic.name])
        let read = try await context.read(second, count: 200 * topic.partitions.count)
        for partition in topic.partitions {
            try demand(read.of(partition).numbers, equals: Array(0..<200), "records of \(partition)")
        }
        return .passed
    }

    private static func waiting(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("waiting")
        let consumer = try context.consumer(group: "waiting", topics: [topic.name])
        try await context.begin(consumer, topic.partitions) { _ in .earliest }
        let waiting = Task { try await consumer.next(maximum: 500, maximumBytes: 8 << 20) }
        try await context.within("a consumer closes while somebody waits") { await consumer.close() }
        try await Self.refused(context, "a wait of a consumer that closes") { try await waiting.value }
        try await Self.refused(context, "a wait of a consumer that is closed") {
            try await consumer.next(maximum: 500, maximumBytes: 8 << 20)
        }
        try await context.within("a consumer closes twice") { await consumer.close() }
        return .passed
    }

    private static func refused(
        _ context: ConformanceContext, _ what: String,
        _ wait: @escaping @Sendable () async throws -> KafkaConsumer.Event
    ) async throws {
        let event: KafkaConsumer.Event
        do {
            event = try await context.within("\(what) ends", wait)
        } catch let failure as ConformanceFailure {
            throw failure
        } catch {
            return
        }
        throw ConformanceFailure("\(what): expected an error, seen \(short(event))")
    }

    private static func underWay(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("under-way")
        let producer = try context.producer()
        let partition = topic.partitions[0]
        let sends = (0..<50).map { number in
            Task { try await producer.send([KafkaRecord(partition, number: number)]) }
        }
        try await context.within("a producer closes with sends under way") {
            await producer.close(deadline: .seconds(10))
        }
        var kept: [Int64: Int] = [:]
        for (number, send) in sends.enumerated() {
            do {
                let deliveries = try await context.within("a send is answered") { try await send.value }
                for delivery in deliveries { kept[delivery.offset] = number }
            } catch is KafkaError {
                // It came too late.
            }
        }
        guard !kept.isEmpty else { return .skipped("every send came after the close") }
        let read = try await context.read(try await context.everything(of: topic), "what was answered can be read") {
            Set($0.compactMap(\.offset)).isSuperset(of: kept.keys)
        }
        for record in read {
            guard let number = record.offset.flatMap({ kept[$0] }) else { continue }
            try demand(record.number, equals: number, "record at \(short(record.place))")
        }
        return .passed
    }
}
