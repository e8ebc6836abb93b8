public import LanternKafka
public import Logging

/// What carries records from outboxes to consumers. Apache Kafka by ``KafkaTransport``; ``InProcessTransport`` for tests and
/// for systems of one process.
///
/// What every transport promises, and the conformance suite holds it against:
/// - A topic has partitions, at least one. A record with a partition goes there; one without goes where its key says, the
///   same key always to the same partition while their number stays.
/// - The records of one partition have rising offsets, and records of one `send` keep their order within it.
/// - `send` answers when the records are kept as safely as the transport keeps anything.
/// - Each partition belongs to at most one member of a group that has heard of it and not been told otherwise.
/// - A consumer begins where it is told to; what lies before or behind what the transport still has begins at the earliest.
public protocol EventTransport: Sendable {
    /// Makes its metrics with the factory that is current here.
    /// - Parameter name: Tells clients of a process apart, in the transport's own logs and metrics.
    func makeProducer(_ name: String, logger: Logger) throws -> any EventProducer

    /// Joins a group.
    /// - Parameter topics: Names, or regular expressions where they begin with `^`.
    func makeConsumer(group: String, topics: [String], logger: Logger) throws -> any EventReader

    /// Reads all partitions of a topic from now on, without a group.
    /// - Throws: Where the topic's partitions cannot be found out.
    func makeReader(of topic: String, _ name: String, logger: Logger) async throws -> any EventReader
}

/// Sends records.
public protocol EventProducer: Sendable {
    /// Sends records in order; answers where each is, in the same order, once all are kept.
    @discardableResult
    func send(_ records: [KafkaRecord]) async throws -> [KafkaProducer.Delivery]

    /// The number of partitions of a topic, which is created where the transport does that by itself.
    func partitionCount(of topic: String) async throws -> Int32

    /// Waits for what is under way, at most `deadline`.
    func close(deadline: Duration) async
}

/// Reads records when asked to; see ``KafkaConsumer`` for the exact meaning of each.
public protocol EventReader: Sendable {
    func next(maximum: Int, maximumBytes: Int) async throws -> KafkaConsumer.Event
    func assign(_ positions: [KafkaPosition]) throws
    func seek(_ positions: [KafkaPosition]) throws
    /// Says how far the work is; a hint, where the truth is in a database.
    func commit(_ offsets: [KafkaPartition: Int64])
    func close() async
}

extension KafkaProducer: EventProducer {}
extension KafkaConsumer: EventReader {}

/// Apache Kafka, or what speaks its protocol.
public struct KafkaTransport: EventTransport {
    public var configuration: KafkaConfiguration

    /// - Parameter configuration: Its `clientID` is the prefix of the clients' names.
    public init(_ configuration: KafkaConfiguration) {
        self.configuration = configuration
    }

    private func configuration(_ name: String) -> KafkaConfiguration {
        var configuration = self.configuration
        configuration.clientID = "\(configuration.clientID)-\(name)"
        return configuration
    }

    public func makeProducer(_ name: String, logger: Logger) throws -> any EventProducer {
        try KafkaProducer(configuration: self.configuration(name), logger: logger)
    }

    public func makeConsumer(group: String, topics: [String], logger: Logger) throws -> any EventReader {
        try KafkaConsumer(configuration: self.configuration(group), group: group, topics: topics, logger: logger)
    }

    public func makeReader(of topic: String, _ name: String, logger: Logger) async throws -> any EventReader {
        let admin = try KafkaAdmin(configuration: self.configuration(name), logger: logger)
        let positions: [KafkaPosition]
        do {
            positions = try await Self.ends(of: topic, admin)
        } catch {
            await admin.close()
            throw error
        }
        await admin.close()
        return try KafkaConsumer(configuration: self.configuration(name), reading: positions, logger: logger)
    }

    /// Where the partitions end now. A consumer that is told to begin at the end finds out later where that is.
    private static func ends(of topic: String, _ admin: KafkaAdmin) async throws -> [KafkaPosition] {
        var positions: [KafkaPosition] = []
        for number in 0..<(try await admin.partitionCount(of: topic)) {
            let partition = KafkaPartition(topic: topic, partition: number)
            positions.append(KafkaPosition(partition, .at(try await admin.offsets(of: partition).upperBound)))
        }
        return positions
    }
}
