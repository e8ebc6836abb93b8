import Foundation
import LanternKafka
import LanternPostgres
import Synchronization
import Testing

@testable import LanternEvents

/// A consumer whose handler refuses what it is told to, with dead letters of one key: the first is new, the others are parked.
struct DeadLetterStand: Sendable {
    /// Numbers of the events that the handler refuses now.
    final class Refused: Sendable {
        private let numbers: Mutex<Set<Int64>>

        init(_ numbers: Set<Int64>) { self.numbers = Mutex(numbers) }

        func contains(_ number: Int64) -> Bool { self.numbers.withLock { $0.contains(number) } }
        func set(_ numbers: Set<Int64>) { self.numbers.withLock { $0 = numbers } }
    }

    let consumer: TestConsumer
    let handler: Inbox<ThingHappened>
    let refused: Refused
    let replays: DeadLetterReplay

    var store: DeadLetterStore { DeadLetterStore(database: self.consumer.client) }

    /// - Parameter count: Letters, all of them refused for now.
    static func make(_ count: Int64) async throws -> DeadLetterStand {
        let consumer = try await TestConsumer.make()
        let refused = Refused(Set(1...count))
        let handler = consumer.inbox { event, _ in
            guard !refused.contains(event.number) else {
                throw EventError(code: .handlerFailed, message: "\(event.number) is refused")
            }
        }
        let transport = InProcessTransport(partitions: 1)
        try await consumer.consuming(from: transport, with: handler) {
            try await transport.produce((1...count).map { ThingHappened(thing: "a", number: $0).record() })
            try await wait(for: "the letters") { try await consumer.letters().count == Int(count) }
        }
        let stand = DeadLetterStand(
            consumer: consumer, handler: handler, refused: refused,
            replays: DeadLetterReplay(database: consumer.client, consumer: TestConsumer.group, handler: handler)
        )
        let expected: [DeadLetter.State] = [.new] + Array(repeating: .parked, count: Int(count) - 1)
        #expect(try await stand.states() == expected)
        return stand
    }

    // MARK: - Letters, by the number of their event

    func letter(_ number: Int64) async throws -> DeadLetter {
        try #require(try await self.consumer.letters().first { $0.sequence == number })
    }

    func id(_ number: Int64) async throws -> UUID { try await self.letter(number).id }

    func states() async throws -> [DeadLetter.State] { try await self.consumer.letters().map(\.state) }

    /// Handles one again; its audit leaves a mark.
    /// - Returns: What came of it.
    func replay(_ number: Int64, dryRun: Bool = false) async throws -> String {
        let id = try await self.id(number)
        return Self.text(try await self.replays.replay(id, by: "ada", dryRun: dryRun, audit: self.audit))
    }

    /// Handles those behind one.
    func release(behind letter: DeadLetter) async throws -> Int {
        try await self.replays.release(behind: letter, by: "ada", audit: self.audit)
    }

    static func text(_ outcome: DeadLetterReplay.Outcome) -> String {
        switch outcome {
        case .replayed: "replayed"
        case .failed(let error): "failed: \(error.message)"
        case .notFound: "not found"
        case .settled(let state): "settled: \(state.rawValue)"
        case .blocked: "blocked"
        case .exhausted: "exhausted"
        }
    }

    // MARK: - What came of it

    var audit: @Sendable (DeadLetter, PostgresTransaction) async throws -> Void {
        let consumer = self.consumer
        return { letter, tx in try await consumer.note("audit of \(letter.eventID ?? "")", 0, in: tx) }
    }

    /// In the order in which they were made.
    func audits() async throws -> [String] {
        try await self.consumer.effects().map(\.thing).filter { $0.hasPrefix("audit") }
    }

    /// Numbers of the events that had their effect, in the order in which they had it.
    func handled() async throws -> [Int64] {
        try await self.consumer.effects().filter { $0.thing == "a" }.map(\.number)
    }
}
