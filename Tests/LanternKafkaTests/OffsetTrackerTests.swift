@testable import LanternKafka
import Testing

@Suite("Which offset can be committed")
struct OffsetTrackerTests {
    @Test("done in order, each moves it by one")
    func inOrder() {
        var tracker = OffsetTracker(next: 5)
        #expect(tracker.next == 5)
        for offset in Int64(5)..<10 { tracker.started(offset) }
        for offset in Int64(5)..<10 {
            let moved = tracker.finished(offset)
            #expect(moved)
            #expect(tracker.next == offset + 1)
        }
        #expect(tracker.inFlight == 0)
    }

    @Test("one that is given twice while it is in hand is handled once, and holds up nothing")
    func twice() {
        var tracker = OffsetTracker(next: 4)
        let first = [tracker.started(4), tracker.started(5)]
        #expect(first == [true, true])
        let again = tracker.started(5)
        #expect(!again)
        _ = tracker.finished(5)
        let done = tracker.started(5)
        #expect(!done, "it is done, and counts when 4 is")
        let moved = tracker.finished(4)
        #expect(moved)
        #expect(tracker.next == 6)
        #expect(tracker.inFlight == 0)
        let later = tracker.started(5)
        #expect(later, "a seek went back to it")
    }

    @Test("what is done out of order counts when what is before it is done")
    func outOfOrder() {
        var tracker = OffsetTracker(next: 0)
        for offset in Int64(0)..<4 { tracker.started(offset) }
        var moves: [Bool] = []
        var next: [Int64] = []
        var inFlight: [Int] = []
        for offset in [Int64(2), 1, 0, 3] {
            moves.append(tracker.finished(offset))
            next.append(tracker.next)
            inFlight.append(tracker.inFlight)
        }
        #expect(moves == [false, false, true, true])
        #expect(next == [0, 0, 3, 4])
        #expect(inFlight == [3, 2, 1, 0])
    }

    @Test("holes in the offsets are passed over")
    func holes() {
        var tracker = OffsetTracker(next: 10)
        for offset in [Int64(10), 13, 14, 100] { tracker.started(offset) }
        _ = tracker.finished(10)
        #expect(tracker.next == 13)
        _ = tracker.finished(14)
        #expect(tracker.next == 13)
        _ = tracker.finished(13)
        #expect(tracker.next == 100)
        _ = tracker.finished(100)
        #expect(tracker.next == 101)
    }

    @Test("it goes on after a rest")
    func rest() {
        var tracker = OffsetTracker(next: 0)
        tracker.started(0)
        _ = tracker.finished(0)
        tracker.started(7)
        #expect(tracker.next == 1)
        #expect(tracker.inFlight == 1)
        let moved = tracker.finished(7)
        #expect(moved)
        #expect(tracker.next == 8)
    }

    @Test(
        "whatever ends in whatever order, it is the first that is not done, and moves when that changes",
        arguments: UInt64(1)...50)
    func chance(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var offset = Int64.random(in: 0...1_000, using: &generator)
        var tracker = OffsetTracker(next: offset)
        // The model: what is open, rising, the last that was begun, and what may be committed.
        var open: [Int64] = []
        var last = offset - 1
        var expected = offset
        for step in 0..<2_000 {
            if open.isEmpty || (open.count < 40 && Bool.random(using: &generator)) {
                // One in ten leaves a hole, but not the first, which says where the partition begins.
                if step > 0, Int.random(in: 0..<10, using: &generator) == 0 {
                    offset += Int64.random(in: 1...5, using: &generator)
                }
                tracker.started(offset)
                open.append(offset)
                last = offset
                offset += 1
            } else {
                let index = Int.random(in: open.indices, using: &generator)
                let moved = tracker.finished(open.remove(at: index))
                if index == 0 { expected = open.first ?? last + 1 }
                guard moved == (index == 0) else {
                    Issue.record("seed \(seed), step \(step): moved is \(moved), \(tracker), open \(open)")
                    return
                }
            }
            guard tracker.next == expected, tracker.inFlight == open.count else {
                Issue.record("seed \(seed), step \(step): \(tracker), expected \(expected), open \(open)")
                return
            }
        }
        for rest in open { _ = tracker.finished(rest) }
        #expect(tracker.next == last + 1)
        #expect(tracker.inFlight == 0)
    }
}

/// Chance that is the same each time it begins with the same seed (SplitMix64), so that what failed can be seen again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
