import Glibc
import Synchronization

/// How long a connection takes for a statement, as the pool wants to know it from any thread.
final class Pace: Sendable {
    /// Nanoseconds, a moving average over about eight statements. Slow until the contrary is known.
    private let service = Atomic<Int64>(1_000_000)
    /// Since when the server is at work on the first that is under way, on the monotonic clock; 0 where nothing is.
    private let since = Atomic<Int64>(0)

    static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    func began() { self.since.store(Self.now, ordering: .relaxed) }

    /// One is answered; `hasMore` where another is under way.
    func answered(hasMore: Bool) {
        let now = Self.now
        let since = self.since.load(ordering: .relaxed)
        if since > 0 {
            let average = self.service.load(ordering: .relaxed)
            self.service.store(average + (now - since - average) / 8, ordering: .relaxed)
        }
        self.since.store(hasMore ? now : 0, ordering: .relaxed)
    }

    /// Nanoseconds that another statement would wait for those before it.
    func expectedWait(behind users: Int) -> Int64 {
        let average = self.service.load(ordering: .relaxed)
        let since = self.since.load(ordering: .relaxed)
        let running = since > 0 ? Self.now - since : 0
        return max(average * Int64(users), running)
    }
}

extension Driver: PooledConnection {
    func expectedWait(behind users: Int) -> Int64 { self.pace.expectedWait(behind: users) }
}
