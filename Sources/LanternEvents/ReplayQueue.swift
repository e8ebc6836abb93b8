import Synchronization

/// Events that were asked for again, until the leader has sent them. Bounded: numbers, not events.
final class ReplayQueue: Sendable {
    private let missing = Mutex<[Int64: SequenceRanges]>([:])
    private let wake: WakeSignal
    /// Epochs at once; requests for more are dropped, and come again as long as the gap is there.
    private static let maximumEpochs = 100

    init(wake: WakeSignal) { self.wake = wake }

    var isEmpty: Bool { self.missing.withLock { $0.isEmpty } }

    /// The same number asked for twice is sent once.
    func add(_ ranges: SequenceRanges, epoch: Int64) {
        let isAdded = self.missing.withLock { missing in
            guard missing[epoch] != nil || missing.count < Self.maximumEpochs else { return false }
            var all = missing[epoch] ?? SequenceRanges()
            guard all.ranges.count <= 10 * SequenceRanges.maximumRanges else { return false }
            for range in ranges.ranges { all.insert(range) }
            missing[epoch] = all
            return true
        }
        if isAdded { self.wake.signal() }
    }

    /// The oldest epoch of which something is asked for.
    var epoch: Int64? { self.missing.withLock { $0.keys.min() } }

    /// Forgets what is beyond the last number of an epoch that is there.
    /// - Returns: What was forgotten.
    func clip(_ epoch: Int64, to last: Int64) -> SequenceRanges {
        self.missing.withLock { missing in
            var forgotten = SequenceRanges()
            guard let ranges = missing[epoch] else { return forgotten }
            var clipped = SequenceRanges()
            for range in ranges.ranges {
                if range.lowerBound <= last { clipped.insert(range.lowerBound...min(last, range.upperBound)) }
                if range.upperBound > last { forgotten.insert(max(last + 1, range.lowerBound)...range.upperBound) }
            }
            missing[epoch] = clipped.isEmpty ? nil : clipped
            return forgotten
        }
    }

    /// The lowest numbers of the oldest epoch.
    func take(_ limit: Int) -> (epoch: Int64, ranges: SequenceRanges)? {
        self.missing.withLock { missing in
            guard let epoch = missing.keys.min(), var ranges = missing[epoch] else { return nil }
            let taken = ranges.takeFirst(Int64(limit))
            missing[epoch] = ranges.isEmpty ? nil : ranges
            return (epoch, taken)
        }
    }
}
