import Synchronization

/// Wakes one task. Fired while nobody waits, it lets the next wait return at once.
final class Signal: Sendable {
    private struct State {
        var isFired = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func fire() {
        self.state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.isFired = state.waiter == nil
            defer { state.waiter = nil }
            return state.waiter
        }?.resume()
    }

    /// Returns when it is fired, the time is over, or the task is cancelled.
    func wait(atMost time: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: time) }
            group.addTask { await self.wait() }
            await group.next()
            group.cancelAll()
        }
    }

    /// Returns when it is fired, or the task is cancelled.
    func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isNow = self.state.withLock { state -> Bool in
                    if state.isFired || Task.isCancelled {
                        state.isFired = false
                        return true
                    }
                    state.waiter = continuation
                    return false
                }
                if isNow { continuation.resume() }
            }
        } onCancel: {
            self.state.withLock { state -> CheckedContinuation<Void, Never>? in
                defer { state.waiter = nil }
                return state.waiter
            }?.resume()
        }
    }
}
