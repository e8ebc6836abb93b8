/// Which records of a partition are done, where they are done out of order: the offset that can be committed is the one
/// behind which nothing is open. A plain value.
struct OffsetTracker: Equatable {
    /// Everything below is done.
    private(set) var next: Int64
    /// Handed out and not done, in order.
    private var open: [Int64] = []
    private var done: Set<Int64> = []
    private var last: Int64

    init(next: Int64) {
        self.next = next
        self.last = next - 1
    }

    var inFlight: Int { self.open.count - self.done.count }

    /// - Returns: Whether the record is to be handled: not where it is in hand already, because it was given once more.
    @discardableResult
    mutating func started(_ offset: Int64) -> Bool {
        if offset <= self.last, self.open.contains(offset) { return false }
        self.open.append(offset)
        self.last = offset
        return true
    }

    /// - Returns: Whether ``next`` moved.
    mutating func finished(_ offset: Int64) -> Bool {
        self.done.insert(offset)
        var count = 0
        while count < self.open.count, self.done.remove(self.open[count]) != nil { count += 1 }
        guard count > 0 else { return false }
        self.open.removeFirst(count)
        // Offsets have holes, by compaction and transactions: what follows the last done one is next.
        self.next = (self.open.first ?? self.last + 1)
        return true
    }
}
