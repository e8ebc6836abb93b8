@testable import LanternKafka
import LanternKafkaTesting
import Logging
import Synchronization
import TestSupport
import Testing

/// A broker of a test's own, with clients of it, and what they log.
struct KafkaFixture: Sendable {
    let broker: EmbeddedBroker
    let log = LogLines()

    init(topics: [String: Int]) throws { self.broker = try EmbeddedBroker(topics: topics) }

    var logger: Logger { Logger(label: "test") { _ in LogLines.Handler(lines: self.log) } }

    func configuration(_ name: String, _ properties: [String: String] = [:]) -> KafkaConfiguration {
        let common = ["fetch.wait.max.ms": "10", "session.timeout.ms": "6000", "reconnect.backoff.max.ms": "200"]
        return KafkaConfiguration(
            bootstrapServers: self.broker.bootstrapServers, properties: common.merging(properties) { $1 },
            clientID: name)
    }

    /// One without statistics of its own, so that nothing but records is in its queues.
    func producer(_ limits: KafkaProducer.Limits = KafkaProducer.Limits()) throws -> KafkaProducer {
        try KafkaProducer(
            configuration: self.configuration("producer", ["statistics.interval.ms": "0"]), limits: limits,
            logger: self.logger)
    }

    func consumer(
        _ name: String = "consumer", group: String = "group", topics: [String] = ["t"],
        properties: [String: String] = [:]
    ) throws -> KafkaConsumer {
        try KafkaConsumer(
            configuration: self.configuration(name, properties), group: group, topics: topics, logger: self.logger)
    }

    func admin() throws -> KafkaAdmin {
        try KafkaAdmin(configuration: self.configuration("admin"), logger: self.logger)
    }

    /// Sends records with these numbers to each of these partitions.
    func fill(_ numbers: Range<Int>, of topic: String = "t", partitions: [Int32] = [0]) async throws {
        let producer = try self.producer()
        try await producer.send(
            partitions.flatMap { partition in
                numbers.map { KafkaRecord(topic: topic, partition: partition, value: Array("\($0)".utf8)) }
            })
        await producer.close(deadline: .seconds(5))
    }

    /// Reads until so many records came.
    func read(
        _ consumer: KafkaConsumer, count: Int, maximum: Int = 500, start: KafkaPosition.Offset = .earliest
    ) async throws -> [KafkaRecord] {
        var records: [KafkaRecord] = []
        while records.count < count {
            switch try await consumer.next(maximum: maximum) {
            case .assigned(let partitions): try consumer.assign(partitions.map { KafkaPosition($0, start) })
            case .revoked, .lost: break
            case .records(let new): records += new
            }
        }
        return records
    }
}

/// Waits until a condition holds; the test ends where it does not in time.
func wait(
    for what: String, within limit: Duration = .seconds(40), sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let holds: Bool? = try await eventually(within: limit) { try await condition() ? true : nil }
    try #require(holds == true, "waited in vain for \(what)", sourceLocation: sourceLocation)
}

/// What was logged, as text.
final class LogLines: Sendable {
    private let texts = Mutex<[String]>([])

    func contains(_ text: String) -> Bool { self.texts.withLock { $0.contains { $0.contains(text) } } }

    struct Handler: LogHandler {
        let lines: LogLines
        var logLevel = Logger.Level.warning
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            self.lines.texts.withLock { $0.append("\(event.level) \(event.message)") }
        }
    }
}

/// Holds whoever comes until it is opened. It does not hear of cancellation: what it holds is at work.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var held: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// How many it holds.
    var held: Int { self.state.withLock { $0.held.count } }

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = self.state.withLock { state -> Bool in
                if !state.isOpen { state.held.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let held = self.state.withLock { state -> [CheckedContinuation<Void, Never>] in
            defer { state.held = [] }
            state.isOpen = true
            return state.held
        }
        for continuation in held { continuation.resume() }
    }
}

extension KafkaRecord {
    /// What `KafkaFixture.fill` numbered it with.
    var number: Int { self.value.flatMap { Int(String(decoding: $0, as: UTF8.self)) } ?? -1 }
}
