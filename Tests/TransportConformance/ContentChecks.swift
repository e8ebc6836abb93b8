import LanternEvents
import LanternKafka

/// What records carry.
enum ContentChecks {
    static let all = [
        ConformanceCheck("keys, values and headers come back byte for byte", body: Self.bytes),
        ConformanceCheck("an empty value stays empty, and a tombstone a tombstone", body: Self.tombstones),
        ConformanceCheck("values of 900 kB come back byte for byte", body: Self.large),
        ConformanceCheck("an answer ends with the record that reaches its bound", body: Self.bounds),
    ]

    private static func bytes(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let every = Array(UInt8.min...UInt8.max)
        let headers = [
            KafkaHeader("text", "värde ✓"), KafkaHeader("bytes", every), KafkaHeader("again", "1"),
            KafkaHeader("again", "2"), KafkaHeader("empty", []), KafkaHeader("none", nil), KafkaHeader("ключ", "5"),
        ]
        try await Self.compare(
            context,
            [
                Content(key: nil, value: every, headers: []),
                Content(key: every, value: every.reversed(), headers: headers),
                Content(key: [0], value: [0, 0, 0], headers: [KafkaHeader("zero", [0])]),
                Content(key: [], value: [0xFF, 0xFE, 0xC0], headers: [KafkaHeader("not-utf8", [0xC3, 0x28])]),
                Content(key: Array("key".utf8), value: [1], headers: (0..<60).map { KafkaHeader("h\($0)", "\($0)") }),
                Content(key: Array(repeating: 7, count: 5_000), value: [2], headers: [KafkaHeader("long", every)]),
            ])
        return .passed
    }

    private static func tombstones(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let key = Array("deleted".utf8)
        try await Self.compare(
            context,
            [
                Content(key: key, value: nil, headers: []),
                Content(key: key, value: [], headers: []),
                Content(key: key, value: nil, headers: [KafkaHeader("why", "asked for")]),
                Content(key: key, value: [], headers: [KafkaHeader("why", [])]),
                Content(key: nil, value: [], headers: []),
            ])
        return .passed
    }

    private static func large(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        var state: UInt64 = 0x2545_f491_4f6c_dd1d
        let values = (0..<3).map { _ in
            (0..<900_000).map { _ -> UInt8 in
                state ^= state << 13
                state ^= state >> 7
                state ^= state << 17
                return UInt8(truncatingIfNeeded: state >> 32)
            }
        }
        try await Self.compare(context, values.map { Content(key: Array("large".utf8), value: $0, headers: []) })
        return .passed
    }

    private static func bounds(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("bounds")
        let producer = try context.producer()
        let value = Array(repeating: UInt8(1), count: 1_000)
        let partition = topic.partitions[0].partition
        try await context.send(
            (0..<60).map { _ in KafkaRecord(topic: topic.name, partition: partition, value: value) }, by: producer)
        let reader = try await context.everything(of: topic)
        var count = 0
        while count < 30 {
            let records = try await context.one(reader, maximum: 7, maximumBytes: 8 << 20)
            try demand((1...7).contains(records.count), "expected 1 to 7 records, seen \(records.count)")
            count += records.count
        }
        while count < 50 {
            let records = try await context.one(reader, maximum: 500, maximumBytes: 2_500)
            try demand((1...3).contains(records.count), "expected 1 to 3 records of 1 kB, seen \(records.count)")
            count += records.count
        }
        let records = try await context.one(reader, maximum: 500, maximumBytes: 1)
        try demand(records.count, equals: 1, "records in an answer of at most a byte")
        return .passed
    }

    private struct Content: Equatable {
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [KafkaHeader]
    }

    /// Sends these to one partition, one at a time, and compares what comes back.
    private static func compare(_ context: ConformanceContext, _ contents: [Content]) async throws {
        let topic = try await context.topic("content")
        let producer = try context.producer()
        let partition = topic.partitions[0].partition
        for content in contents {
            let record = KafkaRecord(
                topic: topic.name, partition: partition, key: content.key, value: content.value,
                headers: content.headers)
            try await context.send([record], by: producer)
        }
        let read = try await context.read(try await context.everything(of: topic), count: contents.count)
        try demand(read.count, equals: contents.count, "records")
        for (number, (record, content)) in zip(read, contents).enumerated() {
            try demand(record.key, equals: content.key, "key of record \(number)")
            try demand(record.value == nil, equals: content.value == nil, "record \(number) is a tombstone")
            // Not shown: it may be large.
            try demand(
                record.value == content.value,
                "value of record \(number): expected the \(content.value?.count ?? 0) bytes that were sent, seen "
                    + "\(record.value?.count ?? 0) bytes")
            // The trace of the sender, where there is one.
            let headers = record.headers.filter { $0.name != "traceparent" && $0.name != "tracestate" }
            try demand(headers, equals: content.headers, "headers of record \(number)")
        }
    }
}

extension ConformanceContext {
    /// The records of one answer.
    fileprivate func one(
        _ reader: any EventReader, maximum: Int, maximumBytes: Int
    ) async throws -> [KafkaRecord] {
        try await self.read(reader, "a record comes", maximum: maximum, maximumBytes: maximumBytes) { !$0.isEmpty }
    }
}
