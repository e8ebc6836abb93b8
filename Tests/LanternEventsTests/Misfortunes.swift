import LanternKafka
import Synchronization
import Testing

@testable import LanternEvents

/// What befalls the calls of `send` that carry events, one after the other; and what a relay must not have done by then.
final class Misfortunes: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        /// Nothing is sent.
        case failsBefore = "fails before it sends"
        case failsHalfway = "fails when half is sent"
        /// All is sent, and nobody hears of it.
        case failsAfter = "fails after it has sent"
        case isFatalBefore = "is fatal before it sends"
        case isFatalHalfway = "is fatal when half is sent"
        case isFatalAfter = "is fatal after it has sent"
        /// Until the relay is cancelled.
        case hangsBefore = "hangs before it sends"
        case hangsHalfway = "hangs when half is sent"
        /// Between publishing and marking.
        case hangsAfter = "hangs after it has sent"

        static let failures: [Kind] = [
            .failsBefore, .failsHalfway, .failsAfter, .isFatalBefore, .isFatalHalfway, .isFatalAfter,
        ]
        static let stops: [Kind] = [.hangsBefore, .hangsHalfway, .hangsAfter]

        fileprivate func sent(of count: Int) -> Int {
            switch self {
            case .failsBefore, .isFatalBefore, .hangsBefore: 0
            case .failsHalfway, .isFatalHalfway, .hangsHalfway: count / 2
            case .failsAfter, .isFatalAfter, .hangsAfter: count
            }
        }

        fileprivate var error: KafkaError? {
            switch self {
            case .failsBefore, .failsHalfway, .failsAfter: KafkaError(code: .retriable, message: "told to fail")
            case .isFatalBefore, .isFatalHalfway, .isFatalAfter: KafkaError(code: .fatal, message: "told to die")
            case .hangsBefore, .hangsHalfway, .hangsAfter: nil
            }
        }
    }

    private struct State {
        /// `nil` is a call that goes well; so do those behind the last.
        var kinds: [Kind?]
        /// Every number up to here was answered for.
        var acknowledged: Int64
        var hanging = 0
    }

    private let state: Mutex<State>
    private let outbox: TestOutbox
    private let violations = NoteBook<String>()

    /// - Parameter acknowledged: What was answered for before.
    init(_ kinds: [Kind?], of outbox: TestOutbox, acknowledged: Int64 = 0) {
        self.state = Mutex(State(kinds: kinds, acknowledged: acknowledged))
        self.outbox = outbox
    }

    /// How many calls have hung so far.
    var hanging: Int { self.state.withLock { $0.hanging } }

    /// Where the watermark was not where it had to be, when something was sent.
    var misplacedWatermarks: [String] { self.violations.all }

    func transport(on base: any EventTransport) -> FaultyTransport {
        FaultyTransport(base) { try await self.send($0, $1) }
    }

    private func send(
        _ records: [KafkaRecord], _ send: @escaping FaultyTransport.Send
    ) async throws -> [KafkaProducer.Delivery] {
        let sequences = records.filter(\.isEvent).compactMap { PublishedEvents.sequence($0) }
        guard let first = sequences.min(), let last = sequences.max() else { return try await send(records) }
        try await self.check(first)
        let kind = self.state.withLock { state -> Kind? in state.kinds.isEmpty ? nil : state.kinds.removeFirst() }
        guard let kind else {
            let deliveries = try await send(records)
            self.state.withLock { $0.acknowledged = max($0.acknowledged, last) }
            return deliveries
        }
        let part = Array(records.prefix(kind.sent(of: records.count)))
        if !part.isEmpty { _ = try await send(part) }
        if let error = kind.error { throw error }
        self.state.withLock { $0.hanging += 1 }
        try await Task.sleep(for: .seconds(3_600))
        throw KafkaError(code: .other, message: "nobody ended what hangs")
    }

    /// What is marked was answered for, and what is sent begins right behind it.
    private func check(_ first: Int64) async throws {
        let marked = try await self.outbox.publishedThrough()
        // Read after the watermark: it only grows.
        let acknowledged = self.state.withLock { $0.acknowledged }
        if marked > acknowledged { self.violations.note("\(marked) is marked, and \(acknowledged) is answered for") }
        if marked + 1 != first { self.violations.note("\(first) is sent, and \(marked) is marked") }
    }
}

extension Misfortunes.Kind: CustomTestStringConvertible {
    var testDescription: String { self.rawValue }
}
