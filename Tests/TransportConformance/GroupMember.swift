import LanternEvents
import LanternKafka
import Synchronization

/// A member of a group that reads in a task of its own, and writes what happens to it into a log.
final class GroupMember: Sendable {
    /// When it says how far it is.
    enum Work: Sendable {
        /// After each answer.
        case eager
        /// Only when partitions go, and after a while: what it has in flight it finishes then.
        case late
    }

    let name: String
    private let reader: any EventReader
    private let log: GroupLog
    private let work: Work
    private let task = Mutex<Task<Void, Never>?>(nil)

    /// Begins at once.
    init(_ name: String, reader: any EventReader, log: GroupLog, work: Work) {
        self.name = name
        self.reader = reader
        self.log = log
        self.work = work
        self.task.withLock { $0 = Task { await self.run() } }
    }

    /// Finishes what it has in hand, and leaves the group.
    func leave() async {
        let task = self.task.withLock { $0 }
        task?.cancel()
        if let task { await task.value }
        self.log.left(self.name)
        await self.reader.close()
    }

    private func run() async {
        var inFlight: [KafkaPartition: Int64] = [:]
        while !Task.isCancelled {
            do {
                switch try await self.reader.next(maximum: 100, maximumBytes: 1 << 20) {
                case .records(let records):
                    self.log.handled(records, by: self.name)
                    for place in records.places { inFlight[place.partition] = place.offset + 1 }
                    if self.work == .eager { self.finish(&inFlight) }
                case .assigned(let partitions):
                    try self.reader.assign(self.log.assigned(partitions, to: self.name))
                case .revoked(let partitions):
                    self.log.revoked(partitions, from: self.name)
                    // Long enough that whoever is given the partition too early reads the old position.
                    if self.work == .late { try? await Task.sleep(for: .milliseconds(300)) }
                    self.finish(&inFlight)
                    self.log.released(partitions, by: self.name)
                case .lost(let partitions):
                    self.log.fault("\(self.name) lost \(partitions), though it asked all the time")
                    self.log.released(partitions, by: self.name)
                }
            } catch is CancellationError {
                break
            } catch {
                self.log.fault("\(self.name): \(error)")
                break
            }
        }
        self.finish(&inFlight)
    }

    private func finish(_ inFlight: inout [KafkaPartition: Int64]) {
        self.log.store(inFlight)
        // As a service does; it must not disturb the group.
        self.reader.commit(inFlight)
        inFlight = [:]
    }
}

extension ConformanceContext {
    /// A member that joins now, and leaves at the end of the check at the latest.
    func member(
        _ name: String, of group: String, _ topic: ConformanceTopic, _ log: GroupLog, work: GroupMember.Work = .eager
    ) throws -> GroupMember {
        let reader = try self.consumer(group: group, topics: [topic.name])
        let member = GroupMember(name, reader: reader, log: log, work: work)
        self.atEnd { await member.leave() }
        return member
    }

    /// Waits until members have all partitions of a topic between them, in equal parts.
    func shared(_ topic: ConformanceTopic, _ log: GroupLog, among members: GroupMember...) async throws {
        let names = members.map(\.name)
        try await self.until("\(names.joined(separator: " and ")) share the partitions", seen: { log.summary }) {
            log.isShared(topic, among: names) ? true : nil
        }
    }

    /// Waits until all of these are handled, and that nothing went wrong meanwhile.
    func handled(_ sent: Set<Place>, _ log: GroupLog) async throws {
        try await self.until("\(sent.count) records are handled", seen: { log.summary }) {
            sent.isSubset(of: log.handledPlaces) ? true : nil
        }
        try log.demandAll(sent)
        try log.demandNoFault()
    }
}
