@testable import LanternPostgres
import Testing

@Suite("The pool's book-keeping, by chance")
struct PoolStateModelTests {
    @Test(
        "whatever happens in whatever order, no bound is broken, and everybody is served or refused once",
        arguments: UInt64(1)...60)
    func randomWalk(seed: UInt64) {
        var walk = PoolWalk(seed: seed)
        for step in 0..<3_000 {
            walk.step()
            if let fault = walk.fault {
                Issue.record("seed \(seed), step \(step): \(fault)")
                return
            }
        }
        if seed.isMultiple(of: 2) {
            walk.close()
            walk.comeToRest()
        } else {
            walk.comeToRest()
            walk.close()
        }
        #expect(walk.fault == nil, "seed \(seed), at the end")
    }
}

/// Does to a pool what tasks, servers and clocks do, and keeps books of its own.
private struct PoolWalk {
    typealias State = PoolState<FakeConnection>

    private struct Open {
        let connection: FakeConnection
        /// From then on it gets nothing new.
        let expires: ContinuousClock.Instant
        var users = 0
        var isAlone = false
    }

    private struct Waiter {
        let id: Int
        let use: State.Use
        let deadline: State.Instant
    }

    private var pool: State
    private var generator: SeededGenerator
    private var now = ContinuousClock.now
    /// The connections the pool knows.
    private var open: [Open] = []
    /// One entry for each use, of connections that were closed meanwhile too.
    private var leases: [FakeConnection] = []
    private var waiting: [Waiter] = []
    private var connecting = 0
    private var number = 0
    private var isServerUp = true
    private var isClosed = false
    /// What went wrong first.
    private(set) var fault: String?

    init(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let maximum = Int.random(in: 1...4, using: &generator)
        let limits = State.Limits(
            minimum: Int.random(in: 0...maximum, using: &generator), maximum: maximum,
            depth: Int.random(in: 1...4, using: &generator), waiters: Int.random(in: 1...8, using: &generator),
            idle: .seconds(60)
        )
        self.pool = PoolState(limits)
        self.generator = generator
        self.tick()
    }

    mutating func step() {
        switch self.random(16) {
        case 0...5: self.acquire(self.random(3) > 0 ? .shared : .alone)
        case 6...9: self.giveBack(isUsable: self.random(10) > 0)
        case 10: self.abandon()
        case 11...12:
            // Now and then the server is away for long.
            if self.random(20) == 0 { self.isServerUp.toggle() }
            if self.isServerUp, self.random(8) > 0 { self.connect() } else { self.failToConnect(self.random(8) == 0) }
        case 13: if self.random(4) == 0 { self.lose() }
        default:
            self.now += .milliseconds(self.random(20) > 0 ? 1 + self.random(300) : 1 + self.random(40_000))
            // A timer may be late.
            if self.random(3) > 0 { self.tick() }
        }
        self.check()
    }

    /// Gives back what is out, and does what is due, until nobody waits any more.
    mutating func comeToRest() {
        for _ in 0..<10_000 where self.fault == nil {
            if !self.leases.isEmpty {
                self.giveBack(isUsable: true)
            } else if self.connecting > 0 {
                self.connect()
            } else if !self.waiting.isEmpty, let next = self.pool.nextTick {
                self.now = max(self.now, next)
                self.tick()
            } else {
                break
            }
            self.check()
        }
        self.verify(self.leases.isEmpty && self.pool.used == 0, "\(self.pool.used) are in use at the end")
        self.verify(self.waiting.isEmpty && self.pool.waiting == 0, "\(self.pool.waiting) wait at the end")
        self.verify(!self.isClosed || self.pool.total == 0, "a closed pool keeps \(self.pool.total)")
    }

    mutating func close() {
        self.isClosed = true
        self.apply(self.pool.close())
        self.verify(self.waiting.isEmpty, "closing forgot who waits")
        self.verify(self.open.allSatisfy { $0.users > 0 }, "closing forgot what is idle")
        self.acquire(.shared)
        self.acquire(.alone)
        self.check()
    }

    // MARK: - Steps

    private mutating func acquire(_ use: State.Use) {
        self.number += 1
        let alone = self.waiting.count { $0.use == .alone }
        let isFirst = use == .shared ? alone == self.waiting.count : self.waiting.isEmpty
        let shareable = self.open.count { !$0.isAlone }
        let (decision, effects) = self.pool.acquire(use, self.number, now: self.now)
        switch decision {
        case .lease(let connection):
            self.verify(isFirst, "\(self.number) overtook those who wait")
            self.verify(alone == 0 || alone < shareable, "\(self.number) took what is kept for another")
            self.take(connection, use)
        case .wait:
            let deadline = self.now + self.pool.limits.patience
            self.waiting.append(Waiter(id: self.number, use: use, deadline: deadline))
        case .refuse(let error) where self.isClosed:
            self.verify(error.code == .closed, "refused by a closed pool: \(error)")
        case .refuse(let error) where error.code == .poolExhausted:
            self.verify(self.waiting.count == self.pool.limits.waiters, "refused although there was room")
        case .refuse(let error):
            self.verify(error.code == .connect && self.open.isEmpty, "refused beside a connection: \(error)")
        }
        self.apply(effects)
    }

    private mutating func giveBack(isUsable: Bool) {
        guard !self.leases.isEmpty else { return }
        let chosen = self.random(self.leases.count)
        let connection = self.leases.remove(at: chosen)
        if let index = self.index(of: connection) {
            self.open[index].users -= 1
            self.open[index].isAlone = false
        }
        self.apply(
            self.pool.giveBack(connection, isUsable: isUsable, now: self.now), broken: isUsable ? nil : connection)
        self.verify(isUsable || self.index(of: connection) == nil, "\(connection.name) was kept, though it is broken")
    }

    private mutating func abandon() {
        let id = self.waiting.randomElement(using: &self.generator)?.id ?? -1
        let effects = self.pool.abandon(id, now: self.now)
        self.verify((effects != nil) == (id > 0), "abandoning \(id) was answered wrongly")
        self.verify(self.pool.abandon(id, now: self.now) == nil, "\(id) was abandoned twice")
        self.waiting.removeAll { $0.id == id }
        if let effects { self.apply(effects) }
    }

    private mutating func connect() {
        guard self.connecting > 0 else { return }
        self.connecting -= 1
        self.number += 1
        // Its wait is always short, short behind few only, or never.
        let pace = [0, 400_000, 1_000_000_000][self.random(3)]
        let connection = FakeConnection("connection \(self.number)", pace: Int64(pace))
        let lifetime = Duration.seconds(20 + self.random(180))
        self.open.append(Open(connection: connection, expires: self.now + lifetime))
        self.apply(self.pool.connected(connection, expires: self.now + lifetime, now: self.now))
    }

    private mutating func failToConnect(_ isHopeless: Bool) {
        guard self.connecting > 0 else { return }
        self.connecting -= 1
        let error = PostgresError(code: .connect, message: "away")
        let pause = self.pool.pause
        self.apply(self.pool.connectFailed(error, isHopeless: isHopeless, pause: pause, now: self.now))
    }

    private mutating func lose() {
        guard !self.open.isEmpty else { return }
        let chosen = self.random(self.open.count)
        let lost = self.open.remove(at: chosen).connection
        self.apply(self.pool.lost(lost, now: self.now))
    }

    private mutating func tick() {
        let (effects, next) = self.pool.tick(now: self.now)
        self.apply(effects)
        self.verify(next == self.pool.nextTick, "the next tick is not the next tick")
        self.verify(next.map { $0 > self.now } ?? true, "what is due after a tick is due already: the timer spins")
        self.verify(self.waiting.allSatisfy { $0.deadline > self.now }, "somebody waits beyond the deadline")
    }

    // MARK: - Books

    private mutating func apply(_ effects: State.Effects, broken: FakeConnection? = nil) {
        self.connecting += effects.connects
        for connection in effects.closes {
            guard let index = self.index(of: connection) else {
                self.verify(false, "\(connection.name) was closed twice")
                continue
            }
            let closed = self.open.remove(at: index)
            self.verify(closed.users == 0 || connection === broken, "\(connection.name) was closed in use")
        }
        for (id, _) in effects.refusals { self.settle(id, "refused") }
        for (id, connection) in effects.grants {
            guard let waiter = self.settle(id, "granted") else { continue }
            let wasFirst = !self.waiting.contains { $0.use == waiter.use && $0.id < id }
            self.verify(wasFirst, "\(id) was served before its turn")
            self.take(connection, waiter.use)
        }
    }

    @discardableResult
    private mutating func settle(_ id: Int, _ outcome: String) -> Waiter? {
        guard let index = self.waiting.firstIndex(where: { $0.id == id }) else {
            self.verify(false, "\(id) was \(outcome), and does not wait")
            return nil
        }
        return self.waiting.remove(at: index)
    }

    private mutating func take(_ connection: FakeConnection, _ use: State.Use) {
        self.leases.append(connection)
        guard let index = self.index(of: connection) else {
            return self.verify(false, "\(connection.name) was given away, and is closed")
        }
        let open = self.open[index]
        let isFree = use == .alone ? open.users == 0 : !open.isAlone && open.users < self.pool.limits.depth
        self.verify(isFree, "\(connection.name) was given away, and has \(open.users) users")
        self.open[index].users += 1
        self.open[index].isAlone = use == .alone
    }

    private mutating func check() {
        let pool = self.pool
        let used = self.open.count { $0.users > 0 }
        self.verify(pool.used == used && pool.idle == self.open.count - used, "wrong counts of used and idle")
        self.verify(pool.total == self.open.count, "\(pool.total) in all, not \(self.open.count)")
        self.verify(pool.connecting == self.connecting, "\(pool.connecting) connecting, not \(self.connecting)")
        self.verify(pool.waiting == self.waiting.count, "\(pool.waiting) wait, not \(self.waiting.count)")
        self.verify(pool.total + pool.connecting <= pool.limits.maximum, "too many connections")
        self.verify(pool.waiting <= pool.limits.waiters, "too many wait")
        guard !self.isClosed else { return }
        if !self.waiting.isEmpty {
            let young = self.open.filter { $0.expires > self.now }
            self.verify(young.allSatisfy { $0.users > 0 }, "somebody waits beside an idle connection")
            let isFull = young.allSatisfy { $0.isAlone || $0.users == pool.limits.depth }
            let isKept = self.waiting.contains { $0.use == .alone }
            self.verify(isFull || isKept, "somebody waits to share, beside a connection with room")
        }
        guard pool.connecting == 0 else { return }
        let soon = pool.nextTick.map { $0 <= self.now + .seconds(1) } ?? false
        let isWanted = pool.total < pool.limits.minimum || (!self.waiting.isEmpty && pool.total < pool.limits.maximum)
        self.verify(!isWanted || soon, "a connection is missing, and nobody will make it")
    }

    private mutating func verify(_ holds: Bool, _ message: String) {
        if !holds, self.fault == nil { self.fault = message }
    }

    private func index(of connection: FakeConnection) -> Int? {
        self.open.firstIndex { $0.connection === connection }
    }

    private mutating func random(_ count: Int) -> Int { Int.random(in: 0..<count, using: &self.generator) }
}

/// A connection that is nothing but a name, and the nanoseconds it takes for a statement.
final class FakeConnection: PooledConnection, Sendable {
    let name: String
    private let pace: Int64

    init(_ name: String, pace: Int64) {
        self.name = name
        self.pace = pace
    }

    func expectedWait(behind users: Int) -> Int64 { self.pace * Int64(users) }
}

/// A pool and a clock that the test moves. Connections have names, and what is to be done is told in words.
final class FakePool {
    private(set) var state: PoolState<FakeConnection>
    private(set) var granted: [Int: String] = [:]
    private(set) var refused: [Int: PostgresError] = [:]
    private let pace: Int64
    private var connections: [String: FakeConnection] = [:]
    private var now = ContinuousClock.now

    /// A pool with these connections, all of them idle. They take so long for a statement that it is spread.
    init(
        _ names: [String], minimum: Int = 0, maximum: Int = 1, depth: Int = 16, waiters: Int = 100,
        pace: Int64 = 1_000_000_000
    ) {
        let limits = PoolState<FakeConnection>.Limits(
            minimum: minimum, maximum: maximum, depth: depth, waiters: waiters
        )
        self.state = PoolState(limits)
        self.pace = pace
        // A connection is made because somebody waits for it.
        for id in names.indices { self.acquire(.alone, id) }
        for name in names { self.connected(name) }
        for name in names { self.giveBack(name) }
        self.granted = [:]
    }

    /// When the pool wants to be told of the time again.
    var due: Duration? { self.state.nextTick.map { self.now.duration(to: $0) } }

    func pass(_ time: Duration) { self.now += time }

    @discardableResult
    func acquire(_ use: PoolState<FakeConnection>.Use, _ id: Int = 0) -> String {
        let (decision, effects) = self.state.acquire(use, id, now: self.now)
        switch decision {
        case .lease(let connection):
            self.granted[id] = connection.name
            return self.words(effects, after: "lease \(connection.name)")
        case .wait: return self.words(effects, after: "wait")
        case .refuse(let error): return self.words(effects, after: "refuse \(error.code.rawValue)")
        }
    }

    @discardableResult
    func giveBack(_ name: String, isUsable: Bool = true) -> String {
        self.words(self.state.giveBack(self.connection(name), isUsable: isUsable, now: self.now))
    }

    func abandon(_ id: Int) -> Bool {
        guard let effects = self.state.abandon(id, now: self.now) else { return false }
        _ = self.words(effects)
        return true
    }

    @discardableResult
    func connected(_ name: String) -> String {
        let connection = self.connection(name)
        return self.words(self.state.connected(connection, expires: self.now + .seconds(1_800), now: self.now))
    }

    @discardableResult
    func connectFailed(_ message: String = "away", isHopeless: Bool = false) -> String {
        let error = PostgresError(code: .connect, message: message)
        let pause = self.state.pause
        return self.words(self.state.connectFailed(error, isHopeless: isHopeless, pause: pause, now: self.now))
    }

    func lost(_ name: String) -> String { self.words(self.state.lost(self.connection(name), now: self.now)) }

    func close() -> String { self.words(self.state.close()) }

    func tick() -> String {
        let (effects, next) = self.state.tick(now: self.now)
        #expect(next == self.state.nextTick)
        return self.words(effects)
    }

    private func connection(_ name: String) -> FakeConnection {
        let connection = self.connections[name] ?? FakeConnection(name, pace: self.pace)
        self.connections[name] = connection
        return connection
    }

    private func words(_ effects: PoolState<FakeConnection>.Effects, after decision: String? = nil) -> String {
        var words = decision.map { [$0] } ?? []
        for (id, connection) in effects.grants {
            self.granted[id] = connection.name
            words.append("grant \(connection.name) to \(id)")
        }
        for (id, error) in effects.refusals {
            self.refused[id] = error
            words.append("refuse \(id) \(error.code.rawValue)")
        }
        words += effects.closes.map { "close \($0.name)" }
        if effects.connects > 0 { words.append("connect \(effects.connects)") }
        return words.isEmpty ? "nothing" : words.joined(separator: ", ")
    }
}

/// SplitMix64: the same seed gives the same numbers, so that what a random test found can be found again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var value = self.state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
