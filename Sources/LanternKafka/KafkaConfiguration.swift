import CRDKafka

/// How to reach Kafka: brokers, and any property of librdkafka.
public struct KafkaConfiguration: Sendable {
    /// `host:port`, several joined by commas.
    public var bootstrapServers: String
    /// librdkafka properties (`security.protocol`, `sasl.username`, …); they win over the defaults of this module.
    public var properties: [String: String]
    /// Shown to the broker, and in metrics.
    public var clientID: String

    public init(bootstrapServers: String, properties: [String: String] = [:], clientID: String) {
        self.bootstrapServers = bootstrapServers
        self.properties = properties
        self.clientID = clientID
    }

    /// The first property that librdkafka does not know or whose value it does not take; `nil` if all are right.
    public var invalidProperty: String? {
        let scratch = rd_kafka_conf_new()
        defer { rd_kafka_conf_destroy(scratch) }
        return self.properties.sorted { $0.key < $1.key }.first { name, value in
            rd_kafka_conf_set(scratch, name, value, nil, 0) != RD_KAFKA_CONF_OK
        }?.key
    }

    /// A librdkafka configuration with these defaults, overlaid by the properties.
    /// - Throws: ``KafkaError`` with code `configuration`, naming the property.
    func make(defaults: [String: String]) throws -> OpaquePointer {
        guard let configuration = rd_kafka_conf_new() else {
            throw KafkaError(code: .configuration, message: "out of memory")
        }
        var all = defaults
        all.merge(self.properties) { _, own in own }
        all["bootstrap.servers"] = self.bootstrapServers
        all["client.id"] = self.clientID
        for (name, value) in all.sorted(by: { $0.key < $1.key }) {
            var reason = [CChar](repeating: 0, count: 512)
            guard rd_kafka_conf_set(configuration, name, value, &reason, reason.count) == RD_KAFKA_CONF_OK else {
                rd_kafka_conf_destroy(configuration)
                // librdkafka's reason repeats the value, which may be a password.
                throw KafkaError(code: .configuration, message: "librdkafka does not take the property \(name)")
            }
        }
        return configuration
    }
}

/// What went wrong with Kafka.
public struct KafkaError: Error, Sendable, CustomStringConvertible {
    /// Stable; also the label of metrics.
    public enum Code: String, Sendable {
        case configuration
        /// May work when tried again.
        case retriable
        /// The client can do nothing more; only a new one can.
        case fatal
        case authorization
        case tooLarge = "too_large"
        /// The partitions belong to another member of the group by now.
        case fenced
        /// Not delivered before the client was closed.
        case closed
        case other
    }

    public var code: Code
    public var message: String

    public init(code: Code, message: String) {
        self.code = code
        self.message = message
    }

    init(_ error: rd_kafka_resp_err_t) {
        self.message = String(cString: rd_kafka_err2str(error))
        switch error {
        case RD_KAFKA_RESP_ERR__FATAL: self.code = .fatal
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: self.code = .tooLarge
        case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
            self.code = .fenced
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR__AUTHENTICATION:
            self.code = .authorization
        case RD_KAFKA_RESP_ERR__PURGE_QUEUE, RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, RD_KAFKA_RESP_ERR__DESTROY:
            self.code = .closed
        case RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__TIMED_OUT,
            RD_KAFKA_RESP_ERR__QUEUE_FULL, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
            RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
            self.code = .retriable
        default: self.code = .other
        }
    }

    public var description: String { "Kafka \(self.code.rawValue): \(self.message)" }
}
