@testable import ActivityService
import Foundation
import Lantern
import TestSupport
import Testing

/// Completeness by SQL: a number is missing when every partition has passed a head at or above it, and it is neither held nor
/// put aside.
@Suite("What is missing of a source", .serialized)
struct GapStoreTests {
    private typealias Completeness = GapStand.Completeness
    private typealias End = ControlMessage.EpochSequence

    // MARK: - Missing

    @Test("nothing is missing while one partition has not passed: it may still come")
    func notPassed() async throws {
        let stand = try await GapStand.make()
        try await stand.hold([1, 2, 5])
        #expect(try await stand.completeness() == Completeness(contiguous: 2), "without a head")
        try await stand.head(5, partition: 0)
        try await stand.head(9, partition: 2)
        #expect(try await stand.completeness() == Completeness(contiguous: 2))
        #expect(try await stand.store.gaps() == [])
        try await stand.head(3, partition: 1)
        #expect(try await stand.completeness() == Completeness(missing: [3], contiguous: 2), "as far as the slowest is")
    }

    @Test("what is not held is missing when all partitions have passed")
    func passed() async throws {
        let stand = try await GapStand.make()
        try await stand.hold([1, 2, 5, 7])
        try await stand.heads(6)
        #expect(try await stand.completeness() == Completeness(missing: [3, 4, 6], contiguous: 2))
        let gaps = try await stand.store.gaps()
        #expect(
            gaps == [Gap(source: GapStand.source, epoch: 1, events: 3, missing: SequenceRanges([3, 4, 6]), known: nil)])
        try await stand.hold([1, 2, 3, 4, 5, 6])
        #expect(try await stand.completeness() == Completeness(contiguous: 6))
        #expect(try await stand.store.gaps() == [])
    }

    @Test("where nothing at all is held, all that was announced is missing")
    func nothingHeld() async throws {
        let stand = try await GapStand.make()
        try await stand.heads(0)
        #expect(try await stand.completeness() == Completeness())
        try await stand.heads(3)
        #expect(try await stand.completeness() == Completeness(missing: [1, 2, 3]))
        #expect(try await stand.store.contiguous()[GapStand.source] == [End(epoch: 1, sequence: 0)])
    }

    @Test("a topic that has grown is passed when its new partitions are as well")
    func grown() async throws {
        let stand = try await GapStand.make()
        try await stand.hold([1, 3])
        try await stand.heads(3)
        #expect(try await stand.completeness()?.missing == [2])
        try await stand.head(3, partition: 0, of: 4)
        #expect(try await stand.completeness()?.missing == [])
        try await stand.head(3, partition: 3, of: 4)
        #expect(try await stand.completeness()?.missing == [2])
    }

    @Test("what was put aside is accounted for, and what is held as well is held")
    func dead() async throws {
        let stand = try await GapStand.make()
        try await stand.heads(5)
        try await stand.hold([1, 2, 5], dead: [3])
        #expect(try await stand.completeness() == Completeness(missing: [4], dead: [3], contiguous: 3))
        try await stand.hold([1, 2, 5], dead: [3, 4])
        #expect(try await stand.completeness() == Completeness(dead: [3, 4], contiguous: 5))
        // It was handled in the end.
        try await stand.hold([1, 2, 3, 5], dead: [3, 4])
        #expect(try await stand.completeness() == Completeness(dead: [4], contiguous: 5))
        let source = try #require(try await SourceStore(database: stand.client).all().first)
        #expect(source.deadLettered == 1 && source.gaps == 0 && source.headContiguous == 5)
    }

    @Test("a source that announces nothing has gaps that are shown by nothing, and is told nothing")
    func foreign() async throws {
        let stand = try await GapStand.make()
        try await stand.hold([1, 5], source: "urn:example:till")
        try await stand.hold([1, 2])
        try await stand.heads(2)
        #expect(try await stand.store.gaps() == [])
        #expect(try await stand.store.contiguous() == [GapStand.source: [End(epoch: 1, sequence: 2)]])
    }

    @Test("many gaps are counted all, and told from the lowest on")
    func many() async throws {
        let stand = try await GapStand.make()
        try await stand.hold((1...3_000).map { $0 * 2 })
        try await stand.heads(6_000)
        let gap = try #require(try await stand.store.gaps().first)
        #expect(gap.events == 3_000)
        #expect(gap.missing.ranges.count == SequenceRanges.maximumRanges)
        #expect(gap.missing == SequenceRanges((0..<Int64(SequenceRanges.maximumRanges)).map { $0 * 2 + 1 }))
    }

    // MARK: - Epochs

    @Test("nothing is missing beyond the end of an epoch: its source does not know of it any more")
    func end() async throws {
        let stand = try await GapStand.make()
        try await stand.hold([1, 2, 3, 4])
        try await stand.heads(10)
        #expect(try await stand.completeness()?.missing == [5, 6, 7, 8, 9, 10])
        try await stand.end(6)
        #expect(try await stand.completeness() == Completeness(missing: [5, 6], contiguous: 4))
        try await stand.end(4)
        #expect(try await stand.completeness() == Completeness(contiguous: 4))
        try await stand.end(0)
        #expect(try await stand.completeness() == Completeness(diverged: [1, 2, 3, 4], contiguous: 4))
        try await stand.end(99)
        #expect(
            try await stand.completeness()?.missing == [5, 6, 7, 8, 9, 10], "only what was announced can be missing")
    }

    @Test("what is held beyond the end of an epoch has diverged")
    func diverged() async throws {
        let stand = try await GapStand.make()
        try await stand.hold([1, 2, 4, 8, 9, 12], dead: [11])
        try await stand.heads(12)
        try await stand.end(7)
        #expect(
            try await stand.completeness()
                == Completeness(missing: [3, 5, 6, 7], diverged: [8, 9, 12], dead: [11], contiguous: 2))
        let source = try #require(try await SourceStore(database: stand.client).all().first)
        #expect(source.diverged == 3 && source.gaps == 4)
    }

    @Test("epochs are complete each by itself, and a source is what all of them are")
    func epochs() async throws {
        let stand = try await GapStand.make()
        try await stand.hold([1, 2, 4])
        try await stand.heads(4)
        try await stand.hold([2, 3], epoch: 2)
        try await stand.heads(3, epoch: 2)
        let gaps = try await stand.store.gaps()
        #expect(gaps.map(\.epoch) == [1, 2])
        #expect(gaps.map(\.missing) == [SequenceRanges([3]), SequenceRanges([1])])
        #expect(
            try await stand.store.contiguous()
                == [GapStand.source: [End(epoch: 1, sequence: 2), End(epoch: 2, sequence: 0)]])
        let sources = try await SourceStore(database: stand.client).all()
        #expect(sources.count == 1)
        #expect(sources.first?.epoch == 2 && sources.first?.gaps == 2 && sources.first?.headAnnounced == 3)
    }

    @Test("what consumers hand to the sealer becomes what is held, put aside, passed and ended")
    func sealed() async throws {
        let stand = try await GapStand.make()
        try await stand.client.query(
            """
            INSERT INTO unsealed (kind, source, epoch, sequence, partition, partitions, previous_epoch, previous_sequence)
            VALUES ('duplicate', \(GapStand.source), 2, 1, NULL, NULL, NULL, NULL),
                   ('duplicate', \(GapStand.source), 1, 9, NULL, NULL, NULL, NULL),
                   ('dead', \(GapStand.source), 2, 2, NULL, NULL, NULL, NULL),
                   ('head', \(GapStand.source), 2, 4, 0, 2, 1, 7), ('head', \(GapStand.source), 2, 2, 0, 2, 1, 7),
                   ('head', \(GapStand.source), 2, 3, 1, 2, 1, 7)
            """
        )
        #expect(try await stand.sealer.seal(limit: 100)?.taken == 6)
        // A duplicate is held under its number; an older head takes nothing back.
        #expect(try await stand.completeness(epoch: 2) == Completeness(missing: [3], dead: [2], contiguous: 2))
        #expect(try await stand.completeness(epoch: 1) == Completeness(diverged: [9]))
        #expect(try await stand.sealer.seal(limit: 100)?.taken == nil, "nothing waits any more")
    }
}
