import Synchronization

extension ConformanceContext {
    /// Runs `work` for at most the patience of the suite.
    /// - Parameter what: What is to come, for the message where it does not.
    public func within<Value: Sendable>(
        _ what: String, _ work: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await atMost(self.patience, what, work)
    }

    /// Tries until there is a value.
    /// - Parameters:
    ///   - what: What is to come, for the message where it does not.
    ///   - seen: What there is instead.
    @discardableResult
    public func until<Value>(
        _ what: String, seen: () -> String = { "nothing" }, _ attempt: () async throws -> Value?
    ) async throws -> Value {
        let end = ContinuousClock.now + self.patience
        while true {
            if let value = try await attempt() { return value }
            guard ContinuousClock.now < end else {
                throw ConformanceFailure("expected that \(what) within \(self.patience), seen \(short(seen()))")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}

/// Runs `work` for at most `limit`. Then it is cancelled, and not waited for: a transport that hangs does not hang the
/// suite.
func atMost<Value: Sendable>(
    _ limit: Duration, _ what: String, _ work: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let race = Race<Value>()
    let task = Task {
        do {
            race.end(.success(try await work()))
        } catch {
            race.end(.failure(error))
        }
    }
    let timer = Task {
        try await Task.sleep(for: limit)
        race.end(.failure(ConformanceFailure("expected that \(what) within \(limit), seen no end of it")))
        task.cancel()
    }
    defer { timer.cancel() }
    return try await withTaskCancellationHandler {
        try await race.value()
    } onCancel: {
        task.cancel()
    }
}

/// What ends first decides.
private final class Race<Value: Sendable>: Sendable {
    private enum State {
        case open
        case waiting(CheckedContinuation<Value, any Error>)
        case ended(Result<Value, any Error>)
    }

    private let state = Mutex<State>(.open)

    func end(_ result: Result<Value, any Error>) {
        let waiter = self.state.withLock { state -> CheckedContinuation<Value, any Error>? in
            switch state {
            case .open:
                state = .ended(result)
                return nil
            case .waiting(let continuation):
                state = .ended(result)
                return continuation
            case .ended: return nil
            }
        }
        waiter?.resume(with: result)
    }

    func value() async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let ended = self.state.withLock { state -> Result<Value, any Error>? in
                if case .ended(let result) = state { return result }
                state = .waiting(continuation)
                return nil
            }
            if let ended { continuation.resume(with: ended) }
        }
    }
}
