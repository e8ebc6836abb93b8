@testable import LanternKafka
import LanternKafkaTesting
import Synchronization
import Testing

@Suite("A member of a group", .timeLimit(.minutes(2)))
struct ConsumerGroupTests {
    private let zero = KafkaPartition(topic: "t", partition: 0)
    private let one = KafkaPartition(topic: "t", partition: 1)

    // MARK: - Batches and their hooks

    @Test("partitions that come begin where the hook says, and a batch is committed behind its last record")
    func assignedHook() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        try await fixture.fill(0..<10, partitions: [0, 1])
        let consumer = try fixture.consumer()
        let asked = Mutex<Set<KafkaPartition>>([])
        let hooks = KafkaRebalanceHooks(assigned: { partitions in
            asked.withLock { $0.formUnion(partitions) }
            return partitions.map { KafkaPosition($0, .at($0.partition == 0 ? 4 : 8)) }
        })
        var numbers: [Int32: [Int]] = [:]
        for try await batch in consumer.batches(maximum: 3, hooks: hooks) {
            #expect(batch.records.count <= 3)
            for record in batch.records { numbers[record.partition ?? -1, default: []].append(record.number) }
            try await batch.commitAndWait()
            if numbers.values.reduce(0, { $0 + $1.count }) >= 8 { break }
        }
        #expect(numbers == [0: Array(4..<10), 1: [8, 9]])
        let told = asked.withLock { $0 }
        #expect(told == [self.zero, self.one])
        let admin = try fixture.admin()
        #expect(try await admin.committed(by: "group", [self.zero, self.one]) == [self.zero: 10, self.one: 10])
        await admin.close()
        await consumer.close()
    }

    @Test("partitions that go are another member's only when the hook has finished with them")
    func revokedHook() async throws {
        let fixture = try KafkaFixture(topics: ["t": 2])
        try await fixture.fill(0..<10, partitions: [0, 1])
        let database = Database()
        let first = try fixture.consumer("first")
        let firstWork = database.work(first)
        try await wait(for: "the first member to read all") { database.handled.count == 20 }
        let second = try fixture.consumer("second")
        let secondWork = database.work(second)
        try await wait(for: "the first member to save what it did") { !database.saved.isEmpty }
        try await fixture.fill(10..<15, partitions: [0, 1])
        try await wait(for: "both to read the rest") { database.handled.count >= 30 }
        let records = database.handled
        for partition in [self.zero, self.one] {
            let numbers = records.filter { $0.partition == partition.partition }.map(\.number)
            #expect(numbers == Array(0..<15), "\(partition)")
        }
        firstWork.cancel()
        secondWork.cancel()
        await first.close()
        await second.close()
    }

    @Test("an error of the hook ends the batches with it")
    func hookError() async throws {
        struct NoDatabase: Error {}
        let fixture = try KafkaFixture(topics: ["t": 1])
        let consumer = try fixture.consumer()
        let hooks = KafkaRebalanceHooks(assigned: { _ in throw NoDatabase() })
        await #expect(throws: NoDatabase.self) {
            for try await _ in consumer.batches(hooks: hooks) {}
        }
        await consumer.close()
    }

    @Test("a loop over batches ends without an error when its task is cancelled")
    func cancelledLoop() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<5)
        let consumer = try fixture.consumer()
        let count = Mutex(0)
        let loop = Task {
            for try await batch in consumer.batches() { count.withLock { $0 += batch.records.count } }
        }
        try await wait(for: "the records") { count.withLock { $0 } == 5 }
        loop.cancel()
        try await loop.value
        await consumer.close()
    }

    // MARK: - Committed offsets

    @Test("a group goes on where it committed, also when nobody waited for that")
    func resuming() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<20)
        let first = try fixture.consumer("first")
        _ = try await fixture.read(first, count: 20)
        try await first.commitAndWait([self.zero: 7])
        await first.close()
        let second = try fixture.consumer("second")
        let read = try await fixture.read(second, count: 13, start: .committed)
        #expect(read.map(\.number) == Array(7..<20))
        second.commit([self.zero: 12])
        let admin = try fixture.admin()
        try await wait(for: "the commit") { try await admin.committed(by: "group", [self.zero]) == [self.zero: 12] }
        #expect(try await admin.lag(of: "group", topic: "t") == [self.zero: 8])
        await second.close()
        await admin.close()
    }

    @Test("a consumer that is closed refuses everything, and a commit of it harms nobody")
    func closed() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        let consumer = try fixture.consumer()
        await consumer.close()
        for call: @Sendable () async throws -> Void in [
            { _ = try await consumer.next() },
            { try await consumer.commitAndWait([self.zero: 1]) },
            { try consumer.assign([KafkaPosition(self.zero, .earliest)]) },
            { try consumer.seek([KafkaPosition(self.zero, .earliest)]) },
            { try consumer.pause([self.zero]) },
            { for try await _ in consumer.batches() {} },
        ] {
            let error = await #expect(throws: KafkaError.self) { try await call() }
            #expect(error?.code == .closed)
        }
        consumer.commit([self.zero: 1])
        await consumer.close()
    }

    @Test("one that asks for nothing too long loses its partitions, may not commit, and gets them again")
    func lost() async throws {
        let fixture = try KafkaFixture(topics: ["t": 1])
        try await fixture.fill(0..<20)
        let consumer = try fixture.consumer(properties: ["max.poll.interval.ms": "6000"])
        _ = try await fixture.read(consumer, count: 5, maximum: 5)
        try await consumer.commitAndWait([self.zero: 3])
        try await wait(for: "the group to go on without it") {
            fixture.log.contains("maximum poll interval")
        }
        let error = await #expect(throws: KafkaError.self) { try await consumer.commitAndWait([self.zero: 5]) }
        #expect(error?.code == .fenced)
        var told: [String] = []
        var records: [KafkaRecord] = []
        while records.isEmpty {
            switch try await consumer.next() {
            case .assigned(let partitions):
                told.append("assigned \(partitions)")
                try consumer.assign(partitions.map { KafkaPosition($0, .committed) })
            case .revoked(let partitions): told.append("revoked \(partitions)")
            case .lost(let partitions): told.append("lost \(partitions)")
            case .records(let new): records = new
            }
        }
        #expect(told == ["lost [t/0]", "assigned [t/0]"])
        #expect(records.first?.number == 3)
        await consumer.close()
    }
}

/// Offsets as a service has them: in one place, written by whoever works.
private final class Database: Sendable {
    private struct State {
        var offsets: [KafkaPartition: Int64] = [:]
        var handled: [KafkaRecord] = []
    }

    private let state = Mutex(State())

    var saved: [KafkaPartition: Int64] { self.state.withLock { $0.offsets } }
    var handled: [KafkaRecord] { self.state.withLock { $0.handled } }

    /// Reads on where the database says, and says how far it is only when partitions go.
    func work(_ consumer: KafkaConsumer) -> Task<Void, any Error> {
        let unsaved = Mutex<[KafkaPartition: Int64]>([:])
        let hooks = KafkaRebalanceHooks(
            assigned: { partitions in
                let saved = self.saved
                return partitions.map { KafkaPosition($0, saved[$0].map { .at($0) } ?? .earliest) }
            },
            revoked: { _ in
                // Long enough that whoever has them too early reads the old offsets.
                try? await Task.sleep(for: .milliseconds(300))
                let offsets = unsaved.withLock { $0 }
                self.state.withLock { $0.offsets.merge(offsets) { $1 } }
            })
        return Task {
            for try await batch in consumer.batches(hooks: hooks) {
                self.state.withLock { $0.handled += batch.records }
                unsaved.withLock { $0.merge(batch.next) { $1 } }
            }
        }
    }
}
