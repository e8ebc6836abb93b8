public import LanternEvents
public import LanternKafka
public import Logging
import Synchronization

/// What a check works with: names of its own, clients that are closed at its end, and waits that end.
public struct ConformanceContext: Sendable {
    public let transport: any EventTransport
    public let logger: Logger
    /// The longest wait for any one thing.
    public let patience: Duration
    private let prefix: String
    private let createTopic: ConformanceRun.TopicCreation?
    private let clients = OpenClients()

    init(
        transport: any EventTransport, logger: Logger, patience: Duration, prefix: String,
        createTopic: ConformanceRun.TopicCreation?
    ) {
        self.transport = transport
        self.logger = logger
        self.patience = patience
        self.createTopic = createTopic
        let number = String(UInt32.random(in: 0...UInt32.max), radix: 16)
        self.prefix = "\(prefix)-\(String(repeating: "0", count: 8 - number.count))\(number)"
    }

    /// A name that nobody else has: of letters, digits and `-` only, so that it means itself in a regular expression.
    public func name(_ purpose: String) -> String { "\(self.prefix)-\(purpose)" }

    /// A new topic.
    /// - Parameter partitions: How many are asked for; a transport that creates topics by itself may have others.
    public func topic(_ purpose: String, partitions: Int = 3) async throws -> ConformanceTopic {
        let name = self.name(purpose)
        if let createTopic = self.createTopic {
            try await self.within("the topic \(name) is created") { try await createTopic(name, partitions) }
        }
        let producer = try self.producer("topics")
        let count = try await self.until("the topic \(name) is there") { () async throws -> Int32? in
            do {
                return try await producer.partitionCount(of: name)
            } catch let error as KafkaError where error.code == .retriable {
                return nil
            }
        }
        try demand(count >= 1, "partitions of \(name): expected at least 1, seen \(count)")
        if self.createTopic != nil { try demand(Int(count), equals: partitions, "partitions of \(name)") }
        return ConformanceTopic(name: name, count: count)
    }

    /// Closed at the end of the check.
    public func producer(_ name: String = "producer") throws -> any EventProducer {
        let producer = try self.transport.makeProducer(name, logger: self.logger)
        self.atEnd { await producer.close(deadline: .seconds(5)) }
        return producer
    }

    /// A member of a group, closed at the end of the check.
    /// - Parameter group: Made unique by ``name(_:)``.
    public func consumer(group: String, topics: [String]) throws -> any EventReader {
        let reader = try self.transport.makeConsumer(group: self.name(group), topics: topics, logger: self.logger)
        self.atEnd { await reader.close() }
        return reader
    }

    /// A reader from now on, closed at the end of the check.
    public func reader(of topic: ConformanceTopic) async throws -> any EventReader {
        let reader = try await self.within("a reader of \(topic.name)") {
            try await self.transport.makeReader(of: topic.name, "reader", logger: self.logger)
        }
        self.atEnd { await reader.close() }
        return reader
    }

    /// A reader of all that a topic has, closed at the end of the check.
    public func everything(of topic: ConformanceTopic) async throws -> any EventReader {
        let reader = try await self.reader(of: topic)
        try reader.seek(topic.partitions.map { KafkaPosition($0, .earliest) })
        return reader
    }

    /// Runs at the end of the check; what is named last runs first.
    public func atEnd(_ closing: @escaping @Sendable () async -> Void) { self.clients.add(closing) }

    func close() async {
        for closing in self.clients.take().reversed() {
            // One that hangs does not keep the next check from running.
            try? await atMost(.seconds(20), "closing") { await closing() }
        }
    }
}

/// A topic of a check.
public struct ConformanceTopic: Sendable {
    public let name: String
    public let partitions: [KafkaPartition]

    init(name: String, count: Int32) {
        self.name = name
        self.partitions = (0..<count).map { KafkaPartition(topic: name, partition: $0) }
    }
}

private final class OpenClients: Sendable {
    private let closings = Mutex<[@Sendable () async -> Void]>([])

    func add(_ closing: @escaping @Sendable () async -> Void) { self.closings.withLock { $0.append(closing) } }

    func take() -> [@Sendable () async -> Void] {
        self.closings.withLock { closings in
            defer { closings = [] }
            return closings
        }
    }
}
