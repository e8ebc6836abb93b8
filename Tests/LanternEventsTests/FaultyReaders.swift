import LanternKafka
import Synchronization

@testable import LanternEvents

/// Gives records again that it gave before, and mixes partitions; what is new of a partition keeps its order.
final class RepeatingReader: EventReader {
    private struct State {
        var chance: SeededGenerator
        /// Since partitions came or went.
        var given: [KafkaRecord] = []
    }

    private let base: any EventReader
    private let state: Mutex<State>

    init(_ base: any EventReader, seed: UInt64) {
        self.base = base
        self.state = Mutex(State(chance: SeededGenerator(seed: seed)))
    }

    func next(maximum: Int, maximumBytes: Int) async throws -> KafkaConsumer.Event {
        let event = try await self.base.next(maximum: min(maximum, 20), maximumBytes: maximumBytes)
        return self.state.withLock { state -> KafkaConsumer.Event in
            guard case .records(let records) = event else {
                state.given = []
                return event
            }
            // An old one stands before the new ones of its partition, behind them, or among them.
            var mixed: [KafkaRecord] = []
            var rest = Dictionary(grouping: records) { $0.partition ?? 0 }.mapValues { $0[...] }
            while let partition = rest.keys.sorted().randomElement(using: &state.chance) {
                if let record = rest[partition]?.popFirst() { mixed.append(record) }
                if rest[partition]?.isEmpty == true { rest[partition] = nil }
                if let old = state.given.randomElement(using: &state.chance), Bool.random(using: &state.chance) {
                    mixed.append(old)
                }
            }
            state.given += records
            return .records(mixed)
        }
    }

    func assign(_ positions: [KafkaPosition]) throws { try self.base.assign(positions) }
    func seek(_ positions: [KafkaPosition]) throws { try self.base.seek(positions) }
    func commit(_ offsets: [KafkaPartition: Int64]) { self.base.commit(offsets) }
    func close() async { await self.base.close() }
}

/// Keeps the first records that it reads until a gate is opened: a member that lives on in what it once was given.
final class HoldingReader: EventReader {
    private let base: any EventReader
    private let gate: Gate
    private let hasHeld = Mutex(false)

    init(_ base: any EventReader, gate: Gate) {
        self.base = base
        self.gate = gate
    }

    func next(maximum: Int, maximumBytes: Int) async throws -> KafkaConsumer.Event {
        let event = try await self.base.next(maximum: maximum, maximumBytes: maximumBytes)
        guard case .records = event else { return event }
        let isFirst = self.hasHeld.withLock { hasHeld -> Bool in
            defer { hasHeld = true }
            return !hasHeld
        }
        if isFirst { await self.gate.pass() }
        return event
    }

    func assign(_ positions: [KafkaPosition]) throws { try self.base.assign(positions) }
    func seek(_ positions: [KafkaPosition]) throws { try self.base.seek(positions) }
    func commit(_ offsets: [KafkaPartition: Int64]) { self.base.commit(offsets) }
    func close() async { await self.base.close() }
}
