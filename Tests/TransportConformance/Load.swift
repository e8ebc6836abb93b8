import LanternEvents
import LanternKafka
import Synchronization

/// Sends a record to each partition of a topic, again and again until it is told to end.
final class Load: Sendable {
    private struct State {
        var isEnding = false
        var sent: Set<Place> = []
        var number = 0
        var failure: String?
    }

    private let state = Mutex(State())
    private let producer: any EventProducer
    private let topic: ConformanceTopic
    private let done = Mutex<Task<Void, Never>?>(nil)

    /// Begins at once.
    init(_ producer: any EventProducer, _ topic: ConformanceTopic, every pause: Duration = .milliseconds(20)) {
        self.producer = producer
        self.topic = topic
        self.done.withLock { $0 = Task { await self.run(pause) } }
    }

    /// How many records are acknowledged.
    var count: Int { self.state.withLock { $0.sent.count } }

    /// Sends no more than what is under way.
    func end() { self.state.withLock { $0.isEnding = true } }

    /// Ends, and waits for what is under way.
    /// - Returns: All that was acknowledged.
    func finish(_ context: ConformanceContext) async throws -> Set<Place> {
        self.end()
        let task = self.done.withLock { $0 }
        try await context.within("the last records of the load are sent") {
            if let task { await task.value }
        }
        let (sent, failure) = self.state.withLock { ($0.sent, $0.failure) }
        if let failure { throw ConformanceFailure("expected that every send succeeds, seen \(failure)") }
        return sent
    }

    private func run(_ pause: Duration) async {
        while true {
            let next = self.state.withLock { state -> Int? in
                guard !state.isEnding else { return nil }
                defer { state.number += 1 }
                return state.number
            }
            guard let next else { return }
            do {
                let deliveries = try await self.producer.send(
                    self.topic.partitions.map { KafkaRecord($0, number: next) })
                let places = zip(self.topic.partitions, deliveries).map { Place(partition: $0, offset: $1.offset) }
                self.state.withLock { $0.sent.formUnion(places) }
                try await Task.sleep(for: pause)
            } catch {
                return self.state.withLock { $0.failure = "\(error)" }
            }
        }
    }
}
