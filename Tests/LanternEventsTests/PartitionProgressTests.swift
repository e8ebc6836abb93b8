@testable import LanternEvents
import Testing

@Suite("Progress in a partition")
struct PartitionProgressTests {
    /// The first record that the broker gave, and what is to be done about it.
    struct Arrival: Sendable {
        var why: String
        var offset: Int64
        var id: String
        var decision: PartitionProgress.Decision
        var skipped: Int64 = 0
    }

    @Test(
        "the first record tells whether the partition is still the one we know",
        arguments: [
            Arrival(why: "the record before, with the id we stored", offset: 9, id: "a", decision: .skip),
            Arrival(
                why: "the record before, with another id: the topic was made anew", offset: 9, id: "x",
                decision: .restart),
            Arrival(why: "the next record: the one before was compacted away", offset: 10, id: "b", decision: .take),
            Arrival(why: "a gap: retention was faster than we", offset: 15, id: "b", decision: .take, skipped: 5),
            Arrival(why: "a lower offset: the topic is shorter than we were", offset: 3, id: "x", decision: .take),
            Arrival(why: "the very first record", offset: 0, id: "a", decision: .take),
        ]
    )
    func firstRecord(arrival: Arrival) {
        var progress = PartitionProgress(stored: 10, lastID: "a")
        let decision = progress.decide(offset: arrival.offset, id: arrival.id)
        #expect(decision == arrival.decision, "\(arrival.why)")
        #expect(progress.skipped == arrival.skipped, "\(arrival.why)")
    }

    @Test("a partition that was never read begins at its earliest record, and takes all")
    func fresh() {
        var progress = PartitionProgress(stored: 0, lastID: nil)
        #expect(progress.start == nil)
        let decisions = [
            progress.decide(offset: 0, id: "a"), progress.decide(offset: 1, id: "b"),
            progress.decide(offset: 7, id: "c"),
        ]
        #expect(decisions == [.take, .take, .take])
        #expect(progress.skipped == 0)
    }

    @Test("a known partition is read from one record before the stored offset", arguments: [1, 2, 10, Int64.max])
    func start(stored: Int64) {
        #expect(PartitionProgress(stored: stored, lastID: "a").start == stored - 1)
    }

    @Test("without a stored id nothing can be recognised")
    func noID() {
        var progress = PartitionProgress(stored: 10, lastID: nil)
        let decision = progress.decide(offset: 9, id: "a")
        #expect(decision == .restart)
    }

    @Test("only the first record is compared: after it every record is new")
    func once() {
        var progress = PartitionProgress(stored: 10, lastID: "a")
        let decisions = [("a", 9), ("b", 10), ("c", 11), ("z", 9)].map { progress.decide(offset: $1, id: $0) }
        #expect(decisions == [.skip, .take, .take, .take])
    }

    @Test("after a restart everything is taken from the earliest record, and nothing counts as lost")
    func restart() {
        var progress = PartitionProgress(stored: 10, lastID: "a")
        let decisions = [("x", 9), ("p", 0), ("q", 1), ("r", 50)].map { progress.decide(offset: $1, id: $0) }
        #expect(decisions == [.restart, .take, .take, .take])
        #expect(progress.skipped == 0)
        // The fence of the next transaction is still what the database holds.
        #expect(progress.stored == 10)
    }

    @Test("a commit moves the fence and what is compared next time")
    func committed() {
        var progress = PartitionProgress(stored: 10, lastID: "a")
        progress.committed(next: 12, lastID: "c")
        #expect(progress.stored == 12)
        #expect(progress.lastID == "c")
        #expect(progress.start == 11)

        var reloaded = PartitionProgress(stored: progress.stored, lastID: progress.lastID)
        let decision = reloaded.decide(offset: 11, id: "c")
        #expect(decision == .skip)
    }
}
