import Synchronization

/// Holds whoever comes until it is opened. It does not hear of cancellation: what it holds is stuck.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var arrived = 0
        var held: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// How many have come so far.
    var arrived: Int { self.state.withLock { $0.arrived } }

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = self.state.withLock { state -> Bool in
                state.arrived += 1
                if !state.isOpen { state.held.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let held = self.state.withLock { state -> [CheckedContinuation<Void, Never>] in
            defer { state.held = [] }
            state.isOpen = true
            return state.held
        }
        for continuation in held { continuation.resume() }
    }
}
