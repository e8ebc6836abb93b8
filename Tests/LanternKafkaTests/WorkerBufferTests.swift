@testable import LanternKafka
import LanternKafkaTesting
import Synchronization
import Testing

@Suite("What a worker holds in memory", .timeLimit(.minutes(2)))
struct WorkerBufferTests {
    @Test("records that are not done are no more than may be buffered, and all are handled in the end")
    func bound() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        try await fixture.fill(0..<300, partitions: [0, 1])
        let consumer = try fixture.consumer(properties: ["statistics.interval.ms": "100"])
        let taken = Taken(consumer, total: 300)
        let gate = Gate()
        let book = Book()
        let worker = KafkaWorker(
            consumer: consumer, concurrency: 2, maximumBuffered: 50, logger: fixture.logger
        ) { record in
            await gate.pass()
            book.ended(record, by: "worker")
        }
        let run = Task { try await worker.run() }
        try await wait(for: "the buffer to be full") { taken.isAtRest }
        #expect((25...50).contains(taken.count), "\(taken.count) records")
        gate.open()
        try await wait(for: "all records") { book.handled.count == 600 }
        #expect(Set(book.places).count == 600)
        run.cancel()
        try await run.value
        await consumer.close()
    }

    @Test("partitions that come while the buffer is full wait as well")
    func newPartitions() async throws {
        let fixture = try KafkaFixture(topics: ["t-1": 1])
        try await fixture.fill(0..<100, of: "t-1")
        let consumer = try fixture.consumer(
            topics: ["^t-.*"],
            properties: ["statistics.interval.ms": "100", "topic.metadata.refresh.interval.ms": "1000"])
        let taken = Taken(consumer, total: 100)
        let gate = Gate()
        let book = Book()
        let worker = KafkaWorker(consumer: consumer, maximumBuffered: 20, logger: fixture.logger) { record in
            await gate.pass()
            book.ended(record, by: "worker")
        }
        let run = Task { try await worker.run() }
        try await wait(for: "the buffer to be full") { taken.isAtRest }
        try fixture.broker.createTopic("t-2", partitions: 1)
        try await fixture.fill(0..<100, of: "t-2")
        try await wait(for: "the new topic") {
            consumer.callbacks.rebalancing.withLock { $0.assigned.contains { $0.topic == "t-2" } }
        }
        taken.watchAgain()
        try await wait(for: "the consumer to be at rest") { taken.isAtRest }
        #expect(taken.count <= 20, "\(taken.count) records")
        gate.open()
        try await wait(for: "all records") { book.handled.count == 200 }
        run.cancel()
        try await run.value
        await consumer.close()
    }
}

/// How many records a consumer has handed out, as librdkafka counts them.
private final class Taken: Sendable {
    private struct State {
        var taken: [KafkaPartition: Int64] = [:]
        /// How many reports have told the same.
        var unchanged = 0
    }

    private let state = Mutex(State())

    /// - Parameter total: What each partition has.
    init(_ consumer: KafkaConsumer, total: Int64) {
        consumer.callbacks.onStatistics.withLock { report in
            report = { statistics in
                self.state.withLock { state in
                    let taken = statistics.lag.mapValues { total - $0 }
                    state.unchanged = taken == state.taken ? state.unchanged + 1 : 0
                    state.taken = taken
                }
            }
        }
    }

    var count: Int { self.state.withLock { Int($0.taken.values.reduce(0, +)) } }

    /// Whether some were taken, and for a second no more.
    var isAtRest: Bool { self.state.withLock { $0.unchanged >= 10 && !$0.taken.isEmpty } }

    func watchAgain() { self.state.withLock { $0.unchanged = 0 } }
}
