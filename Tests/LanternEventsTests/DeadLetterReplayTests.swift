import Foundation
import LanternKafka
import LanternPostgres
import TestSupport
import Testing

@testable import LanternEvents

/// Handling dead letters again, in place.
@Suite("Dead letters that are handled again, or discarded", .serialized)
struct DeadLetterReplayTests {
    // MARK: - One

    @Test("a dry run tells how it would go, and changes nothing", .timeLimit(.minutes(1)))
    func dryRun() async throws {
        let stand = try await DeadLetterStand.make(2)
        #expect(try await stand.replay(1, dryRun: true) == "failed: 1 is refused")
        stand.refused.set([])
        #expect(try await stand.replay(1, dryRun: true) == "replayed")
        let letter = try await stand.letter(1)
        #expect(letter.state == .new && letter.replays == 0 && letter.settledAt == nil && letter.settledBy == nil)
        #expect(letter.reason == "handler_failed" && letter.error == "1 is refused")
        #expect(try await stand.handled() == [])
        #expect(try await stand.audits() == [])
        #expect(try await stand.replay(1) == "replayed", "the dry run was no duplicate of it")
    }

    @Test("one that is handled is settled, by whom and when, with its audit", .timeLimit(.minutes(1)))
    func success() async throws {
        let stand = try await DeadLetterStand.make(1)
        stand.refused.set([])
        #expect(try await stand.replay(1) == "replayed")
        let letter = try await stand.letter(1)
        #expect(
            letter.state == .replayed && letter.replays == 1 && letter.settledBy == "ada" && letter.settledAt != nil)
        #expect(try await stand.handled() == [1])
        #expect(try await stand.audits() == ["audit of a-1"])
    }

    @Test("one that fails again stays what it is, with one more try and what went wrong last", .timeLimit(.minutes(1)))
    func failure() async throws {
        let stand = try await DeadLetterStand.make(2)
        let first = try await stand.id(1)
        try await stand.consumer.client.query(
            "UPDATE dead_letter SET reason = 'other', error = 'other' WHERE id = \(first)")
        for tries in 1...3 {
            #expect(try await stand.replay(1) == "failed: 1 is refused")
            let letter = try await stand.letter(1)
            #expect(letter.state == .new && letter.replays == tries)
            #expect(letter.reason == "handler_failed" && letter.error == "1 is refused")
        }
        #expect(try await stand.consumer.letters().count == 2, "there is no second letter of it")
        #expect(try await stand.handled() == [])
        #expect(try await stand.audits() == [])
    }

    @Test("a handler that puts aside by itself makes no second letter either", .timeLimit(.minutes(1)))
    func putsAsideByItself() async throws {
        struct Careful: RecordHandler {
            func handle(_ records: [KafkaRecord], in tx: PostgresTransaction) async throws {
                for record in records {
                    try await DeadLetters(consumer: TestConsumer.group).add(
                        record, EventError(code: .idConflict, message: "it is again"), in: tx)
                }
            }
        }
        let stand = try await DeadLetterStand.make(1)
        let replay = DeadLetterReplay(
            database: stand.consumer.client, consumer: TestConsumer.group, handler: Careful())
        let outcome = try await replay.replay(try await stand.id(1), by: "ada", dryRun: false, audit: stand.audit)
        #expect(DeadLetterStand.text(outcome) == "failed: it is again")
        let letters = try await stand.consumer.letters()
        #expect(letters.count == 1)
        #expect(letters.first?.reason == "id_conflict" && letters.first?.replays == 1 && letters.first?.state == .new)
    }

    @Test("after ten tries it is tried no more, and can be discarded", .timeLimit(.minutes(1)))
    func exhausted() async throws {
        let stand = try await DeadLetterStand.make(1)
        for _ in 1...DeadLetterReplay.maximumReplays {
            #expect(try await stand.replay(1) == "failed: 1 is refused")
        }
        stand.refused.set([])
        #expect(try await stand.replay(1) == "exhausted")
        #expect(try await stand.replay(1, dryRun: true) == "exhausted")
        #expect(try await stand.letter(1).replays == 10)
        #expect(try await stand.handled() == [])
        let discarded = try await stand.store.discard(
            try await stand.id(1), by: "ada", note: "no way", audit: stand.audit)
        #expect(discarded?.state == .discarded && discarded?.note == "no way")
    }

    @Test(
        "one that is settled is not handled again, nor discarded; one that is not there is not found",
        .timeLimit(.minutes(1)))
    func settled() async throws {
        let stand = try await DeadLetterStand.make(2)
        stand.refused.set([])
        #expect(try await stand.replay(1) == "replayed")
        #expect(try await stand.replay(1) == "settled: replayed")
        let first = try await stand.id(1)
        let again = try await stand.store.discard(first, by: "eve", note: nil, audit: stand.audit)
        #expect(again?.id == nil)
        #expect(try await stand.letter(1).settledBy == "ada")
        let second = try await stand.id(2)
        #expect(try await stand.store.discard(second, by: "ada", note: nil, audit: stand.audit)?.state == .discarded)
        #expect(try await stand.replay(2) == "settled: discarded")
        let unknown = try await stand.replays.replay(UUID(), by: "ada", dryRun: false, audit: stand.audit)
        #expect(DeadLetterStand.text(unknown) == "not found")
        let other = DeadLetterReplay(database: stand.consumer.client, consumer: "other", handler: stand.handler)
        #expect(
            DeadLetterStand.text(try await other.replay(first, by: "ada", dryRun: true, audit: stand.audit))
                == "not found")
        #expect(try await stand.handled() == [1])
    }

    @Test("an audit that fails undoes what was handled, or discarded", .timeLimit(.minutes(1)))
    func audit() async throws {
        struct Refusal: Error {}
        let stand = try await DeadLetterStand.make(1)
        stand.refused.set([])
        let id = try await stand.id(1)
        let outcome = try? await stand.replays.replay(id, by: "ada", dryRun: false) { _, _ in throw Refusal() }
        if case .replayed? = outcome { Issue.record("it was handled without its audit") }
        #expect(try await stand.handled() == [])
        #expect(try await stand.letter(1).state == .new)
        await #expect(throws: Refusal.self) {
            try await stand.store.discard(id, by: "ada", note: nil) { _, _ in throw Refusal() }
        }
        #expect(try await stand.letter(1).state == .new)
        #expect(try await stand.replay(1) == "replayed")
    }

    @Test("two who handle one letter at once do it once", .timeLimit(.minutes(1)))
    func twoAtOnce() async throws {
        let stand = try await DeadLetterStand.make(1)
        stand.refused.set([])
        let outcomes = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<5 { group.addTask { try await stand.replay(1) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes.count { $0 == "replayed" } == 1)
        #expect(outcomes.count { $0 == "settled: replayed" } == 4)
        #expect(try await stand.handled() == [1])
        #expect(try await stand.audits().count == 1)
    }

    // MARK: - Those behind it

    @Test(
        "those behind one that was handled are handled in order, until one fails; then it blocks those behind it",
        .timeLimit(.minutes(1)))
    func release() async throws {
        let stand = try await DeadLetterStand.make(5)
        stand.refused.set([4])
        #expect(try await stand.replay(3) == "blocked")
        #expect(try await stand.replay(1) == "replayed")
        let first = try await stand.letter(1)
        #expect(try await stand.release(behind: first) == 2)
        #expect(try await stand.handled() == [1, 2, 3])
        #expect(try await stand.states() == [.replayed, .replayed, .replayed, .parked, .parked])
        let fourth = try await stand.letter(4)
        #expect(fourth.replays == 1 && fourth.reason == "handler_failed" && fourth.error == "4 is refused")
        #expect(try await stand.replay(5) == "blocked")
        #expect(try await stand.replay(5, dryRun: true) == "blocked")
        #expect(try await stand.letter(5).replays == 0, "waiting is no try")

        stand.refused.set([])
        #expect(try await stand.replay(4) == "replayed")
        #expect(try await stand.release(behind: fourth) == 1)
        #expect(try await stand.handled() == [1, 2, 3, 4, 5])
        #expect(try await stand.audits() == (1...5).map { "audit of a-\($0)" })
    }

    @Test("those behind one that was discarded are handled", .timeLimit(.minutes(1)))
    func discard() async throws {
        let stand = try await DeadLetterStand.make(3)
        stand.refused.set([])
        let first = try #require(
            try await stand.store.discard(try await stand.id(1), by: "ada", note: nil, audit: { _, _ in }))
        #expect(try await stand.release(behind: first) == 2)
        #expect(try await stand.handled() == [2, 3])
        #expect(try await stand.states() == [.discarded, .replayed, .replayed])
    }

    @Test(
        "a record that comes while the last letter of its key is being settled does not wait for ever",
        .timeLimit(.minutes(1)))
    func comesMeanwhile() async throws {
        let stand = try await DeadLetterStand.make(1)
        stand.refused.set([])
        // Its batch has looked for letters already, and is kept by the handling of another record.
        let gate = Gate()
        let slow = stand.consumer.inbox { event, _ in if event.thing == "b" { await gate.pass() } }
        let batch = [
            ThingHappened(thing: "b", number: 1).record(partition: 0),
            ThingHappened(thing: "a", number: 2).record(partition: 0),
        ]
        let handling = Task {
            try await stand.consumer.client.transaction { tx in try await slow.handle(batch, in: tx) }
        }
        try await wait(for: "the batch") { gate.arrived == 1 }
        let first = try await stand.letter(1)
        let settling = Task {
            let outcome = try await stand.replay(1)
            _ = try await stand.release(behind: first)
            return outcome
        }
        // Either it is settled now, or the settling waits for the batch.
        _ = try await eventually(within: .seconds(2)) { () -> Bool? in
            try await stand.letter(1).state == .replayed ? true : nil
        }
        gate.open()
        try await handling.value
        #expect(try await settling.value == "replayed")
        #expect(try await stand.handled() == [1, 2], "nobody would ever release it")
    }

    @Test("once none of its key waits any more, new records of it are handled", .timeLimit(.minutes(1)))
    func goesOn() async throws {
        let stand = try await DeadLetterStand.make(2)
        let record = ThingHappened(thing: "a", number: 3).record(partition: 0)
        stand.refused.set([])
        #expect(try await stand.replay(1) == "replayed")
        try await stand.consumer.client.transaction { tx in try await stand.handler.handle([record], in: tx) }
        #expect(try await stand.states() == [.replayed, .parked, .parked], "the second one is still there")
        let first = try await stand.letter(1)
        #expect(try await stand.release(behind: first) == 2)
        let next = ThingHappened(thing: "a", number: 4).record(partition: 0)
        try await stand.consumer.client.transaction { tx in try await stand.handler.handle([next], in: tx) }
        #expect(try await stand.handled() == [1, 2, 3, 4])
    }
}
