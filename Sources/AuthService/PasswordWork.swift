import Dispatch
import Lantern
import Synchronization

/// Hashes passwords on threads of their own: it takes long by design, and must stop neither the event loops nor the
/// concurrency pool. What waits is bounded, so that a flood of log-ins is refused and not queued for minutes.
final class PasswordWork: Sendable {
    private let queues: [DispatchQueue]
    private let waiting = Mutex<(count: Int, next: Int)>((0, 0))
    private let limit = 64
    let parameters: PasswordHash.Parameters

    init(parameters: PasswordHash.Parameters, threads: Int = 2) {
        self.parameters = parameters
        self.queues = (0..<threads).map { DispatchQueue(label: "lantern-password-\($0)") }
    }

    func hash(_ password: String) async throws -> PasswordHash {
        try await self.run { try PasswordHash(password, parameters: self.parameters) }
    }

    func matches(_ password: String, _ hash: PasswordHash) async throws -> Bool {
        try await self.run { try hash.matches(password) }
    }

    private func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        let index = self.waiting.withLock { state -> Int? in
            guard state.count < self.limit else { return nil }
            state.count += 1
            state.next += 1
            return state.next % self.queues.count
        }
        guard let index else {
            throw Problem(
                .serviceUnavailable, "temporarily_unavailable", "Too many log-ins at once. Try again.",
                headers: [.retryAfter: "2"]
            )
        }
        defer { self.waiting.withLock { $0.count -= 1 } }
        return try await withCheckedThrowingContinuation { continuation in
            self.queues[index].async { continuation.resume(with: Result(catching: work)) }
        }
    }
}
