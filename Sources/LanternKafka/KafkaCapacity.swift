import Synchronization

/// Bounds what a producer has under way, in records and bytes: beyond it, senders wait in turn.
///
/// A record larger than the whole bound may go alone, so that it fails by the broker's word and not by waiting for ever.
final class KafkaCapacity: Sendable {
    private struct Waiter {
        var id: Int
        var bytes: Int
        var continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var records = 0
        var bytes = 0
        var waiters: [Waiter] = []
        var nextID = 0
    }

    private let maximumRecords: Int
    private let maximumBytes: Int
    private let state = Mutex(State())

    init(records: Int, bytes: Int) {
        self.maximumRecords = records
        self.maximumBytes = bytes
    }

    /// Takes room for all of several records at once, unless there is none or somebody waits for it already.
    func tryAcquire(records: Int = 1, bytes: Int) -> Bool {
        self.state.withLock { state in
            guard state.waiters.isEmpty, self.fits(bytes, state, records: records) else { return false }
            state.records += records
            state.bytes += bytes
            return true
        }
    }

    func acquire(bytes: Int) async throws {
        let id = self.state.withLock { state -> Int? in
            if state.waiters.isEmpty, self.fits(bytes, state) {
                state.records += 1
                state.bytes += bytes
                return nil
            }
            state.nextID += 1
            return state.nextID
        }
        guard let id else { return }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome = self.state.withLock { state -> Result<Void, any Error>? in
                    if Task.isCancelled { return .failure(CancellationError()) }
                    // Room may have come between the two locks.
                    if state.waiters.isEmpty, self.fits(bytes, state) {
                        state.records += 1
                        state.bytes += bytes
                        return .success(())
                    }
                    state.waiters.append(Waiter(id: id, bytes: bytes, continuation: continuation))
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            let (cancelled, ready) = self.state.withLock { state -> (Waiter?, [Waiter]) in
                guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return (nil, []) }
                // It may have kept others waiting for whom there is room.
                return (state.waiters.remove(at: index), self.grant(&state))
            }
            cancelled?.continuation.resume(throwing: CancellationError())
            for waiter in ready { waiter.continuation.resume() }
        }
    }

    func release(records: Int = 1, bytes: Int) {
        let ready = self.state.withLock { state -> [Waiter] in
            state.records -= records
            state.bytes -= bytes
            return self.grant(&state)
        }
        for waiter in ready { waiter.continuation.resume() }
    }

    /// Those at the front for whom there is room now.
    private func grant(_ state: inout State) -> [Waiter] {
        var ready: [Waiter] = []
        while let first = state.waiters.first, self.fits(first.bytes, state) {
            state.records += 1
            state.bytes += first.bytes
            ready.append(state.waiters.removeFirst())
        }
        return ready
    }

    private func fits(_ bytes: Int, _ state: State, records: Int = 1) -> Bool {
        (state.records == 0 && records == 1)
            || (state.records + records <= self.maximumRecords && state.bytes + bytes <= self.maximumBytes)
    }
}
