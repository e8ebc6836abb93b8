import Synchronization

/// A transaction that is open. Valid inside the closure that received it only.
public final class PostgresTransaction: Sendable {
    /// How far concurrent transactions are kept apart (PostgreSQL documentation, section 13.2).
    public enum Isolation: String, Sendable {
        case readCommitted = "READ COMMITTED"
        case repeatableRead = "REPEATABLE READ"
        case serializable = "SERIALIZABLE"

        var begin: SQL { SQL(unchecked: "BEGIN ISOLATION LEVEL \(self.rawValue)") }
    }

    private struct State {
        var isBegun = false
        /// The connection was gone before anything was sent.
        var hasNeverBegun = false
        var hasEnded = false
        /// A statement was answered.
        var hasDone = false
        var hooks: [@Sendable () -> Void] = []
        var savepoints = 0
    }

    private let state = Mutex(State())
    let driver: Driver
    private let isolation: Isolation
    let telemetry: PostgresTelemetry

    init(driver: Driver, isolation: Isolation, telemetry: PostgresTelemetry) {
        self.driver = driver
        self.isolation = isolation
        self.telemetry = telemetry
    }

    /// Runs one statement in this transaction.
    /// - Throws: ``PostgresError``; the transaction can only roll back then, unless it was in a ``savepoint(_:)``.
    @discardableResult
    public func query(_ sql: SQL) async throws -> PostgresResult {
        let info = self.telemetry.info(sql.text)
        try info.check()
        return try await self.telemetry.measure(sql, info) {
            let results = try await self.run([sql])
            guard let result = results.last else {
                throw PostgresError(code: .server, message: "the server gave no result")
            }
            return result
        }
    }

    /// Runs one statement and answers how many rows it changed.
    /// - Throws: ``PostgresError``.
    @discardableResult
    public func execute(_ sql: SQL) async throws -> Int { try await self.query(sql).affectedRows }

    /// Runs several statements in one round trip; the first that fails ends them.
    /// - Returns: Their results, in order.
    /// - Throws: ``PostgresError``.
    @discardableResult
    public func batch(_ statements: [SQL]) async throws -> [PostgresResult] {
        guard !statements.isEmpty else { return [] }
        for statement in statements { try self.telemetry.info(statement.text).check() }
        let batch = StatementBatch(statements)
        return try await self.telemetry.measure(batch.summary, self.telemetry.batch) {
            try await self.run(statements)
        }
    }

    /// Runs `body` so that its failure undoes only what it did: the transaction can go on.
    /// - Throws: What `body` throws.
    @discardableResult
    public func savepoint<Value>(_ body: () async throws -> Value) async throws -> Value {
        let number = self.state.withLock { state in
            state.savepoints += 1
            return state.savepoints
        }
        try await self.run([SQL(unchecked: "SAVEPOINT lantern_\(number)")])
        do {
            let value = try await body()
            try await self.run([SQL(unchecked: "RELEASE SAVEPOINT lantern_\(number)")])
            return value
        } catch {
            // Not under the caller's cancellation, which would leave the transaction in doubt.
            let driver = self.driver
            let undone = await Task.detached {
                try await driver.run(
                    [
                        SQL(unchecked: "ROLLBACK TO SAVEPOINT lantern_\(number)"),
                        SQL(unchecked: "RELEASE SAVEPOINT lantern_\(number)"),
                    ], loss: .nothing, isAlone: false)
            }.result
            if case .failure = undone { driver.doom() }
            throw error
        }
    }

    /// Runs `hook` after this transaction has committed, on the task that committed; not when it rolls back.
    public func afterCommit(_ hook: @escaping @Sendable () -> Void) {
        self.state.withLock { $0.hooks.append(hook) }
    }

    var commitHooks: [@Sendable () -> Void] { self.state.withLock { $0.hooks } }
    var hasNeverBegun: Bool { self.state.withLock { $0.hasNeverBegun } }

    @discardableResult
    func run(_ statements: [SQL]) async throws -> [PostgresResult] {
        // BEGIN travels with the first statement: one round trip less, and none where nothing is done.
        if self.state.withLock({ $0.hasEnded }) {
            throw PostgresError(code: .closed, message: "the transaction has ended")
        }
        let isolation = self.isolation
        // The task was cancelled before; others may go on in this transaction, so it begins all the same.
        var isTooLate = false
        do {
            let results = try await self.driver.run(statements, loss: .nothing, isAlone: false) { request, submit in
                // In one step: a statement must never run before BEGIN, nor without it.
                self.state.withLock { state in
                    if !state.isBegun {
                        state.isBegun = true
                        isTooLate = request.isCancelled.load(ordering: .relaxed)
                        request.work = .statements([isolation.begin] + (isTooLate ? [] : statements))
                        request.mustBeSent = true
                    }
                    submit(request)
                }
            }
            self.state.withLock { $0.hasDone = true }
            if isTooLate { throw PostgresError.cancelledByTask }
            return results.suffix(statements.count)
        } catch let error as NeverSent {
            self.state.withLock { $0.hasNeverBegun = !$0.hasDone }
            throw error.cause
        }
    }

    private func end() -> Bool {
        self.state.withLock { state in
            state.hasEnded = true
            return state.isBegun
        }
    }

    func commit() async throws {
        guard self.end() else { return }
        let results = try await self.telemetry.measure("COMMIT", self.telemetry.info("COMMIT")) {
            do {
                return try await self.driver.run(["COMMIT"], loss: .unknown, isAlone: false)
            } catch let error as NeverSent {
                throw error.cause
            }
        }
        // The server answers ROLLBACK where an earlier statement failed and its error was swallowed.
        guard results.last?.commandTag == "COMMIT" else {
            throw PostgresError(code: .server, message: "the transaction was rolled back: a statement in it had failed")
        }
    }

    func rollBack() async {
        if self.end() { await self.driver.rollBack() }
    }
}

extension PostgresClient {
    /// Runs `body` in one transaction, which commits when `body` returns and rolls back when it throws.
    ///
    /// - Parameters:
    ///   - isolation: `READ COMMITTED` unless told otherwise.
    ///   - retries: How often the whole is tried again after a serialization failure or deadlock; `body` runs anew then.
    /// - Throws: What `body` throws, or ``PostgresError``; code `unknownOutcome` where the connection broke during COMMIT.
    public func transaction<Value: Sendable>(
        isolation: PostgresTransaction.Isolation = .readCommitted,
        retries: Int = 3,
        _ body: @Sendable (PostgresTransaction) async throws -> Value
    ) async throws -> Value {
        var attempt = 0
        var unsent = 0
        while true {
            var hasNeverBegun = false
            do {
                return try await self.attemptTransaction(isolation, &hasNeverBegun, body)
            } catch let error as PostgresError {
                if hasNeverBegun, unsent < 2, !Task.isCancelled {
                    // An idle connection had broken: nothing was done yet.
                    unsent += 1
                } else if error.isRetriable, attempt < retries {
                    attempt += 1
                    // Spread those who collided, so that they do not collide again.
                    try await Task.sleep(for: .milliseconds(Int.random(in: 1...(10 << min(attempt, 6)))))
                } else {
                    throw error
                }
            }
        }
    }

    private func attemptTransaction<Value: Sendable>(
        _ isolation: PostgresTransaction.Isolation, _ hasNeverBegun: inout Bool,
        _ body: @Sendable (PostgresTransaction) async throws -> Value
    ) async throws -> Value {
        let driver = try await self.pool.acquire(.alone)
        let transaction = PostgresTransaction(driver: driver, isolation: isolation, telemetry: self.telemetry)
        let value: Value
        do {
            value = try await body(transaction)
            try await transaction.commit()
        } catch {
            await transaction.rollBack()
            self.pool.giveBack(driver)
            hasNeverBegun = transaction.hasNeverBegun
            throw error
        }
        self.pool.giveBack(driver)
        for hook in transaction.commitHooks { hook() }
        return value
    }
}
