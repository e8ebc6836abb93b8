import Synchronization

/// A transaction that is open. Valid inside the closure that received it only.
public final class PostgresTransaction: Sendable {
    /// How far concurrent transactions are kept apart (PostgreSQL documentation, section 13.2).
    public enum Isolation: String, Sendable {
        case readCommitted = "READ COMMITTED"
        case repeatableRead = "REPEATABLE READ"
        case serializable = "SERIALIZABLE"
    }

    private struct State {
        var begun = false
        var failed = false
        var hooks: [@Sendable () -> Void] = []
    }

    private let state = Mutex(State())
    private let driver: Driver
    private let isolation: Isolation
    private let telemetry: PostgresTelemetry

    init(driver: Driver, isolation: Isolation, telemetry: PostgresTelemetry) {
        self.driver = driver
        self.isolation = isolation
        self.telemetry = telemetry
    }

    /// Runs one statement in this transaction.
    /// - Throws: ``PostgresError``; the transaction can only roll back then.
    @discardableResult
    public func query(_ sql: SQL) async throws -> PostgresResult {
        try await self.telemetry.measure(sql) {
            // BEGIN travels with the first statement: one round trip less, and none where nothing is done.
            let begin = self.state.withLock { state in
                defer { state.begun = true }
                return !state.begun
            }
            do {
                let results = try await self.driver.execute(
                    begin ? [SQL(unchecked: "BEGIN ISOLATION LEVEL \(self.isolation.rawValue)"), sql] : [sql]
                )
                guard let result = results.last else {
                    throw PostgresError(code: .server, message: "the server gave no result")
                }
                return result
            } catch {
                self.state.withLock { $0.failed = true }
                throw error
            }
        }
    }

    /// Runs `hook` after this transaction has committed, on the task that committed; not when it rolls back.
    public func afterCommit(_ hook: @escaping @Sendable () -> Void) {
        self.state.withLock { $0.hooks.append(hook) }
    }

    var commitHooks: [@Sendable () -> Void] { self.state.withLock { $0.hooks } }

    func commit() async throws {
        guard self.state.withLock({ $0.begun }) else { return }
        let results = try await self.telemetry.measure("COMMIT") {
            try await self.driver.execute(["COMMIT"], isCommit: true)
        }
        // The server answers ROLLBACK where an earlier statement failed and its error was swallowed.
        guard results.last?.commandTag == "COMMIT" else {
            throw PostgresError(code: .server, message: "the transaction was rolled back: a statement in it had failed")
        }
    }

    func rollBack() async {
        guard self.state.withLock({ $0.begun }) else { return }
        guard self.driver.isUsable else { return self.driver.close() }
        // Not under the caller's cancellation: the connection goes back to the pool and must be clean.
        let driver = self.driver
        let rolledBack = await Task { try await driver.execute(["ROLLBACK"]) }.result
        if case .failure = rolledBack { driver.close() }
    }
}
