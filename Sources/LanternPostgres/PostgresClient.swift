public import Logging
public import ServiceLifecycle
import Synchronization

/// A pool of connections to one database.
///
/// Connections are made when they are needed. Statements outside a transaction share connections and travel one behind the
/// other without waiting for each other's answers; a transaction has a connection to itself. Use is scoped, so none can leak.
/// Every statement is measured (`db_client_operation_duration_seconds`) and, inside a trace, is a client span with the
/// statement's text, never with a parameter's value. All methods are safe from any task; cancelling the task cancels the
/// statement on the server.
public final class PostgresClient: Service {
    let pool: Pool
    let configuration: PostgresConfiguration
    let logger: Logger
    let telemetry: PostgresTelemetry

    /// Makes its metrics with the factory that is current here.
    public init(configuration: PostgresConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        self.telemetry = PostgresTelemetry(configuration, logger: logger)
        self.pool = Pool(configuration, self.telemetry, logger)
    }

    deinit { self.pool.close() }

    /// Serves until the group shuts down, then closes: idle connections at once, others when they come back, for which it waits
    /// until the group's time is over.
    public func run() async throws {
        self.pool.start()
        try? await gracefulShutdown()
        self.close()
        while self.pool.counts.total > 0, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(20)) }
    }

    /// Closes the pool. Those who wait get an error; what runs is finished.
    public func close() { self.pool.close() }

    // MARK: - Statements

    /// Runs one statement and answers its rows.
    ///
    /// A connection that breaks before the statement was sent is replaced by another. One that breaks behind it is the error
    /// `connectionLost` for a SELECT, and `unknownOutcome` for what may have changed something.
    /// - Throws: ``PostgresError``.
    @discardableResult
    public func query(_ sql: SQL) async throws -> PostgresResult {
        let info = self.telemetry.info(sql.text)
        try info.check()
        return try await self.telemetry.measure(sql, info) {
            let results = try await self.runAlone([sql], loss: info.loss)
            guard let result = results.first else {
                throw PostgresError(code: .server, message: "the server gave no result")
            }
            return result
        }
    }

    /// Runs one statement and answers how many rows it changed.
    /// - Throws: ``PostgresError``.
    @discardableResult
    public func execute(_ sql: SQL) async throws -> Int { try await self.query(sql).affectedRows }

    /// Runs several statements in one round trip, all or none: the first that fails undoes those before it.
    ///
    /// - Parameter isolation: That of the session where it is `nil`, usually `READ COMMITTED`.
    /// - Returns: Their results, in order.
    /// - Throws: ``PostgresError``.
    @discardableResult
    public func batch(
        _ statements: [SQL], isolation: PostgresTransaction.Isolation? = nil
    ) async throws -> [PostgresResult] {
        guard !statements.isEmpty else { return [] }
        for statement in statements { try self.telemetry.info(statement.text).check() }
        let batch = StatementBatch(statements)
        return try await self.telemetry.measure(batch.summary, self.telemetry.batch) {
            // Under one Sync, statements are one transaction already, at the isolation the session has.
            guard let isolation else { return try await self.runAlone(statements, loss: .unknown) }
            return try await self.withFreshDriver { driver in
                do {
                    let results = try await driver.run(batch.inTransaction(isolation), loss: .unknown, isAlone: false)
                    return Array(results.dropFirst().dropLast())
                } catch {
                    await driver.rollBack()
                    throw error
                }
            }
        }
    }

    /// Whether a connection answers now. Waits for one for a second at most, to tell why there is none.
    /// - Throws: ``PostgresError``.
    public func ping() async throws {
        let driver = try await self.pool.acquire(.shared, patience: .seconds(1))
        defer { self.pool.giveBack(driver) }
        do {
            _ = try await driver.run(["SELECT 1"], loss: .nothing, isAlone: true)
        } catch let error as NeverSent {
            throw error.cause
        }
    }

    // MARK: - Connections

    private func runAlone(_ statements: [SQL], loss: Request.Loss) async throws -> [PostgresResult] {
        var attempt = 1
        while true {
            do {
                return try await self.withDriver(.shared) { driver in
                    try await driver.run(statements, loss: loss, isAlone: true)
                }
            } catch let error as NeverSent {
                guard attempt < 3, !Task.isCancelled else { throw error.cause }
                attempt += 1
            }
        }
    }

    /// A connection to oneself; another one where it turns out to have broken before anything was sent.
    func withFreshDriver<Value>(_ body: (Driver) async throws -> Value) async throws -> Value {
        var attempt = 1
        while true {
            do {
                return try await self.withDriver(.alone, body)
            } catch let error as NeverSent {
                guard attempt < 3, !Task.isCancelled else { throw error.cause }
                attempt += 1
            }
        }
    }

    func withDriver<Value>(_ use: PoolState<Driver>.Use, _ body: (Driver) async throws -> Value) async throws -> Value {
        let driver = try await self.pool.acquire(use)
        do {
            let value = try await body(driver)
            self.pool.giveBack(driver)
            return value
        } catch {
            self.pool.giveBack(driver)
            throw error
        }
    }

    /// A connection outside the pool, for sessions that are state: advisory locks, LISTEN. The caller closes it.
    /// - Throws: ``PostgresError``; code `pooled` where the server behind it is not the one that was reached.
    func makeDedicatedDriver(
        onEnd: @escaping @Sendable (Driver) -> Void = { _ in },
        onNotification: (@Sendable (_ channel: String, _ payload: String) -> Void)? = nil
    ) async throws -> Driver {
        let driver = try await Driver.connect(self.configuration, onEnd: onEnd, onNotification: onNotification)
        do {
            try await driver.refusePooler()
            return driver
        } catch {
            driver.close()
            throw error
        }
    }
}

/// Statements that are sent together.
struct StatementBatch {
    private let statements: [SQL]

    init(_ statements: [SQL]) { self.statements = statements }

    /// All texts, for the span.
    var summary: SQL { SQL(unchecked: self.statements.map { $0.text }.joined(separator: ";\n")) }

    func inTransaction(_ isolation: PostgresTransaction.Isolation) -> [SQL] {
        [isolation.begin] + self.statements + ["COMMIT"]
    }
}

extension Driver {
    /// Ends a transaction that failed, whatever becomes of the task.
    func rollBack() async {
        guard self.isUsable else { return self.close() }
        // Not under the caller's cancellation: the connection goes back to the pool and must be clean.
        let rolledBack = await Task.detached {
            try await self.run(["ROLLBACK"], loss: .nothing, isAlone: false)
        }.result
        if case .failure = rolledBack { self.close() }
    }

    /// A pooler that gives a session to each transaction says another process than the one that works: what belongs to a session
    /// would be somebody else's.
    func refusePooler() async throws {
        let error = PostgresError(
            code: .pooled,
            message:
                "this needs a session, and the connection leads through a transaction pooler: use a direct connection")
        if self.configuration.isPooled { throw error }
        let results = try await self.ask("SELECT pg_backend_pid()")
        guard let row = results.first?.first, try row.decode(Int32.self) == self.backendProcessID else { throw error }
    }
}
