@testable import LanternKafka
import LanternKafkaTesting
import Synchronization
import Testing

@Suite("Workers that share a group", .timeLimit(.minutes(3)))
struct WorkerGroupTests {
    @Test("a second worker joins under load: nothing is lost, and nothing that was committed is handled again")
    func joining() async throws {
        let fixture = try KafkaFixture(topics: ["t": 4])
        let book = Book()
        let load = try Sending(fixture, partitions: 4)
        let first = Working("first", try fixture.consumer("first"), fixture, book)
        try await wait(for: "the first worker to work") { book.handled.count > 200 }
        let second = Working("second", try fixture.consumer("second"), fixture, book)
        try await wait(for: "the second worker to work") { book.handled.contains { $0.worker == "second" } }
        let before = book.handled.count
        try await wait(for: "both to go on") { book.handled.count > before + 400 }
        let sent = try await load.end()
        try await wait(for: "all records") { Set(book.places).isSuperset(of: sent) }
        try await first.end()
        try await second.end()
        Self.expectOnce(book, fixture)
    }

    @Test("a worker that ends under load leaves its partitions where its work ends")
    func leaving() async throws {
        let fixture = try KafkaFixture(topics: ["t": 4])
        let book = Book()
        let load = try Sending(fixture, partitions: 4)
        let first = Working("first", try fixture.consumer("first"), fixture, book)
        let second = Working("second", try fixture.consumer("second"), fixture, book)
        try await wait(for: "both workers to work") { Set(book.handled.map(\.worker)).count == 2 }
        try await first.end()
        let before = book.handled.count
        try await wait(for: "the other to go on with all", within: .seconds(60)) {
            let since = book.handled.dropFirst(before)
            return Set(since.map(\.record.partition)).count == 4
        }
        let sent = try await load.end()
        try await wait(for: "all records") { Set(book.places).isSuperset(of: sent) }
        try await second.end()
        Self.expectOnce(book, fixture)
    }

    /// The embedded broker refuses commits while it waits for another member: then, and only then, records come again.
    private static func expectOnce(_ book: Book, _ fixture: KafkaFixture) {
        let refused = fixture.log.contains("will be handled again")
        let twice = Dictionary(grouping: book.handled, by: { Book.place($0.record) }).filter { $0.value.count > 1 }
        #expect(
            twice.isEmpty || refused,
            "\(twice.count) records twice: \(twice.mapValues { $0.map(\.worker) }.prefix(5))")
    }
}

/// A worker at work, until it is told to end.
private struct Working {
    private let consumer: KafkaConsumer
    private let run: Task<Void, any Error>

    init(_ name: String, _ consumer: KafkaConsumer, _ fixture: KafkaFixture, _ book: Book) {
        let worker = KafkaWorker(consumer: consumer, concurrency: 4, logger: fixture.logger) { record in
            await Task.yield()
            book.ended(record, by: name)
        }
        self.consumer = consumer
        self.run = Task { try await worker.run() }
    }

    func end() async throws {
        self.run.cancel()
        try await self.run.value
        await self.consumer.close()
    }
}

/// Records to each partition, again and again.
private final class Sending: Sendable {
    private let isEnding = Mutex(false)
    private let task = Mutex<Task<Set<String>, any Error>?>(nil)

    init(_ fixture: KafkaFixture, partitions: Int32) throws {
        let producer = try fixture.producer()
        self.task.withLock { task in
            task = Task {
                var sent: Set<String> = []
                while !self.isEnding.withLock({ $0 }) {
                    let records = (0..<partitions).map { KafkaRecord(topic: "t", partition: $0, value: [1]) }
                    for delivery in try await producer.send(records) {
                        sent.insert("\(delivery.partition)@\(delivery.offset)")
                    }
                    try await Task.sleep(for: .milliseconds(10))
                }
                await producer.close(deadline: .seconds(5))
                return sent
            }
        }
    }

    /// - Returns: Where all are that were sent.
    func end() async throws -> Set<String> {
        self.isEnding.withLock { $0 = true }
        let task = self.task.withLock { $0 }
        return try await task?.value ?? []
    }
}

extension Book {
    static func place(_ record: KafkaRecord) -> String { "\(record.partition ?? -1)@\(record.offset ?? -1)" }

    var places: [String] { self.handled.map { Self.place($0.record) } }
}
