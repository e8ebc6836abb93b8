import CoreMetrics
public import Logging
public import ServiceLifecycle
import Synchronization

/// A pool of connections to one PostgreSQL database.
///
/// Connections are made when they are needed; a connection is held for the length of one statement or one transaction
/// and cannot leak. Every statement is measured (`db_client_operation_duration_seconds`) and, inside a trace, is a
/// client span with the statement's text, never with a parameter's value. All methods are safe from any task; cancelling
/// the task cancels the statement on the server and closes that connection.
public final class PostgresClient: Service {
    private struct State {
        var pool: PoolState<Driver>
        var continuations: [Int: CheckedContinuation<Driver, any Error>] = [:]
        var nextID = 0
    }

    private let state: Mutex<State>
    private let configuration: PostgresConfiguration
    private let logger: Logger
    let telemetry: PostgresTelemetry

    /// Makes its metrics with the factory that is current here.
    public init(configuration: PostgresConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        self.state = Mutex(
            State(
                pool: PoolState(
                    maximumConnections: configuration.maximumConnections, maximumWaiters: configuration.maximumWaiters
                )
            )
        )
        self.telemetry = PostgresTelemetry(pool: configuration.applicationName, url: configuration.url)
    }

    /// Serves until the group shuts down, then closes: idle connections at once, others when they come back.
    public func run() async throws {
        try? await gracefulShutdown()
        self.close()
    }

    /// Closes the pool. Those who wait get an error; what runs is finished.
    public func close() {
        let (connections, waiters) = self.state.withLock { state in
            let closed = state.pool.close()
            return (closed.connections, closed.waiters.compactMap { state.continuations.removeValue(forKey: $0) })
        }
        for waiter in waiters {
            waiter.resume(throwing: PostgresError(code: .closed, message: "the pool is closed"))
        }
        for connection in connections { connection.close() }
    }

    /// Runs one statement and answers its rows.
    /// - Throws: ``PostgresError``.
    @discardableResult
    public func query(_ sql: SQL) async throws -> PostgresResult {
        try await self.telemetry.measure(sql) {
            try await self.withDriver { driver in
                let results = try await driver.execute([sql])
                guard let result = results.first else {
                    throw PostgresError(code: .server, message: "the server gave no result")
                }
                return result
            }
        }
    }

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
        while true {
            do {
                return try await self.attemptTransaction(isolation: isolation, body)
            } catch let error as PostgresError where error.code == .serialization && attempt < retries {
                attempt += 1
                // Spread those who collided, so that they do not collide again.
                try await Task.sleep(for: .milliseconds(Int.random(in: 1...(10 << attempt))))
            }
        }
    }

    private func attemptTransaction<Value: Sendable>(
        isolation: PostgresTransaction.Isolation, _ body: @Sendable (PostgresTransaction) async throws -> Value
    ) async throws -> Value {
        let (value, hooks) = try await self.withDriver { driver in
            let transaction = PostgresTransaction(driver: driver, isolation: isolation, telemetry: self.telemetry)
            do {
                let value = try await body(transaction)
                try await transaction.commit()
                return (value, transaction.commitHooks)
            } catch {
                await transaction.rollBack()
                throw error
            }
        }
        for hook in hooks { hook() }
        return value
    }

    /// Whether a connection answers now.
    public func ping() async throws {
        _ = try await self.withDriver { driver in try await driver.execute(["SELECT 1"]) }
    }

    // MARK: - Connections

    /// A connection outside the pool, for sessions that are state: advisory locks, LISTEN. The caller closes it.
    func makeDedicatedDriver(
        onEnd: @escaping @Sendable (Driver) -> Void = { _ in },
        onNotification: (@Sendable (_ payload: String) -> Void)? = nil
    ) async throws -> Driver {
        try await self.makeDriver(id: -1, onEnd: onEnd, onNotification: onNotification)
    }

    func withDriver<Value>(_ body: (Driver) async throws -> Value) async throws -> Value {
        let driver = try await self.acquire()
        do {
            let value = try await body(driver)
            self.giveBack(driver)
            return value
        } catch {
            self.giveBack(driver)
            throw error
        }
    }

    private func acquire() async throws -> Driver {
        let start = ContinuousClock.now
        defer { self.telemetry.waited(start.duration(to: .now)) }
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let limit = Task { [timeout = self.configuration.acquireTimeout] in
            try await Task.sleep(for: timeout)
            self.abandon(
                id, PostgresError(code: .poolExhausted, message: "no connection became free within \(timeout)")
            )
        }
        defer { limit.cancel() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let action = self.state.withLock { state -> PoolState<Driver>.Action in
                    if Task.isCancelled {
                        return .refuse(PostgresError(code: .cancelled, message: "the task was cancelled"))
                    }
                    let action = state.pool.acquire(id)
                    switch action {
                    case .wait, .waitAndConnect: state.continuations[id] = continuation
                    case .lease, .refuse: break
                    }
                    return action
                }
                self.reportConnections()
                switch action {
                case .lease(let driver): continuation.resume(returning: driver)
                case .refuse(let error): continuation.resume(throwing: error)
                case .wait: break
                case .waitAndConnect: self.connect()
                }
            }
        } onCancel: {
            self.abandon(id, PostgresError(code: .cancelled, message: "the task was cancelled"))
        }
    }

    private func abandon(_ id: Int, _ error: PostgresError) {
        self.state.withLock { state in
            state.pool.abandon(id) ? state.continuations.removeValue(forKey: id) : nil
        }?.resume(throwing: error)
    }

    private func connect() {
        Task {
            do {
                let id = self.state.withLock { state in
                    state.nextID += 1
                    return state.nextID
                }
                let driver = try await self.makeDriver(id: id) { [weak self] ended in self?.forget(ended) }
                self.settle { $0.pool.connected(driver) }
            } catch {
                self.logger.debug("no connection to PostgreSQL", error: error)
                let (waiter, another) = self.state.withLock { state in
                    let waiter = state.pool.connectFailed().flatMap { state.continuations.removeValue(forKey: $0) }
                    return (waiter, state.pool.wantsConnection())
                }
                waiter?.resume(throwing: error)
                // For those who wait behind: without another attempt they would wait for their time limit.
                if another { self.connect() }
            }
        }
    }

    private func makeDriver(
        id: Int, onEnd: @escaping @Sendable (Driver) -> Void,
        onNotification: (@Sendable (_ payload: String) -> Void)? = nil
    ) async throws -> Driver {
        let driver = try await Driver.connect(
            id: id, configuration: self.configuration, onEnd: onEnd, onNotification: onNotification
        )
        let milliseconds = self.configuration.statementTimeout.milliseconds
        do {
            _ = try await driver.execute([
                "SET TIME ZONE 'UTC'", "SET datestyle = 'ISO, YMD'", "SET intervalstyle = 'iso_8601'",
                "SET bytea_output = 'hex'",
                SQL(unchecked: "SET statement_timeout = \(milliseconds)"),
                // A transaction that its client forgot must not hold its locks for ever.
                SQL(unchecked: "SET idle_in_transaction_session_timeout = \(milliseconds * 2)"),
            ])
        } catch {
            driver.close()
            throw error
        }
        return driver
    }

    private func giveBack(_ driver: Driver) {
        let young = driver.connectedAt.duration(to: .now) < self.configuration.maximumLifetime
        self.settle { $0.pool.giveBack(driver, usable: driver.isUsable && young) }
    }

    private func settle(_ change: @Sendable (inout State) -> PoolState<Driver>.Return) {
        let (outcome, waiter, replace) = self.state.withLock { state in
            let outcome = change(&state)
            if case .handOver(let id, _) = outcome {
                return (outcome, state.continuations.removeValue(forKey: id), false)
            }
            return (outcome, nil, state.pool.wantsConnection())
        }
        switch outcome {
        case .handOver(_, let driver): waiter?.resume(returning: driver)
        case .close(let driver): driver.close()
        case .keep: break
        }
        if replace { self.connect() }
        self.reportConnections()
    }

    /// A connection ended by itself: it must not be handed out again.
    private func forget(_ driver: Driver) {
        self.state.withLock { state in state.pool.removeIdle { $0 === driver } }
        self.reportConnections()
    }

    private func reportConnections() {
        let (idle, used) = self.state.withLock { ($0.pool.idle.count, $0.pool.leased) }
        self.telemetry.connections(idle: idle, used: used)
    }
}
