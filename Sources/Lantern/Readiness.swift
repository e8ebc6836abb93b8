import LanternPostgres
import Synchronization

/// Whether a service can serve, and why not.
///
/// A dependency is asked at most once a second, however many probe at once: they share the ask that is under way, and
/// its answer as long as it is fresh.
public final class Readiness: Sendable {
    enum Phase: Sendable { case starting, serving, draining }

    /// What is known of one dependency.
    struct Dependency: Encodable, Sendable {
        enum Status: String, Encodable, Sendable { case up, degraded, down }

        var status: Status
        var required: Bool
        /// Seconds since it was asked.
        var age_seconds: Double
        var detail: String?
    }

    /// The answer to one probe. All of it follows from one reading of the phase, so that no part gainsays another.
    struct Report: Sendable {
        enum Status: String, Encodable, Sendable { case starting, up, degraded, down, draining }

        var phase: Phase
        var dependencies: [String: Dependency]

        var status: Status {
            let statuses = self.dependencies.values.map(\.status)
            return switch self.phase {
            case .starting: .starting
            case .draining: .draining
            case .serving: statuses.contains(.down) ? .down : statuses.contains(.degraded) ? .degraded : .up
            }
        }

        var ready: Bool { self.status == .up || self.status == .degraded }
    }

    private struct Check: Sendable {
        var name: String
        var required: Bool
        var ask: @Sendable () async throws -> Void
    }

    private struct Answer: Sendable {
        var error: String?
        var at: ContinuousClock.Instant
    }

    private struct State {
        var phase = Phase.starting
        var checks: [Check] = []
        var answers: [String: Answer] = [:]
        var asks: [String: Task<Void, Never>] = [:]
    }

    private let state = Mutex(State())
    private let freshness: Duration
    private let timeLimit: Duration

    /// - Parameters:
    ///   - freshness: How long an answer stands for the next one.
    ///   - timeLimit: For each ask. What has not answered by then is away.
    init(freshness: Duration = .seconds(1), timeLimit: Duration = .seconds(2)) {
        self.freshness = freshness
        self.timeLimit = timeLimit
    }

    /// Adds a dependency. A required one that is down makes the service not ready; another one only degrades it.
    /// - Parameter ask: Throws where the dependency is away. After the time limit it is cancelled, and must then end.
    func add(_ name: String, required: Bool, _ ask: @escaping @Sendable () async throws -> Void) {
        self.state.withLock { $0.checks.append(Check(name: name, required: required, ask: ask)) }
    }

    var phase: Phase { self.state.withLock { $0.phase } }

    func started() {
        self.state.withLock { state in
            if state.phase == .starting { state.phase = .serving }
        }
    }

    func draining() {
        self.state.withLock { $0.phase = .draining }
    }

    /// Asks what is not fresh, each within its time limit. Cancelling the caller ends nothing: others may wait for it.
    func report() async -> Report {
        let checks = self.state.withLock { $0.checks }
        // All are under way before the first is waited for.
        for ask in checks.compactMap({ self.ask($0) }) { await ask.value }
        let (phase, answers) = self.state.withLock { ($0.phase, $0.answers) }
        let now = ContinuousClock.now
        var dependencies: [String: Dependency] = [:]
        for check in checks {
            guard let answer = answers[check.name] else { continue }
            let (seconds, attoseconds) = answer.at.duration(to: now).components
            dependencies[check.name] = Dependency(
                status: answer.error == nil ? .up : check.required ? .down : .degraded,
                required: check.required,
                age_seconds: Double(seconds) + Double(attoseconds / 1_000_000_000_000_000) / 1_000,
                detail: answer.error
            )
        }
        return Report(phase: phase, dependencies: dependencies)
    }

    /// The ask that is under way, or a new one; `nil` where the last answer is fresh.
    private func ask(_ check: Check) -> Task<Void, Never>? {
        self.state.withLock { state -> Task<Void, Never>? in
            if let running = state.asks[check.name] { return running }
            if let answer = state.answers[check.name], answer.at.duration(to: .now) < self.freshness { return nil }
            // No child of the probe: one that hangs up would else leave "away" behind as the answer to all others.
            let task = Task {
                let error = await self.outcome(of: check)
                self.state.withLock { state in
                    state.answers[check.name] = Answer(error: error, at: .now)
                    state.asks[check.name] = nil
                }
            }
            state.asks[check.name] = task
            return task
        }
    }

    /// `nil` where the dependency answered.
    private func outcome(of check: Check) async -> String? {
        await withTaskGroup(of: String?.self) { group in
            group.addTask {
                do {
                    try await check.ask()
                    return nil
                } catch {
                    // The code only: the text of an error is for the log.
                    return (error as? PostgresError)?.code.rawValue ?? "unavailable"
                }
            }
            group.addTask {
                try? await Task.sleep(for: self.timeLimit)
                return "no answer within \(self.timeLimit)"
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }
}
