import CRDKafka
public import Logging

/// A topic as brokers describe it.
public struct KafkaTopicDescription: Sendable, Equatable {
    public struct Partition: Sendable, Equatable {
        public var id: Int32
        /// The broker that leads it; -1 where none does.
        public var leader: Int32
        public var replicas: Int
        public var inSync: Int
    }

    public var name: String
    public var partitions: [Partition]
}

/// A topic to create.
public struct KafkaTopicSpecification: Sendable {
    public var name: String
    public var partitions: Int
    /// `nil` leaves it to the broker's `default.replication.factor`.
    public var replicationFactor: Int?
    /// Topic properties of the broker, as `cleanup.policy` or `min.insync.replicas`.
    public var configuration: [String: String]

    public init(
        _ name: String, partitions: Int, replicationFactor: Int? = nil, configuration: [String: String] = [:]
    ) {
        self.name = name
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.configuration = configuration
    }
}

/// Looks at topics and groups, and creates topics. Each call takes a thread for its duration, and at most
/// ``timeout``. Safe from any task.
public final class KafkaAdmin: Sendable {
    private let handle: KafkaHandle
    private static let timeout: Int32 = 10_000

    /// - Throws: ``KafkaError`` with code `configuration`.
    public init(configuration: KafkaConfiguration, logger: Logger) throws {
        let raw = try configuration.make(defaults: ["log.connection.close": "false"])
        self.handle = try KafkaHandle(RD_KAFKA_PRODUCER, configuration: raw, callbacks: KafkaCallbacks(logger: logger))
    }

    /// Every topic that the user may see, by name.
    /// - Throws: ``KafkaError``, `retriable` where no broker answers in time.
    public func topics() async throws -> [KafkaTopicDescription] {
        try await self.handle.blocking("lantern-admin") { handle in
            try KafkaMetadata.topics(handle: handle).sorted { $0.name < $1.name }
        }
    }

    /// One topic; `nil` where there is none of the name.
    public func topic(_ name: String) async throws -> KafkaTopicDescription? {
        try await self.topics().first { $0.name == name }
    }

    /// The number of partitions of a topic, which is created where the broker does that by itself.
    /// - Throws: ``KafkaError``.
    public func partitionCount(of topic: String) async throws -> Int32 {
        try await self.handle.blocking("lantern-admin") { handle in
            try KafkaMetadata.partitionCount(of: topic, handle: handle)
        }
    }

    /// Creates a topic.
    /// - Returns: `false` where it exists already; it is left as it is then.
    /// - Throws: ``KafkaError``, with what the broker said. librdkafka's mock cluster never answers, which is `retriable`.
    @discardableResult
    public func create(_ topic: KafkaTopicSpecification) async throws -> Bool {
        try await self.handle.blocking("lantern-admin") { handle in
            var reason = [CChar](repeating: 0, count: 512)
            guard
                let new = rd_kafka_NewTopic_new(
                    topic.name, Int32(clamping: topic.partitions), Int32(clamping: topic.replicationFactor ?? -1),
                    &reason, reason.count)
            else {
                let text = String(decoding: reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                throw KafkaError(code: .configuration, message: "topic \(topic.name): \(text)")
            }
            defer { rd_kafka_NewTopic_destroy(new) }
            for (name, value) in topic.configuration { try check(rd_kafka_NewTopic_set_config(new, name, value)) }
            let queue = rd_kafka_queue_new(handle)
            defer { rd_kafka_queue_destroy(queue) }
            let options = rd_kafka_AdminOptions_new(handle, RD_KAFKA_ADMIN_OP_CREATETOPICS)
            defer { rd_kafka_AdminOptions_destroy(options) }
            rd_kafka_AdminOptions_set_request_timeout(options, Self.timeout, nil, 0)
            rd_kafka_AdminOptions_set_operation_timeout(options, Self.timeout, nil, 0)
            var topics: [OpaquePointer?] = [new]
            rd_kafka_CreateTopics(handle, &topics, 1, options, queue)
            return try Self.created(queue, topic.name)
        }
    }

    private static func created(_ queue: OpaquePointer?, _ name: String) throws -> Bool {
        guard let event = rd_kafka_queue_poll(queue, Self.timeout + 1_000) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)
        }
        defer { rd_kafka_event_destroy(event) }
        try check(rd_kafka_event_error(event))
        var count = 0
        guard let result = rd_kafka_event_CreateTopics_result(event),
            let topics = rd_kafka_CreateTopics_result_topics(result, &count), count == 1, let topic = topics[0]
        else { throw KafkaError(code: .other, message: "no answer for topic \(name)") }
        let error = rd_kafka_topic_result_error(topic)
        if error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS { return false }
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR else {
            var failure = KafkaError(error)
            if let text = rd_kafka_topic_result_error_string(topic) {
                failure.message = "topic \(name): \(String(cString: text))"
            }
            throw failure
        }
        return true
    }

    /// The first offset that a partition still has, and the one that the next record gets.
    /// - Throws: ``KafkaError``.
    public func offsets(of partition: KafkaPartition) async throws -> Range<Int64> {
        try await self.handle.blocking("lantern-admin") { handle in
            var low: Int64 = 0
            var high: Int64 = 0
            try check(
                rd_kafka_query_watermark_offsets(
                    handle, partition.topic, partition.partition, &low, &high, KafkaMetadata.timeout))
            return low..<max(low, high)
        }
    }

    /// How many records of a topic each partition still has for a group: those behind its committed offset, or all where it
    /// has committed none.
    /// - Throws: ``KafkaError``.
    public func lag(of group: String, topic: String) async throws -> [KafkaPartition: Int64] {
        guard let description = try await self.topic(topic) else { return [:] }
        let partitions = description.partitions.map { KafkaPartition(topic: topic, partition: $0.id) }
        let committed = try await self.committed(by: group, partitions)
        var lag: [KafkaPartition: Int64] = [:]
        for partition in partitions {
            let offsets = try await self.offsets(of: partition)
            lag[partition] = max(0, offsets.upperBound - max(offsets.lowerBound, committed[partition] ?? 0))
        }
        return lag
    }

    /// The offsets that a group has committed; partitions without one are left out.
    /// - Throws: ``KafkaError``.
    public func committed(
        by group: String, _ partitions: [KafkaPartition]
    ) async throws -> [KafkaPartition: Int64] {
        try await self.handle.blocking("lantern-admin") { handle in
            let queue = rd_kafka_queue_new(handle)
            defer { rd_kafka_queue_destroy(queue) }
            let options = rd_kafka_AdminOptions_new(handle, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS)
            defer { rd_kafka_AdminOptions_destroy(options) }
            rd_kafka_AdminOptions_set_request_timeout(options, Self.timeout, nil, 0)
            var request = KafkaPartitionList.with(partitions) { rd_kafka_ListConsumerGroupOffsets_new(group, $0) }
            defer { rd_kafka_ListConsumerGroupOffsets_destroy(request) }
            rd_kafka_ListConsumerGroupOffsets(handle, &request, 1, options, queue)
            guard let event = rd_kafka_queue_poll(queue, Self.timeout + 1_000) else {
                throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT)
            }
            defer { rd_kafka_event_destroy(event) }
            try check(rd_kafka_event_error(event))
            var count = 0
            guard let result = rd_kafka_event_ListConsumerGroupOffsets_result(event),
                let groups = rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count), count == 1,
                let answer = groups[0]
            else { throw KafkaError(code: .other, message: "no answer for group \(group)") }
            if let error = rd_kafka_group_result_error(answer) {
                throw KafkaError(rd_kafka_error_code(error))
            }
            return rd_kafka_group_result_partitions(answer).map { KafkaPartitionList.offsets($0) } ?? [:]
        }
    }

    /// Frees the connections. Calls under way finish first; later ones throw `closed`.
    public func close() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            do {
                try startKafkaThread("lantern-admin") {
                    self.handle.destroy()
                    continuation.resume()
                }
            } catch {
                continuation.resume()
            }
        }
    }
}
