@testable import LanternEvents
import Testing

@Suite("When heads are announced")
struct HeadAnnouncementsTests {
    /// A moment to count from; time is moved on by hand.
    private let start = ContinuousClock.now

    @Test("a leader announces its head at once")
    func first() {
        let heads = HeadAnnouncements()
        #expect(heads.isDue(sequence: 0, now: self.start))
        #expect(heads.isChanged(0))
    }

    @Test(
        "a head that moved is announced once a second at most, one that did not each thirty seconds",
        arguments: [
            (8, .milliseconds(0), false), (8, .milliseconds(999), false), (8, .seconds(1), true),
            (8, .seconds(2), true),
            (7, .seconds(1), false), (7, .milliseconds(29_999), false), (7, .seconds(30), true),
            (7, .seconds(3_600), true),
        ] as [(Int64, Duration, Bool)]
    )
    func due(sequence: Int64, later: Duration, isDue: Bool) {
        var heads = HeadAnnouncements()
        heads.announced(sequence: 7, now: self.start)
        #expect(heads.isDue(sequence: sequence, now: self.start + later) == isDue)
    }

    @Test("the time counts from the last announcement")
    func again() {
        var heads = HeadAnnouncements()
        heads.announced(sequence: 7, now: self.start)
        heads.announced(sequence: 8, now: self.start + .seconds(20))
        #expect(!heads.isDue(sequence: 8, now: self.start + .seconds(49)))
        #expect(heads.isDue(sequence: 8, now: self.start + .seconds(50)))
    }

    @Test("what was announced is not changed, whatever else is")
    func changed() {
        var heads = HeadAnnouncements()
        heads.announced(sequence: 7, now: self.start)
        #expect(!heads.isChanged(7))
        #expect(heads.isChanged(8))
        // A new epoch begins at 0 again.
        #expect(heads.isChanged(0))
    }

    @Test("partitions are counted again after ten seconds: topics grow")
    func partitions() async throws {
        var heads = HeadAnnouncements()
        var counts: [Int32] = []
        for (seconds, size) in [(0, 3), (1, 4), (9, 5), (10, 6), (19, 7), (20, 8)] as [(Int, Int32)] {
            counts.append(try await heads.partitions(now: self.start + .seconds(seconds)) { size })
        }
        #expect(counts == [3, 3, 3, 6, 6, 8])
    }

    @Test("a count that failed is asked for again at once")
    func partitionsFail() async throws {
        struct Away: Error {}
        var heads = HeadAnnouncements()
        do {
            _ = try await heads.partitions(now: self.start) { throw Away() }
            Issue.record("the failure was swallowed")
        } catch is Away {}
        let count = try await heads.partitions(now: self.start) { 3 }
        #expect(count == 3)
    }
}
