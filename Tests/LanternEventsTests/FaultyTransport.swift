import LanternEvents
import LanternKafka
import Logging
import Synchronization

/// A transport around another one, whose producers and readers do what a test tells them to.
struct FaultyTransport: EventTransport {
    typealias Send = @Sendable ([KafkaRecord]) async throws -> [KafkaProducer.Delivery]

    /// What was made so far.
    struct Made: Sendable {
        var producers = 0
        var closedProducers = 0
        /// Without a group, and in their place already.
        var readers = 0
    }

    private final class Counts: Sendable {
        let made = Mutex(Made())
    }

    private let base: any EventTransport
    private let counts = Counts()
    /// In the place of `send`: is given the records, and what really sends them.
    private let onSend: @Sendable ([KafkaRecord], @escaping Send) async throws -> [KafkaProducer.Delivery]

    /// What members of a group read through.
    var onRead: @Sendable (any EventReader) -> any EventReader = { $0 }
    /// How many partitions producers are told of.
    var onCount: @Sendable (Int32) -> Int32 = { $0 }
    /// The group that they really join.
    var onJoin: @Sendable (String) -> String = { $0 }

    init(
        _ base: any EventTransport,
        onSend:
            @escaping @Sendable ([KafkaRecord], @escaping Send) async throws -> [KafkaProducer.Delivery] = {
                try await $1($0)
            }
    ) {
        self.base = base
        self.onSend = onSend
    }

    var made: Made { self.counts.made.withLock { $0 } }

    func makeProducer(_ name: String, logger: Logger) throws -> any EventProducer {
        let producer = try self.base.makeProducer(name, logger: logger)
        self.counts.made.withLock { $0.producers += 1 }
        let counts = self.counts
        return Producer(
            base: producer, onSend: self.onSend, onCount: self.onCount,
            onClose: { counts.made.withLock { $0.closedProducers += 1 } })
    }

    func makeConsumer(group: String, topics: [String], logger: Logger) throws -> any EventReader {
        self.onRead(try self.base.makeConsumer(group: self.onJoin(group), topics: topics, logger: logger))
    }

    func makeReader(of topic: String, _ name: String, logger: Logger) async throws -> any EventReader {
        let reader = try await self.base.makeReader(of: topic, name, logger: logger)
        self.counts.made.withLock { $0.readers += 1 }
        return reader
    }

    private struct Producer: EventProducer {
        let base: any EventProducer
        let onSend: @Sendable ([KafkaRecord], @escaping Send) async throws -> [KafkaProducer.Delivery]
        let onCount: @Sendable (Int32) -> Int32
        let onClose: @Sendable () -> Void

        func send(_ records: [KafkaRecord]) async throws -> [KafkaProducer.Delivery] {
            let base = self.base
            return try await self.onSend(records) { try await base.send($0) }
        }

        func partitionCount(of topic: String) async throws -> Int32 {
            self.onCount(try await self.base.partitionCount(of: topic))
        }

        func close(deadline: Duration) async {
            self.onClose()
            await self.base.close(deadline: deadline)
        }
    }
}

extension KafkaRecord {
    /// Whether it is an event of a service, and none of the platform's own records.
    var isEvent: Bool { self.header("ce_type")?.hasPrefix("lantern.") != true }
}
