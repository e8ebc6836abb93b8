import LanternKafka
public import Logging
import Synchronization

/// A transport within one process: topics, partitions, groups and rebalances as Kafka has them, in memory.
///
/// For tests, and for small systems whose services live in one process: what the process forgets at its end is sent again
/// from the outboxes, as with any transport that loses its data. Keeps at most ``maximumRecords`` for each partition.
public final class InProcessTransport: EventTransport {
    private struct Partition {
        var first: Int64 = 0
        var records: [KafkaRecord] = []
        var next: Int64 { self.first + Int64(self.records.count) }
    }

    private struct State {
        var topics: [String: [Partition]] = [:]
        var members: [Int: InProcessReader] = [:]
        var nextMember = 0
        /// Who has each partition of a group, from when it heard of it until it gave it up.
        var owners: [Owned: Int] = [:]

        func log(_ partition: KafkaPartition) -> Partition? {
            guard let partitions = self.topics[partition.topic], partitions.indices.contains(Int(partition.partition))
            else { return nil }
            return partitions[Int(partition.partition)]
        }
    }

    private struct Owned: Hashable {
        var group: String
        var partition: KafkaPartition
    }

    private let state = Mutex(State())
    private let partitionCount: Int
    private let maximumRecords: Int

    /// - Parameter partitions: Of a topic, which is created by the first who names it.
    public init(partitions: Int = 3, maximumRecords: Int = 100_000) {
        self.partitionCount = max(1, partitions)
        self.maximumRecords = max(1, maximumRecords)
    }

    public func makeProducer(_ name: String, logger: Logger) throws -> any EventProducer {
        InProcessProducer(transport: self)
    }

    public func makeConsumer(group: String, topics: [String], logger: Logger) throws -> any EventReader {
        try self.join(InProcessReader.Membership(group: group, topics: topics.map(TopicPattern.init)))
    }

    public func makeReader(of topic: String, _ name: String, logger: Logger) async throws -> any EventReader {
        let reader = try self.join(nil)
        let count = self.count(of: topic)
        try reader.assign((0..<count).map { KafkaPosition(KafkaPartition(topic: topic, partition: $0), .latest) })
        return reader
    }

    // MARK: - For producers and readers

    func count(of topic: String) -> Int32 {
        let (count, isNew) = self.state.withLock { state -> (Int, Bool) in
            if let known = state.topics[topic] { return (known.count, false) }
            state.topics[topic] = Array(repeating: Partition(), count: self.partitionCount)
            return (self.partitionCount, true)
        }
        if isNew { self.rebalance() }
        return Int32(count)
    }

    func append(_ records: [KafkaRecord]) throws -> [KafkaProducer.Delivery] {
        for topic in Set(records.map(\.topic)) { _ = self.count(of: topic) }
        let (deliveries, waiting) = try self.state.withLock { state in
            let deliveries = try records.map { try self.append($0, &state) }
            return (deliveries, Array(state.members.values))
        }
        for reader in waiting { reader.wake() }
        return deliveries
    }

    private func append(_ record: KafkaRecord, _ state: inout State) throws -> KafkaProducer.Delivery {
        let count = Int32(state.topics[record.topic]?.count ?? 0)
        let number = record.partition ?? Self.partition(for: record.key, of: count)
        guard number >= 0, number < count else {
            throw KafkaError(code: .other, message: "\(record.topic) has no partition \(number)")
        }
        var stored = record
        stored.partition = number
        let index = Int(number)
        let offset = state.topics[record.topic]?[index].next ?? 0
        stored.offset = offset
        state.topics[record.topic]?[index].records.append(stored)
        // In pieces: one at a time would move the rest each time.
        let surplus = (state.topics[record.topic]?[index].records.count ?? 0) - self.maximumRecords
        if surplus > self.maximumRecords / 10 {
            state.topics[record.topic]?[index].records.removeFirst(surplus)
            state.topics[record.topic]?[index].first += Int64(surplus)
        }
        return KafkaProducer.Delivery(partition: number, offset: offset)
    }

    private static func partition(for key: [UInt8]?, of count: Int32) -> Int32 {
        guard let key else { return Int32.random(in: 0..<max(1, count)) }
        var hash: UInt32 = 2_166_136_261
        for byte in key { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return Int32(hash % UInt32(max(1, count)))
    }

    /// Records from an offset on, and that offset as it is: one that is not there any more, or not yet, is the earliest.
    func read(_ partition: KafkaPartition, from offset: Int64, maximum: Int) -> ArraySlice<KafkaRecord> {
        self.state.withLock { state in
            guard let log = state.log(partition) else { return [] }
            let start = offset < log.first || offset > log.next ? log.first : offset
            let index = Int(start - log.first)
            return log.records[index..<min(log.records.count, index + maximum)]
        }
    }

    func end(of partition: KafkaPartition) -> Int64 {
        self.state.withLock { $0.log(partition)?.next ?? 0 }
    }

    // MARK: - Groups

    private func join(_ membership: InProcessReader.Membership?) throws -> InProcessReader {
        let reader = self.state.withLock { state in
            state.nextMember += 1
            let reader = InProcessReader(transport: self, id: state.nextMember, membership: membership)
            state.members[state.nextMember] = reader
            return reader
        }
        if membership != nil { self.rebalance() }
        return reader
    }

    func leave(_ id: Int) {
        self.state.withLock { state in
            state.members[id] = nil
            state.owners = state.owners.filter { $0.value != id }
        }
        self.rebalance()
    }

    /// A member has given partitions up.
    func released(_ partitions: [KafkaPartition], by member: InProcessReader, group: String) {
        self.state.withLock { state in
            for partition in partitions where state.owners[Owned(group: group, partition: partition)] == member.id {
                state.owners[Owned(group: group, partition: partition)] = nil
            }
            member.gaveUp(partitions)
        }
        self.rebalance()
    }

    /// Shares the partitions of each group among its members; one that moves is given up by its owner before it is
    /// assigned to another, as in Kafka's cooperative protocol.
    private func rebalance() {
        self.state.withLock { state in
            var revoked: [(InProcessReader, [KafkaPartition])] = []
            var assigned: [(InProcessReader, [KafkaPartition])] = []
            let groups = Set(state.members.values.compactMap { $0.membership?.group })
            for group in groups.sorted() {
                let members = state.members.values.filter { $0.membership?.group == group }.sorted { $0.id < $1.id }
                var wanted: [KafkaPartition: Int] = [:]
                for (topic, partitions) in state.topics.sorted(by: { $0.key < $1.key }) {
                    let interested = members.filter { $0.membership?.topics.contains { $0.matches(topic) } == true }
                    guard !interested.isEmpty else { continue }
                    for number in partitions.indices {
                        let partition = KafkaPartition(topic: topic, partition: Int32(number))
                        wanted[partition] = interested[number % interested.count].id
                    }
                }
                for member in members {
                    let leaving = state.owners.filter { owned, owner in
                        owned.group == group && owner == member.id && wanted[owned.partition] != member.id
                    }.map(\.key.partition)
                    if !leaving.isEmpty { revoked.append((member, leaving)) }
                    let coming = wanted.filter { partition, owner in
                        owner == member.id && state.owners[Owned(group: group, partition: partition)] == nil
                    }.map(\.key)
                    guard !coming.isEmpty else { continue }
                    for partition in coming { state.owners[Owned(group: group, partition: partition)] = member.id }
                    assigned.append((member, coming))
                }
            }
            // Under the lock, so that two rebalances are told in their order; a reader calls back without its own.
            for (reader, partitions) in revoked { reader.revoke(partitions) }
            for (reader, partitions) in assigned { reader.tell(.assigned(partitions)) }
        }
    }
}

private struct InProcessProducer: EventProducer {
    let transport: InProcessTransport

    func send(_ records: [KafkaRecord]) async throws -> [KafkaProducer.Delivery] {
        try Task.checkCancellation()
        return try self.transport.append(records)
    }

    func partitionCount(of topic: String) async throws -> Int32 { self.transport.count(of: topic) }

    func close(deadline: Duration) async {}
}

/// A topic's name, or a regular expression where it begins with `^`.
struct TopicPattern: Sendable {
    private let text: String

    init(_ text: String) { self.text = text }

    func matches(_ topic: String) -> Bool {
        guard self.text.hasPrefix("^") else { return self.text == topic }
        guard let pattern = try? Regex(self.text) else { return false }
        return topic.firstMatch(of: pattern) != nil
    }
}
