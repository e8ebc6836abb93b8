import Foundation
import LanternKafka
public import LanternPostgres
public import Logging
public import ServiceLifecycle

/// Copies dead letters to their topic, for tools that watch topics. The rows stay the truth.
///
/// The rows are their own outbox: they take no sequence number, which the timeline would otherwise miss. One replica
/// publishes, elected by an advisory lock; two at once would send a letter twice, with the same id.
public final class DeadLetterPublisher: Service {
    private let topic: String
    private let database: PostgresClient
    private let lock: AdvisoryLock
    private let transport: any EventTransport
    private let logger: Logger

    private static let interval: Duration = .seconds(1)
    private static let batchSize = 100

    /// - Parameter service: Its letters go to `<service>.dead-letters.v1`.
    public init(
        service: String, database: PostgresClient, direct: PostgresClient, transport: any EventTransport, logger: Logger
    ) {
        self.topic = "\(service).dead-letters.v1"
        self.database = database
        self.lock = AdvisoryLock(client: direct, name: "lantern-dead-letters:\(service)")
        self.transport = transport
        self.logger = logger
    }

    public func run() async throws {
        do {
            try await cancelWhenGracefulShutdown {
                var attempt = 0
                while true {
                    let began = ContinuousClock.now
                    do {
                        try await self.lock.withLock(retry: .seconds(5)) { try await self.lead() }
                    } catch is CancellationError where Task.isCancelled {
                        throw CancellationError()
                    } catch {
                        attempt = ContinuousClock.now - began > .seconds(30) ? 1 : attempt + 1
                        self.logger.debug("dead letters cannot be published", error: error)
                    }
                    try await Task.sleep(for: .milliseconds(min(10_000, 500 << min(attempt, 5))))
                }
            }
        } catch is CancellationError {
            return
        }
    }

    private func lead() async throws {
        // Most services never have one: a client of Kafka only when there is something to send.
        var producer: (any EventProducer)?
        do {
            while true {
                let letters = try await self.unpublished()
                if !letters.isEmpty {
                    let sender = try producer ?? self.transport.makeProducer("dead-letters", logger: self.logger)
                    producer = sender
                    try await self.send(letters, sender)
                    try await self.database.query(
                        "UPDATE dead_letter SET published_at = clock_timestamp() WHERE id = ANY(\(letters.map(\.id)))"
                    )
                }
                if letters.count < Self.batchSize { try await Task.sleep(for: Self.interval) }
            }
        } catch {
            await producer?.close(deadline: .zero)
            throw error
        }
    }

    /// One that the brokers find too large goes without its value; one that is too large even so stays in the database only.
    private func send(_ letters: [DeadLetter], _ producer: any EventProducer) async throws {
        do {
            try await producer.send(letters.map { Self.record($0, topic: self.topic) })
        } catch let error as KafkaError where error.code == .tooLarge {
            for letter in letters {
                do {
                    try await producer.send([Self.record(letter, topic: self.topic)])
                } catch let error as KafkaError where error.code == .tooLarge {
                    try await self.sendWithoutValue(letter, producer)
                }
            }
        }
    }

    private func sendWithoutValue(_ letter: DeadLetter, _ producer: any EventProducer) async throws {
        var record = Self.record(letter, topic: self.topic)
        record.headers.append(KafkaHeader("lantern_dead_letter_omitted", "value"))
        record.value = nil
        do {
            try await producer.send([record])
        } catch let error as KafkaError where error.code == .tooLarge {
            self.logger.warning(
                "a dead letter is too large for its topic, and stands in the database only",
                metadata: ["dead_letter": "\(letter.id.uuidString.lowercased())"]
            )
        }
    }

    /// Relies on `dead_letter_unpublished`.
    private func unpublished() async throws -> [DeadLetter] {
        try await self.database.query(
            """
            SELECT \(DeadLetter.columns) FROM dead_letter
            WHERE published_at IS NULL ORDER BY id LIMIT \(Self.batchSize)
            """
        ).map { try DeadLetter($0) }
    }

    /// The record as it was, with what is known of its failure in headers of their own.
    static func record(_ letter: DeadLetter, topic: String) -> KafkaRecord {
        let headers = [
            KafkaHeader("lantern_dead_letter_id", letter.id.uuidString.lowercased()),
            KafkaHeader("lantern_dead_letter_reason", letter.reason),
            KafkaHeader("lantern_dead_letter_error", letter.error),
            KafkaHeader("lantern_dead_letter_consumer", letter.consumer),
            KafkaHeader("lantern_dead_letter_time", letter.recordedAt.description),
            KafkaHeader("lantern_dead_letter_topic", letter.record.topic),
            KafkaHeader("lantern_dead_letter_partition", "\(letter.record.partition ?? -1)"),
            KafkaHeader("lantern_dead_letter_offset", "\(letter.record.offset ?? -1)"),
        ]
        return KafkaRecord(
            topic: topic, key: letter.record.key, value: letter.record.value, headers: letter.record.headers + headers
        )
    }
}
