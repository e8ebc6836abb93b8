import LanternEvents
import LanternKafka
import Logging
import Synchronization

/// A transport that breaks one promise, to see that somebody notices.
struct FlawedTransport: EventTransport {
    enum Flaw: Sendable {
        case losesARecord, reversesAnswers, repeatsAnAnswer, emptiesTombstones, dropsHeaders, losesWhatIsCancelled
        case beginsAtTheEarliest, ignoresSeeks, ignoresBounds, ignoresGroups, staysOpen
        case ignoresKeys, answersOtherOffsets
    }

    private let flaw: Flaw
    private let sound = InProcessTransport()

    init(_ flaw: Flaw) { self.flaw = flaw }

    func makeProducer(_ name: String, logger: Logger) throws -> any EventProducer {
        FlawedProducer(flaw: self.flaw, sound: try self.sound.makeProducer(name, logger: logger))
    }

    func makeConsumer(group: String, topics: [String], logger: Logger) throws -> any EventReader {
        let own = self.flaw == .ignoresGroups ? "\(group)-\(UInt64.random(in: 0...UInt64.max))" : group
        return FlawedReader(self.flaw, try self.sound.makeConsumer(group: own, topics: topics, logger: logger))
    }

    func makeReader(of topic: String, _ name: String, logger: Logger) async throws -> any EventReader {
        FlawedReader(self.flaw, try await self.sound.makeReader(of: topic, name, logger: logger))
    }
}

private struct FlawedProducer: EventProducer {
    let flaw: FlawedTransport.Flaw
    let sound: any EventProducer

    func send(_ records: [KafkaRecord]) async throws -> [KafkaProducer.Delivery] {
        var records = records
        if self.flaw == .ignoresKeys {
            for index in records.indices { records[index].key = nil }
        }
        var deliveries = try await self.sound.send(records)
        if self.flaw == .answersOtherOffsets {
            for index in deliveries.indices { deliveries[index].offset += 1 }
        }
        return deliveries
    }

    func partitionCount(of topic: String) async throws -> Int32 {
        try await self.sound.partitionCount(of: topic)
    }

    func close(deadline: Duration) async { await self.sound.close(deadline: deadline) }
}

private final class FlawedReader: EventReader {
    private let flaw: FlawedTransport.Flaw
    private let sound: any EventReader
    /// The answer that is given twice.
    private let again = Mutex<[KafkaRecord]?>(nil)
    private let answers = Mutex(0)

    init(_ flaw: FlawedTransport.Flaw, _ sound: any EventReader) {
        self.flaw = flaw
        self.sound = sound
    }

    func next(maximum: Int, maximumBytes: Int) async throws -> KafkaConsumer.Event {
        let again = self.again.withLock { again in
            defer { again = nil }
            return again
        }
        if let again { return .records(again) }
        let isBound = self.flaw != .ignoresBounds
        let event = try await self.sound.next(
            maximum: isBound ? maximum : 500, maximumBytes: isBound ? maximumBytes : 8 << 20)
        guard case .records(let records) = event else { return event }
        // Long enough to be cancelled in.
        if self.flaw == .losesWhatIsCancelled { try await Task.sleep(for: .milliseconds(20)) }
        let number = self.answers.withLock { answers in
            answers += 1
            return answers
        }
        if self.flaw == .repeatsAnAnswer, number == 1 { self.again.withLock { $0 = records } }
        return .records(self.changed(records, isFirst: number == 1))
    }

    private func changed(_ records: [KafkaRecord], isFirst: Bool) -> [KafkaRecord] {
        var records = records
        switch self.flaw {
        case .losesARecord:
            if isFirst { records.removeLast() }
        case .reversesAnswers:
            records.reverse()
        case .emptiesTombstones:
            for index in records.indices { records[index].value = records[index].value ?? [] }
        case .dropsHeaders:
            for index in records.indices { records[index].headers = [] }
        default: break
        }
        return records
    }

    func assign(_ positions: [KafkaPosition]) throws {
        try self.sound.assign(
            self.flaw == .beginsAtTheEarliest ? positions.map { KafkaPosition($0.partition, .earliest) } : positions)
    }

    func seek(_ positions: [KafkaPosition]) throws {
        // What begins a reader at the earliest is let through: other checks begin so.
        if self.flaw == .ignoresSeeks, positions.count == 1 { return }
        try self.sound.seek(positions)
    }

    func commit(_ offsets: [KafkaPartition: Int64]) { self.sound.commit(offsets) }

    func close() async {
        if self.flaw == .staysOpen { return }
        await self.sound.close()
    }
}
