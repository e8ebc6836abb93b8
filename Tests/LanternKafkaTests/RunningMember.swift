import LanternKafka
import Synchronization

/// A member of a group that reads in a task of its own, each partition from its committed offset on.
final class RunningMember: Sendable {
    private struct State {
        var held: Set<KafkaPartition> = []
        var records: [KafkaRecord] = []
    }

    private let consumer: KafkaConsumer
    private let state = Mutex(State())
    private let task = Mutex<Task<Void, any Error>?>(nil)

    init(_ consumer: KafkaConsumer) {
        self.consumer = consumer
        self.task.withLock { $0 = Task { try await self.run() } }
    }

    /// The partitions that it reads.
    var held: Set<KafkaPartition> { self.state.withLock { $0.held } }
    var records: [KafkaRecord] { self.state.withLock { $0.records } }

    func leave() async {
        let task = self.task.withLock { $0 }
        task?.cancel()
        _ = await task?.result
        await self.consumer.close()
    }

    private func run() async throws {
        while true {
            switch try await self.consumer.next() {
            case .assigned(let partitions):
                try self.consumer.assign(partitions.map { KafkaPosition($0, .committed) })
                self.state.withLock { $0.held.formUnion(partitions) }
            case .revoked(let partitions), .lost(let partitions):
                self.state.withLock { $0.held.subtract(partitions) }
            case .records(let records):
                self.state.withLock { $0.records += records }
            }
        }
    }
}
