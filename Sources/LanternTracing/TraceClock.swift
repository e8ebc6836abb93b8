import Glibc

/// The time of one trace within this process: wall-clock time at its beginning, and from there on the monotonic clock, so
/// that no span of it ends before it began, or begins before its parent, when the wall clock is set.
struct TraceClock: Sendable {
    /// What is added to the monotonic clock, in nanoseconds.
    private let offset: Int64

    init() {
        self.offset = Self.read(CLOCK_REALTIME) - Self.read(CLOCK_MONOTONIC)
    }

    /// An instant that was just taken from the wall clock, in this trace's time; any other one as it is.
    ///
    /// swift-distributed-tracing gives the wall clock's time where nobody says another, and does not tell the two apart.
    func time(_ instant: UInt64) -> UInt64 {
        let given = Int64(clamping: instant)
        let now = Self.read(CLOCK_MONOTONIC) + self.offset
        if abs(given - now) < Self.moment { return UInt64(clamping: now) }
        // Either somebody means another time, or the wall clock was set since the trace began.
        return abs(given - Self.read(CLOCK_REALTIME)) < Self.moment ? UInt64(clamping: now) : instant
    }

    /// Longer than it takes to ask a clock, shorter than anybody measures by hand.
    private static let moment: Int64 = 20_000

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
