import CBrokerPort
import CRDKafka
import Synchronization

/// librdkafka's mock cluster as a broker for development and tests: a real Kafka-protocol endpoint on loopback that any
/// client of any language can use.
///
/// What it lacks against a broker (librdkafka 2.0.2): it keeps everything in memory, at most 5 MiB or 100,000 batches for
/// each partition; a restart loses all; no admin API, no ACLs, no log compaction; `offsets_for_times` answers nothing;
/// transactions are not isolated; a fetch with nothing to read waits out its `fetch.wait.max.ms`; a member whose session ends
/// while it waits to join (the process was frozen) is forgotten without an answer, and tries again after its
/// `max.poll.interval.ms`. Never rely on it for anything but this platform's own development.
public final class EmbeddedBroker: Sendable {
    /// A mock cluster and the client handle it lives in. `@unchecked Sendable` is right because librdkafka's mock calls
    /// hand their work to the cluster's own thread, and ``stop()`` frees both once.
    private struct Cluster: @unchecked Sendable {
        let handle: OpaquePointer
        let cluster: OpaquePointer
    }

    private let cluster: Mutex<Cluster?>

    /// `host:port` for `bootstrap.servers`.
    public let bootstrapServers: String

    /// Starts the broker.
    /// - Parameters:
    ///   - port: Where to listen on 127.0.0.1; 0 lets the system choose.
    ///   - topics: Topics to create, with their number of partitions.
    /// - Throws: ``EmbeddedBrokerError``, `portInUse` where the port is taken.
    public init(port: UInt16 = 0, topics: [String: Int] = [:]) throws {
        // librdkafka aborts the process where this would fail.
        if port != 0, lantern_broker_port_check(port) != 0 { throw EmbeddedBrokerError.portInUse(port) }
        var reason = [CChar](repeating: 0, count: 512)
        let configuration = rd_kafka_conf_new()
        // The handle is no client: keep it from logging that it knows no broker.
        rd_kafka_conf_set(configuration, "log_level", "0", &reason, reason.count)
        guard let handle = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, &reason, reason.count) else {
            rd_kafka_conf_destroy(configuration)
            throw EmbeddedBrokerError.failed("librdkafka could not start")
        }
        // No suspension between these calls: the port is remembered for this thread.
        lantern_broker_port_set(port)
        let cluster = rd_kafka_mock_cluster_new(handle, 1)
        let outcome = lantern_broker_port_clear()
        guard let cluster else {
            rd_kafka_destroy(handle)
            throw port != 0 && outcome > 0
                ? EmbeddedBrokerError.portInUse(port) : EmbeddedBrokerError.failed("the mock cluster could not start")
        }
        let servers = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
        if port != 0, outcome != 0 || !servers.hasSuffix(":\(port)") {
            rd_kafka_mock_cluster_destroy(cluster)
            rd_kafka_destroy(handle)
            throw outcome > 0
                ? EmbeddedBrokerError.portInUse(port)
                : EmbeddedBrokerError.failed("the broker listens on \(servers), not on port \(port)")
        }
        self.bootstrapServers = servers
        self.cluster = Mutex(Cluster(handle: handle, cluster: cluster))
        for (topic, partitions) in topics.sorted(by: { $0.key < $1.key }) {
            try self.createTopic(topic, partitions: partitions)
        }
    }

    deinit { self.stop() }

    /// Creates a topic; one that exists already is left as it is.
    public func createTopic(_ name: String, partitions: Int) throws {
        try self.cluster.withLock { state in
            guard let cluster = state else { throw EmbeddedBrokerError.failed("the broker has stopped") }
            let error = rd_kafka_mock_topic_create(cluster.cluster, name, Int32(partitions), 1)
            guard error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS else {
                throw EmbeddedBrokerError.failed("topic \(name): \(String(cString: rd_kafka_err2str(error)))")
            }
        }
    }

    /// Makes the broker unreachable, keeping data and port, or reachable again.
    public func setDown(_ down: Bool) {
        self.cluster.withLock { state in
            guard let cluster = state else { return }
            _ =
                down
                ? rd_kafka_mock_broker_set_down(cluster.cluster, 1) : rd_kafka_mock_broker_set_up(cluster.cluster, 1)
        }
    }

    /// A kind of request that errors can be injected into; the raw value is its key in the Kafka protocol.
    public enum Request: Int16, Sendable {
        case produce = 0
        case fetch = 1
        case metadata = 3
        case offsetCommit = 8
        case findCoordinator = 10
        case joinGroup = 11
        case heartbeat = 12
        case syncGroup = 14
        case initProducerID = 22
    }

    /// An error that the broker answers with; the raw value is its code in the Kafka protocol.
    public enum InjectedError: Int32, Sendable {
        case unknown = -1
        case requestTimedOut = 7
        case notLeaderForPartition = 6
        case notEnoughReplicas = 19
        case topicAuthorizationFailed = 29
        case groupAuthorizationFailed = 30
        case messageTooLarge = 10
        case illegalGeneration = 22
        case unknownMember = 25
        case rebalanceInProgress = 27
        case outOfOrderSequence = 45
        case duplicateSequence = 46
    }

    /// Delays every answer; zero ends it.
    public func setRoundTripTime(_ time: Duration) {
        let (seconds, attoseconds) = time.components
        let milliseconds = Int32(clamping: seconds * 1_000 + attoseconds / 1_000_000_000_000_000)
        self.cluster.withLock { state in
            guard let cluster = state else { return }
            _ = rd_kafka_mock_broker_set_rtt(cluster.cluster, 1, milliseconds)
        }
    }

    /// Answers the next requests of a kind with these errors, one each; later ones are answered as usual.
    public func inject(_ errors: [InjectedError], into request: Request) {
        self.cluster.withLock { state in
            guard let cluster = state else { return }
            var codes = errors.map { rd_kafka_resp_err_t(rawValue: $0.rawValue) }
            rd_kafka_mock_push_request_errors_array(cluster.cluster, request.rawValue, codes.count, &codes)
        }
    }

    /// Stops the broker; everything it holds is lost.
    public func stop() {
        self.cluster.withLock { state in
            guard let cluster = state else { return }
            state = nil
            rd_kafka_mock_cluster_destroy(cluster.cluster)
            rd_kafka_destroy(cluster.handle)
        }
    }
}

/// Why the embedded broker did not start.
public enum EmbeddedBrokerError: Error, CustomStringConvertible {
    case portInUse(UInt16)
    case failed(String)

    public var description: String {
        switch self {
        case .portInUse(let port): "port \(port) is in use"
        case .failed(let reason): "the embedded broker failed: \(reason)"
        }
    }
}
