import CRDKafka
import Synchronization

/// librdkafka's handles of the topics that a producer sends to. By name librdkafka looks each record's topic up among all,
/// under a lock.
final class KafkaTopics: Sendable {
    /// A `rd_kafka_topic_t`. `@unchecked Sendable` is right because librdkafka's topics may be used from any thread;
    /// ``destroy()`` comes when nobody uses the client any more.
    private struct Topic: @unchecked Sendable {
        let raw: OpaquePointer
    }

    private struct State {
        /// Most senders send to one topic.
        var last: (name: String, topic: Topic)?
        var known: [String: Topic] = [:]
    }

    private static let maximum = 1_000
    private let state = Mutex(State())

    /// The handle of a topic of that client; `nil` where librdkafka refuses the name or there are too many: then the name
    /// goes with the record. For use within ``KafkaHandle/use(_:)``.
    func topic(_ name: String, of client: OpaquePointer) -> OpaquePointer? {
        self.state.withLock { state -> Topic? in
            if let last = state.last, last.name == name { return last.topic }
            if let topic = state.known[name] {
                state.last = (name, topic)
                return topic
            }
            guard state.known.count < Self.maximum, let raw = rd_kafka_topic_new(client, name, nil) else { return nil }
            let topic = Topic(raw: raw)
            state.known[name] = topic
            state.last = (name, topic)
            return topic
        }?.raw
    }

    /// Frees all; before the client is freed, when nobody uses it any more.
    func destroy() {
        let topics = self.state.withLock { state in
            defer { state = State() }
            return state.known.values.map { $0 }
        }
        for topic in topics { rd_kafka_topic_destroy(topic.raw) }
    }
}
