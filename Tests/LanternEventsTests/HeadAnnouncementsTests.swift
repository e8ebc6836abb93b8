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

    @Test("an announcement that failed is due again after a second")
    func failed() {
        var heads = HeadAnnouncements()
        heads.failed(now: self.start)
        #expect(!heads.isDue(sequence: 1, now: self.start + .milliseconds(999)))
        #expect(heads.isDue(sequence: 1, now: self.start + .seconds(1)))
    }
}
