import Logging
import Synchronization

/// Acts on what ``PoolState`` decides: makes and closes connections, resumes those who wait, keeps the time.
final class Pool: Sendable {
    private struct State {
        var pool: PoolState<Driver>
        var continuations: [Int: CheckedContinuation<Driver, any Error>] = [:]
        var nextID = 0
        /// When the timer comes.
        var timer: (at: ContinuousClock.Instant, task: Task<Void, Never>)?
        var reported = (idle: 0, used: 0)
    }

    private let state: Mutex<State>
    private let configuration: PostgresConfiguration
    private let telemetry: PostgresTelemetry
    private let logger: Logger

    init(_ configuration: PostgresConfiguration, _ telemetry: PostgresTelemetry, _ logger: Logger) {
        self.configuration = configuration
        self.telemetry = telemetry
        self.logger = logger
        let limits = PoolState<Driver>.Limits(
            minimum: max(0, min(configuration.minimumConnections, configuration.maximumConnections)),
            maximum: max(1, configuration.maximumConnections), depth: max(1, configuration.pipelineDepth),
            waiters: max(1, configuration.maximumWaiters), patience: configuration.acquireTimeout,
            idle: configuration.idleTimeout
        )
        self.state = Mutex(State(pool: PoolState(limits)))
    }

    var counts: (total: Int, used: Int, waiting: Int) {
        self.state.withLock { ($0.pool.total, $0.pool.used, $0.pool.waiting) }
    }

    /// Makes the least number of connections.
    func start() { self.tick() }

    func close() {
        let effects = self.change { $0.close() }
        self.state.withLock { state in
            state.timer?.task.cancel()
            state.timer = nil
        }
        self.act(on: effects)
    }

    func acquire(_ use: PoolState<Driver>.Use, patience: Duration? = nil) async throws -> Driver {
        let start = ContinuousClock.now
        let (free, effects) = self.state.withLock { state in
            var effects = PoolState<Driver>.Effects()
            let driver = state.pool.lease(use, &effects, now: start)
            self.report(&state)
            return (driver, effects)
        }
        if let free {
            if effects.connects > 0 { self.act(on: effects) }
            self.telemetry.waited(.zero)
            return free
        }
        defer { self.telemetry.waited(start.duration(to: .now)) }
        return try await self.wait(use, patience)
    }

    private func wait(_ use: PoolState<Driver>.Use, _ patience: Duration?) async throws -> Driver {
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (decision, effects) = self.state.withLock {
                    state -> (PoolState<Driver>.Decision, PoolState<Driver>.Effects) in
                    if Task.isCancelled { return (.refuse(.cancelledByTask), PoolState<Driver>.Effects()) }
                    let (decision, effects) = state.pool.acquire(use, id, patience: patience, now: .now)
                    if case .wait = decision { state.continuations[id] = continuation }
                    self.report(&state)
                    self.arm(&state)
                    return (decision, effects)
                }
                switch decision {
                case .lease(let driver): continuation.resume(returning: driver)
                case .refuse(let error): continuation.resume(throwing: error)
                case .wait: break
                }
                self.act(on: effects)
            }
        } onCancel: {
            let (continuation, effects) = self.state.withLock { state in
                let effects = state.pool.abandon(id, now: .now)
                return (effects == nil ? nil : state.continuations.removeValue(forKey: id), effects)
            }
            continuation?.resume(throwing: PostgresError.cancelledByTask)
            if let effects { self.act(on: effects) }
        }
    }

    func giveBack(_ driver: Driver) {
        let isUsable = driver.isUsable
        let effects = self.state.withLock { state in
            let effects = state.pool.giveBack(driver, isUsable: isUsable, now: .now)
            self.report(&state)
            // Only where the timer would come too late for it: this runs for each statement.
            if state.timer.map({ $0.at > .now + self.configuration.idleTimeout }) ?? true { self.arm(&state) }
            return effects
        }
        self.act(on: effects)
    }

    // MARK: - Acting

    private func change(_ change: (inout PoolState<Driver>) -> PoolState<Driver>.Effects) -> PoolState<Driver>.Effects {
        self.state.withLock { state in
            let effects = change(&state.pool)
            self.report(&state)
            self.arm(&state)
            return effects
        }
    }

    private func act(on effects: PoolState<Driver>.Effects) {
        if !effects.grants.isEmpty || !effects.refusals.isEmpty {
            let (granted, refused) = self.state.withLock { state in
                (
                    effects.grants.map { (state.continuations.removeValue(forKey: $0.0), $0.1) },
                    effects.refusals.map { (state.continuations.removeValue(forKey: $0.0), $0.1) }
                )
            }
            for (continuation, driver) in granted { continuation?.resume(returning: driver) }
            for (continuation, error) in refused { continuation?.resume(throwing: error) }
        }
        for driver in effects.closes { driver.close() }
        for _ in 0..<effects.connects { self.connect() }
    }

    private func connect() {
        // Detached: a connection is nobody's, and belongs to no trace.
        Task.detached {
            do {
                let driver = try await Driver.connect(self.configuration) { [weak self] ended in self?.lost(ended) }
                // Those made together are not to end together.
                let lifetime = self.configuration.maximumLifetime * Double.random(in: 0.9...1)
                self.act(on: self.change { $0.connected(driver, expires: .now + lifetime, now: .now) })
                // It may have ended before the pool knew it.
                if !driver.isUsable { self.lost(driver) }
            } catch {
                let error = (error as? NeverSent)?.cause ?? (error as? PostgresError) ?? .cancelledByTask
                self.logger.debug("no connection to PostgreSQL", error: error)
                let effects = self.change { pool in
                    let pause = pool.pause * Double.random(in: 0.8...1.2)
                    return pool.connectFailed(error, isHopeless: error.isHopeless, pause: pause, now: .now)
                }
                self.act(on: effects)
            }
        }
    }

    private func lost(_ driver: Driver) {
        self.act(on: self.change { $0.lost(driver, now: .now) })
    }

    private func report(_ state: inout State) {
        let now = (idle: state.pool.idle, used: state.pool.used)
        if now != state.reported {
            state.reported = now
            self.telemetry.connections(idle: now.idle, used: now.used)
        }
    }

    // MARK: - Time

    /// Makes the timer come when something is due.
    private func arm(_ state: inout State) {
        guard let next = state.pool.nextTick else { return }
        if let timer = state.timer, timer.at <= next { return }
        state.timer?.task.cancel()
        let task = Task.detached { [weak self] in
            try? await Task.sleep(until: next, clock: .continuous)
            if !Task.isCancelled { self?.tick() }
        }
        state.timer = (next, task)
    }

    private func tick() {
        let effects = self.state.withLock { state in
            state.timer = nil
            let (effects, _) = state.pool.tick(now: .now)
            self.report(&state)
            self.arm(&state)
            return effects
        }
        self.act(on: effects)
    }
}

extension PostgresError {
    /// Whether another attempt to connect would fail as well: the server answered, and does not want this client. What it says
    /// while it starts, stops or is full passes.
    var isHopeless: Bool {
        guard self.code == .connect, self.message.contains("FATAL:") else { return false }
        return ![
            "starting up", "shutting down", "recovery", "too many", "remaining connection slots", "terminating",
            "canceling", "login has been failing",
        ]
        .contains { self.message.contains($0) }
    }
}
