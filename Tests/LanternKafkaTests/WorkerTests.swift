@testable import LanternKafka
import LanternKafkaTesting
import Synchronization
import Testing

@Suite("A worker", .timeLimit(.minutes(3)))
struct WorkerTests {
    private let zero = KafkaPartition(topic: "t", partition: 0)

    @Test("records of one key are handled in order, those of others beside them, each once")
    func order() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        let producer = try fixture.producer()
        for round in 0..<30 {
            try await producer.send(
                (0..<20).map {
                    KafkaRecord(topic: "t", key: Array("\($0)".utf8), value: Array("\(round)".utf8))
                })
        }
        let book = Book()
        let gate = Gate()
        let consumer = try fixture.consumer()
        let worker = KafkaWorker(consumer: consumer, concurrency: 8, logger: fixture.logger) { record in
            book.began()
            await gate.pass()
            await Task.yield()
            book.ended(record, by: "worker")
        }
        let run = Task { try await worker.run() }
        try await wait(for: "several handlers at once") { gate.held > 1 }
        gate.open()
        try await wait(for: "all records") { book.handled.count == 600 }
        run.cancel()
        try await run.value
        let byKey = Dictionary(grouping: book.handled, by: { $0.record.key ?? [] })
        #expect(byKey.count == 20)
        for (key, handled) in byKey {
            #expect(handled.map(\.record.number) == Array(0..<30), "key \(String(decoding: key, as: UTF8.self))")
        }
        #expect((2...8).contains(book.mostAtOnce), "\(book.mostAtOnce) at once")
        await consumer.close()
        await producer.close(deadline: .seconds(5))
    }

    @Test("the group's offset follows the work, also where no more records come")
    func idleCommit() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<10)
        let consumer = try fixture.consumer()
        let worker = KafkaWorker(consumer: consumer, logger: fixture.logger) { _ in }
        let run = Task { try await worker.run() }
        let admin = try fixture.admin()
        try await wait(for: "the offset behind the last record", within: .seconds(15)) {
            try await admin.committed(by: "group", [self.zero]) == [self.zero: 10]
        }
        run.cancel()
        try await run.value
        await consumer.close()
        await admin.close()
    }

    // MARK: - Failure and cancellation

    @Test("a handler's error ends the work, and the record is handled again by the next")
    func failure() async throws {
        struct Refusal: Error {}
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<20)
        let book = Book()
        let first = try fixture.consumer("first")
        let failing = KafkaWorker(consumer: first, concurrency: 1, logger: fixture.logger) { record in
            if record.number == 7 { throw Refusal() }
            book.ended(record, by: "first")
        }
        await #expect(throws: Refusal.self) { try await failing.run() }
        await first.close()
        let admin = try fixture.admin()
        #expect(try await admin.committed(by: "group", [self.zero]) == [self.zero: 7])
        let second = try fixture.consumer("second")
        let sound = KafkaWorker(consumer: second, concurrency: 1, logger: fixture.logger) { record in
            book.ended(record, by: "second")
        }
        let run = Task { try await sound.run() }
        try await wait(for: "the rest") { book.handled.count >= 20 }
        run.cancel()
        try await run.value
        #expect(book.handled.map(\.record.number) == Array(0..<20))
        #expect(book.handled.map(\.worker) == (0..<20).map { $0 < 7 ? "first" : "second" })
        await second.close()
        await admin.close()
    }

    @Test("no handler is left at work when the run has ended by another's error")
    func nobodyLeft() async throws {
        struct Refusal: Error {}
        let fixture = try KafkaFixture(topics: ["t": 1])
        let producer = try fixture.producer()
        let gate = Gate()
        let isCancelled = Mutex(false)
        let working = Mutex(0)
        let consumer = try fixture.consumer()
        let worker = KafkaWorker(consumer: consumer, concurrency: 16, logger: fixture.logger) { record in
            if record.number < 0 {
                // Once another is at work beside it.
                try await wait(for: "another handler") { gate.held > 0 }
                throw Refusal()
            }
            working.withLock { $0 += 1 }
            await withTaskCancellationHandler {
                await gate.pass()
            } onCancel: {
                isCancelled.withLock { $0 = true }
            }
            working.withLock { $0 -= 1 }
        }
        let run = Task { try await worker.run() }
        // The one that fails is the first of its lane.
        try await producer.send(
            (0..<40).map {
                KafkaRecord(topic: "t", key: Array("\($0)".utf8), value: Array("\($0 == 0 ? -1 : $0)".utf8))
            })
        // Handlers take a moment to end when they are told to.
        let opener = Task {
            try await wait(for: "the handlers to be told") { isCancelled.withLock { $0 } }
            try await Task.sleep(for: .milliseconds(300))
            gate.open()
        }
        await #expect(throws: Refusal.self) { try await run.value }
        let left = working.withLock { $0 }
        #expect(left == 0)
        gate.open()
        _ = await opener.result
        await consumer.close()
        await producer.close(deadline: .seconds(5))
    }

    @Test("a run that is cancelled finishes what is in flight, undisturbed, and commits it")
    func cancellation() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<30)
        let gate = Gate()
        let book = Book()
        let disturbed = Mutex(0)
        let consumer = try fixture.consumer()
        let worker = KafkaWorker(consumer: consumer, logger: fixture.logger) { record in
            await gate.pass()
            if Task.isCancelled { disturbed.withLock { $0 += 1 } }
            book.ended(record, by: "worker")
        }
        let run = Task { try await worker.run() }
        try await wait(for: "a handler at work") { gate.held > 0 }
        run.cancel()
        gate.open()
        try await run.value
        let count = disturbed.withLock { $0 }
        #expect(count == 0)
        let numbers = book.handled.map(\.record.number)
        #expect(numbers == Array(0..<numbers.count))
        #expect(!numbers.isEmpty)
        let admin = try fixture.admin()
        #expect(try await admin.committed(by: "group", [self.zero]) == [self.zero: Int64(numbers.count)])
        await consumer.close()
        await admin.close()
    }

    @Test("a handler that does not end is waited for no longer than the deadline, and its record comes again")
    func deadline() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<3)
        let gate = Gate()
        let consumer = try fixture.consumer()
        let worker = KafkaWorker(
            consumer: consumer, concurrency: 1, drainDeadline: .milliseconds(500), logger: fixture.logger
        ) { record in
            if record.number == 1 { await gate.pass() }
        }
        let run = Task { try await worker.run() }
        try await wait(for: "the handler that does not end") { gate.held == 1 }
        let start = ContinuousClock.now
        run.cancel()
        try await run.value
        #expect(start.duration(to: .now) < .seconds(5))
        #expect(fixture.log.contains("before their records are done"))
        let admin = try fixture.admin()
        #expect(try await admin.committed(by: "group", [self.zero]) == [self.zero: 1])
        gate.open()
        await consumer.close()
        await admin.close()
    }

    @Test("a second run with the same consumer goes on where the first one committed")
    func secondRun() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        try await fixture.fill(0..<20, partitions: [0, 1])
        let gate = Gate()
        let book = Book()
        let consumer = try fixture.consumer()
        let first = KafkaWorker(
            consumer: consumer, concurrency: 2, drainDeadline: .milliseconds(100), logger: fixture.logger
        ) { record in
            if record.number >= 10 { await gate.pass() }
            book.ended(record, by: "first")
        }
        let run = Task { try await first.run() }
        try await wait(for: "both lanes to be held") { gate.held == 2 }
        run.cancel()
        try await run.value

        let second = KafkaWorker(consumer: consumer, concurrency: 2, logger: fixture.logger) {
            book.ended($0, by: "second")
        }
        let again = Task { try await second.run() }
        try await wait(for: "the rest") { book.handled.count { $0.worker == "second" } >= 20 }
        again.cancel()
        try await again.value
        gate.open()
        for partition in [Int32(0), 1] {
            func numbers(_ worker: String) -> [Int] {
                book.handled.filter { $0.record.partition == partition && $0.worker == worker }.map(\.record.number)
            }
            #expect(numbers("second") == Array(10..<20))
            #expect(numbers("first").prefix(10) == Array(0..<10)[...])
        }
        await consumer.close()
    }

    @Test("a closed consumer ends the run with an error")
    func closedConsumer() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let consumer = try fixture.consumer()
        await consumer.close()
        let worker = KafkaWorker(consumer: consumer, logger: fixture.logger) { _ in }
        let error = await #expect(throws: KafkaError.self) { try await worker.run() }
        #expect(error?.code == .closed)
    }
}

/// What handlers did, in the order in which they ended.
final class Book: Sendable {
    struct Entry: Sendable {
        var record: KafkaRecord
        var worker: String
    }

    private struct State {
        var handled: [Entry] = []
        var now = 0
        var most = 0
    }

    private let state = Mutex(State())

    var handled: [Entry] { self.state.withLock { $0.handled } }

    /// Most handlers that were at work together, of those that told when they began.
    var mostAtOnce: Int { self.state.withLock { $0.most } }

    func began() {
        self.state.withLock { state in
            state.now += 1
            state.most = max(state.most, state.now)
        }
    }

    func ended(_ record: KafkaRecord, by worker: String) {
        self.state.withLock { state in
            state.now -= 1
            state.handled.append(Entry(record: record, worker: worker))
        }
    }
}
