import LanternKafka
import Synchronization

/// A reader of ``InProcessTransport``.
final class InProcessReader: EventReader {
    struct Membership: Sendable {
        var group: String
        var topics: [TopicPattern]
    }

    private struct State {
        var events: [KafkaConsumer.Event] = []
        /// Told to the caller, and its own until it asks again.
        var leaving: [KafkaPartition] = []
        var announced: Set<KafkaPartition> = []
        var positions: [KafkaPartition: Int64] = [:]
        /// So that one partition does not starve the others.
        var turn = 0
        var isClosed = false
    }

    let id: Int
    let membership: Membership?
    private let transport: InProcessTransport
    private let state = Mutex(State())
    private let signal = WakeSignal()

    init(transport: InProcessTransport, id: Int, membership: Membership?) {
        self.transport = transport
        self.id = id
        self.membership = membership
    }

    func next(maximum: Int, maximumBytes: Int) async throws -> KafkaConsumer.Event {
        let released = self.state.withLock { state in
            defer { state.leaving = [] }
            for partition in state.leaving { state.positions[partition] = nil }
            return state.leaving
        }
        if !released.isEmpty, let membership {
            self.transport.released(released, by: self, group: membership.group)
        }
        while true {
            try Task.checkCancellation()
            if let event = try self.take(maximum: maximum, maximumBytes: maximumBytes) { return event }
            await self.signal.wait(atMost: .seconds(60))
        }
    }

    private func take(maximum: Int, maximumBytes: Int) throws -> KafkaConsumer.Event? {
        let (event, positions) = try self.state.withLock { state -> (KafkaConsumer.Event?, [(KafkaPartition, Int64)]) in
            guard !state.isClosed else { throw KafkaError(code: .closed, message: "the reader is closed") }
            if !state.events.isEmpty {
                let event = state.events.removeFirst()
                if case .revoked(let partitions) = event { state.leaving = partitions }
                return (event, [])
            }
            state.turn += 1
            let all = state.positions.sorted { ($0.key.topic, $0.key.partition) < ($1.key.topic, $1.key.partition) }
            let start = all.isEmpty ? 0 : state.turn % all.count
            return (nil, (all[start...] + all[..<start]).map { ($0.key, $0.value) })
        }
        if let event { return event }
        var records: [KafkaRecord] = []
        var bytes = 0
        for (partition, offset) in positions where records.count < maximum && bytes < maximumBytes {
            for record in self.transport.read(partition, from: offset, maximum: maximum - records.count) {
                records.append(record)
                bytes += record.value?.count ?? 0
                if bytes >= maximumBytes { break }
            }
        }
        guard !records.isEmpty else { return nil }
        self.state.withLock { state in
            for record in records {
                let partition = KafkaPartition(topic: record.topic, partition: record.partition ?? 0)
                if state.positions[partition] != nil { state.positions[partition] = (record.offset ?? 0) + 1 }
            }
        }
        return .records(records)
    }

    func assign(_ positions: [KafkaPosition]) throws {
        let resolved = positions.map { position -> (KafkaPartition, Int64) in
            switch position.offset {
            case .earliest, .committed: (position.partition, 0)
            case .latest: (position.partition, self.transport.end(of: position.partition))
            case .at(let offset): (position.partition, offset)
            }
        }
        self.state.withLock { state in
            for (partition, offset) in resolved { state.positions[partition] = offset }
        }
        self.signal.signal()
    }

    func seek(_ positions: [KafkaPosition]) throws {
        let held = self.state.withLock { Set($0.positions.keys) }
        try self.assign(positions.filter { held.contains($0.partition) })
    }

    func commit(_ offsets: [KafkaPartition: Int64]) {}

    func close() async {
        self.state.withLock { $0.isClosed = true }
        self.signal.signal()
        self.transport.leave(self.id)
    }

    // MARK: - For the transport

    func tell(_ event: KafkaConsumer.Event) {
        self.state.withLock { $0.events.append(event) }
        self.signal.signal()
    }

    /// Once for each partition, however often the group is shared out before the caller gives it up.
    func revoke(_ partitions: [KafkaPartition]) {
        let new = self.state.withLock { state in
            let new = partitions.filter { !state.announced.contains($0) }
            state.announced.formUnion(new)
            return new
        }
        if !new.isEmpty { self.tell(.revoked(new)) }
    }

    /// From now on these may come, and be taken away, again. Under the transport's lock, together with the end of ownership:
    /// a rebalance between the two would take away what the caller does not have any more.
    func gaveUp(_ partitions: [KafkaPartition]) {
        self.state.withLock { $0.announced.subtract(partitions) }
    }

    func wake() { self.signal.signal() }
}
