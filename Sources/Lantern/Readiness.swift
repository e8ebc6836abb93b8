import LanternPostgres
import Synchronization

/// Whether a service can serve, and why not.
public final class Readiness: Sendable {
    /// Kept for each dependency: asked at most once a second, whoever probes.
    struct Report: Encodable, Sendable {
        enum Status: String, Encodable, Sendable { case up, degraded, down }

        var status: Status
        var required: Bool
        /// Seconds since it was asked.
        var age_seconds: Double
        var detail: String?
    }

    enum Phase: Sendable { case starting, serving, draining }

    private struct Check: Sendable {
        var name: String
        var required: Bool
        var ask: @Sendable () async throws -> Void
    }

    private struct State {
        var phase = Phase.starting
        var checks: [Check] = []
        var answers: [String: (error: String?, at: ContinuousClock.Instant)] = [:]
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private static let freshness: Duration = .seconds(1)
    private static let timeLimit: Duration = .seconds(2)

    init() {}

    /// Adds a dependency. A required one that is down makes the service not ready; another one only degrades it.
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

    /// Asks what is not fresh, each within its time limit.
    func report() async -> (ready: Bool, dependencies: [String: Report]) {
        let checks = self.state.withLock { $0.checks }
        await withTaskGroup(of: Void.self) { group in
            for check in checks {
                let age = self.state.withLock { $0.answers[check.name].map { ContinuousClock.now - $0.at } }
                if let age, age < Self.freshness { continue }
                group.addTask { await self.ask(check) }
            }
        }
        let (phase, answers) = self.state.withLock { ($0.phase, $0.answers) }
        var reports: [String: Report] = [:]
        for check in checks {
            guard let answer = answers[check.name] else { continue }
            let age = ContinuousClock.now - answer.at
            reports[check.name] = Report(
                status: answer.error == nil ? .up : check.required ? .down : .degraded,
                required: check.required,
                age_seconds: Double(age.components.seconds) + Double(age.components.attoseconds / 1_000_000_000_000_000)
                    / 1_000,
                detail: answer.error
            )
        }
        return (phase == .serving && !reports.values.contains { $0.status == .down }, reports)
    }

    private func ask(_ check: Check) async {
        let error = await withTaskGroup(of: String?.self) { group in
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
                try? await Task.sleep(for: Self.timeLimit)
                return "no answer within \(Self.timeLimit)"
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
        self.state.withLock { $0.answers[check.name] = (error, .now) }
    }
}
