import Glibc

package enum ProcessTime {
    /// What all threads of this process have used of the processors, user and system together (clock_gettime(2)).
    package static var now: Duration {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
