import LanternKafka
import Synchronization

/// What the members of a group are told and do, in one place: who has which partition, which records were handled, and,
/// as a service has it in its database, where each partition goes on.
final class GroupLog: Sendable {
    struct Handling: Sendable {
        var place: Place
        var member: String
    }

    private struct State {
        var owners: [KafkaPartition: String] = [:]
        var next: [KafkaPartition: Int64] = [:]
        var handled: [Handling] = []
        var revocations: [String: Set<KafkaPartition>] = [:]
        var faults: [String] = []
    }

    private let state = Mutex(State())

    // MARK: - What members tell

    /// - Returns: Where the partitions go on.
    func assigned(_ partitions: [KafkaPartition], to member: String) -> [KafkaPosition] {
        self.state.withLock { state in
            for partition in partitions {
                if let owner = state.owners[partition] {
                    state.faults.append("\(partition) was assigned to \(member) while \(owner) had it")
                }
                state.owners[partition] = member
            }
            return partitions.map { partition in
                KafkaPosition(partition, state.next[partition].map { .at($0) } ?? .earliest)
            }
        }
    }

    /// The member has them until it asks for the next event: then comes ``released(_:by:)``.
    func revoked(_ partitions: [KafkaPartition], from member: String) {
        self.state.withLock { state in
            for partition in partitions where state.owners[partition] != member {
                state.faults.append("\(partition) was taken from \(member), which did not have it")
            }
            state.revocations[member, default: []].formUnion(partitions)
        }
    }

    func released(_ partitions: [KafkaPartition], by member: String) {
        self.state.withLock { state in
            for partition in partitions where state.owners[partition] == member { state.owners[partition] = nil }
        }
    }

    func left(_ member: String) {
        self.state.withLock { state in state.owners = state.owners.filter { $0.value != member } }
    }

    func handled(_ records: [KafkaRecord], by member: String) {
        self.state.withLock { state in
            for place in records.places {
                if state.owners[place.partition] != member {
                    state.faults.append("\(member) was given \(place), whose partition it did not have")
                }
                state.handled.append(Handling(place: place, member: member))
            }
        }
    }

    /// Says how far the work is.
    func store(_ next: [KafkaPartition: Int64]) {
        self.state.withLock { $0.next.merge(next) { _, new in new } }
    }

    func fault(_ text: String) { self.state.withLock { $0.faults.append(text) } }

    // MARK: - What checks ask

    /// How many different records were handled.
    var handledCount: Int { self.handledPlaces.count }

    var handledPlaces: Set<Place> { self.state.withLock { Set($0.handled.map(\.place)) } }

    func partitions(of member: String) -> Set<KafkaPartition> {
        self.state.withLock { state in Set(state.owners.filter { $0.value == member }.keys) }
    }

    /// All that was ever taken from a member.
    func revoked(from member: String) -> Set<KafkaPartition> {
        self.state.withLock { $0.revocations[member] ?? [] }
    }

    /// Whether these members have all partitions between them, none more than one above another.
    func isShared(_ topic: ConformanceTopic, among members: [String]) -> Bool {
        let counts = members.map { self.partitions(of: $0).count }
        guard let least = counts.min(), let most = counts.max() else { return false }
        return counts.reduce(0, +) == topic.partitions.count && most - least <= 1
    }

    /// Who has what, for messages.
    var summary: String {
        self.state.withLock { state in
            let owners = state.owners.sorted { $0.key.description < $1.key.description }
            let shares = owners.map { "\($0.key.partition): \($0.value)" }.joined(separator: ", ")
            let faults = state.faults.isEmpty ? "" : ", faults: \(state.faults.joined(separator: "; "))"
            return "partitions [\(shares)], \(state.handled.count) records\(faults)"
        }
    }

    /// - Throws: ``ConformanceFailure`` where a member was told what does not fit together.
    func demandNoFault() throws {
        let faults = self.state.withLock { $0.faults }
        try demand(faults.isEmpty, "expected that each partition is at one member, seen: \(short(faults))")
    }

    /// - Throws: ``ConformanceFailure`` where a record of these was handled more than once.
    func demandOnce(_ partitions: [KafkaPartition]) throws {
        let handled = self.state.withLock { $0.handled }
        let all = Set(partitions)
        let byPlace = Dictionary(grouping: handled.filter { all.contains($0.place.partition) }, by: \.place)
        let twice = byPlace.filter { $0.value.count > 1 }.mapValues { $0.map(\.member) }
        try demand(twice.isEmpty, "expected each record once, seen \(twice.count) more often: \(short(twice))")
    }

    /// - Throws: ``ConformanceFailure`` where a record of these was not handled.
    func demandAll(_ sent: Set<Place>) throws {
        let missing = sent.subtracting(self.handledPlaces)
        try demand(
            missing.isEmpty, "expected all \(sent.count) records, seen all but \(missing.count): \(short(missing))")
    }
}
