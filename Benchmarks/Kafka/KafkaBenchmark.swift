import BenchmarkSupport
import BrokerProcess
import CEventsBaseline
import Foundation
import LanternKafka
import Logging

/// Producer and consumer beside the same loops in C, against one broker in a process of its own. Rounds in turns; the
/// middle one counts.
@main
enum KafkaBenchmark {
    static let size = 200
    static let rounds = 5
    static let partitions = 16
    /// The default of `next` and of `batches`.
    static let batch = 500

    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == BrokerProcess.argument { return try BrokerProcess.serve(arguments.dropFirst()) }
        let only = arguments.first
        func runs(_ name: String) -> Bool { only.map { name.contains($0) } ?? true }
        let topics = Dictionary(uniqueKeysWithValues: (0..<4).map { ("bench-\($0)", Self.partitions) })
        let broker = try BrokerProcess(
            topics: topics.merging(["lantern-baseline-warm-up": 1, "one": 1]) { $1 })
        defer { broker.stop() }
        if runs("produce-one-by-one") { try await Self.oneByOne(broker.servers) }
        if runs("produce-512-tasks") { try await Self.window(broker.servers) }
        if runs("consume-batches") { try await Self.consume(broker.servers) }
    }

    static func configuration(_ servers: String) -> KafkaConfiguration {
        KafkaConfiguration(
            bootstrapServers: servers,
            // As the baseline: where the queue is full librdkafka 2.0 rests for a second, which is all that would be measured.
            properties: [
                "fetch.wait.max.ms": "10", "queued.max.messages.kbytes": "1000000", "queued.min.messages": "1000000",
            ],
            clientID: "bench")
    }

    static let logger = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }

    /// The middle of several rounds, ours and theirs in turns: seconds for each.
    static func medians(
        _ ours: () async throws -> Double, _ theirs: () throws -> Double
    ) async throws -> (ours: Double, theirs: Double, spread: String) {
        var own: [Double] = []
        var other: [Double] = []
        for _ in 0..<Self.rounds {
            own.append(try await ours())
            other.append(try theirs())
        }
        own.sort()
        other.sort()
        let middle = Self.rounds / 2
        func range(_ values: [Double]) -> String {
            let best = values.first ?? 0
            let worst = values.last ?? 0
            let median = values[middle]
            return "-\(Int((1 - best / median) * 100))/+\(Int((worst / median - 1) * 100)) %"
        }
        return (own[middle], other[middle], "spread \(range(own)), \(range(other))")
    }

    /// Calls C; the error that it tells ends the benchmark.
    static func c(_ body: (UnsafeMutablePointer<CChar>, Int, UnsafeMutablePointer<Double>) -> Int32) throws -> Double {
        var seconds = 0.0
        var error = [CChar](repeating: 0, count: 512)
        guard body(&error, error.count, &seconds) == 0 else {
            throw BaselineError(
                description: String(decoding: error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        return seconds
    }

    struct BaselineError: Error, CustomStringConvertible { var description: String }

    static func seconds(since start: ContinuousClock.Instant) -> Double {
        start.duration(to: .now).inNanoseconds / 1e9
    }

    static func oneByOne(_ servers: String) async throws {
        let count = 5_000
        let producer = try KafkaProducer(configuration: Self.configuration(servers), logger: Self.logger)
        let record = KafkaRecord(topic: "one", value: [UInt8](repeating: 65, count: Self.size))
        for _ in 0..<100 { try await producer.send(record) }
        let result = try await Self.medians {
            let start = ContinuousClock.now
            for _ in 0..<count { try await producer.send(record) }
            return Self.seconds(since: start)
        } _: {
            try Self.c { lantern_c_produce_sequential(servers, "one", count, Self.size, $0, $1, $2) }
        }
        await producer.close(deadline: .seconds(5))
        Comparison(
            name: "produce-one-by-one", ours: result.ours / Double(count) * 1e6,
            baseline: result.theirs / Double(count) * 1e6, unit: "µs",
            what:
                "the same loop in C, to acknowledgement, \(Self.size) B; bar: at most 3 times as long; \(result.spread)"
        ).report()
    }

    static func window(_ servers: String) async throws {
        let tasks = 512
        let each = 200
        let producer = try KafkaProducer(configuration: Self.configuration(servers), logger: Self.logger)
        let record = KafkaRecord(topic: "bench-0", value: [UInt8](repeating: 65, count: Self.size))
        let result = try await Self.medians {
            let start = ContinuousClock.now
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<tasks {
                    group.addTask { for _ in 0..<each { try await producer.send(record) } }
                }
                try await group.waitForAll()
            }
            return Self.seconds(since: start)
        } _: {
            try Self.c { lantern_c_produce_window(servers, "bench-0", tasks * each, Self.size, tasks, $0, $1, $2) }
        }
        let count = Double(tasks * each)
        Comparison(
            name: "produce-512-tasks", ours: result.ours / count * 1e9, baseline: result.theirs / count * 1e9,
            unit: "ns",
            what: "C with 512 in flight; bar: at least 0.6 times as many; \(Int(count / result.ours)) a second"
                + " and \(Int(count / result.theirs)); \(result.spread)"
        ).report()
        // What a caller does that has many records at hand.
        let batch = Array(repeating: record, count: tasks)
        let batched = try await Self.medians {
            let start = ContinuousClock.now
            for _ in 0..<each { try await producer.send(batch) }
            return Self.seconds(since: start)
        } _: {
            try Self.c { lantern_c_produce_window(servers, "bench-0", tasks * each, Self.size, tasks, $0, $1, $2) }
        }
        await producer.close(deadline: .seconds(5))
        Comparison(
            name: "produce-batches-of-512", ours: batched.ours / count * 1e9, baseline: batched.theirs / count * 1e9,
            unit: "ns",
            what:
                "C with 512 in flight; \(Int(count / batched.ours)) a second and \(Int(count / batched.theirs)); \(batched.spread)"
        ).report()
    }

    static func consume(_ servers: String) async throws {
        // The embedded broker keeps 5 MiB of a partition.
        let count = 16_000 * Self.partitions
        let producer = try KafkaProducer(configuration: Self.configuration(servers), logger: Self.logger)
        let value = [UInt8](repeating: 65, count: Self.size)
        for number in 0..<Self.partitions {
            let records = Array(
                repeating: KafkaRecord(topic: "bench-1", partition: Int32(number), value: value), count: 1_000)
            for _ in 0..<(count / Self.partitions / 1_000) { try await producer.send(records) }
        }
        await producer.close(deadline: .seconds(5))
        let positions = (0..<Self.partitions).map {
            KafkaPosition(KafkaPartition(topic: "bench-1", partition: Int32($0)), .earliest)
        }
        let result = try await Self.medians {
            let consumer = try KafkaConsumer(
                configuration: Self.configuration(servers), reading: positions, logger: Self.logger)
            var seen = 0
            var sum = 0
            var start: ContinuousClock.Instant?
            while seen < count {
                guard case .records(let records) = try await consumer.next(maximum: Self.batch) else { continue }
                if start == nil { start = .now }
                seen += records.count
                for record in records { sum += record.value?.count ?? 0 }
            }
            let seconds = Self.seconds(since: start ?? .now)
            await consumer.close()
            guard sum == count * Self.size else { throw BaselineError(description: "records came changed") }
            return seconds
        } _: {
            try Self.c { lantern_c_consume(servers, "bench-1", count, Self.batch, $0, $1, $2) }
        }
        Comparison(
            name: "consume-batches", ours: result.ours / Double(count) * 1e9,
            baseline: result.theirs / Double(count) * 1e9, unit: "ns",
            what:
                "C in batches of \(Self.batch); bar: at least 0.6 times as many; \(Int(Double(count) / result.ours)) a second"
                + " and \(Int(Double(count) / result.theirs)); \(result.spread)"
        ).report()
    }
}
