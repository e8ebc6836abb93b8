/// When heads are due: at most each second when something changed, each 30 seconds when idle.
struct HeadAnnouncements {
    private var last: (sequence: Int64, at: ContinuousClock.Instant)?
    private var notBefore: ContinuousClock.Instant?

    func isChanged(_ sequence: Int64) -> Bool { self.last?.sequence != sequence }

    func isDue(sequence: Int64, now: ContinuousClock.Instant) -> Bool {
        if let notBefore, now < notBefore { return false }
        guard let last else { return true }
        return now - last.at >= (last.sequence == sequence ? .seconds(30) : .seconds(1))
    }

    mutating func announced(sequence: Int64, now: ContinuousClock.Instant) {
        self.last = (sequence, now)
        self.notBefore = nil
    }

    /// It did not work, and is worth another try in a second.
    mutating func failed(now: ContinuousClock.Instant) {
        self.notBefore = now + .seconds(1)
    }
}
