@testable import LanternPostgres
import Testing

@Suite("The pool's book-keeping")
struct PoolStateTests {
    @Test("who comes first waits for a new connection, and has it when it is made")
    func connects() {
        var pool = PoolState<Int>(maximumConnections: 2, maximumWaiters: 10)
        let asked = pool.acquire(1).text
        #expect(asked == "connect")
        #expect(pool.connecting == 1)
        let made = pool.connected(70).text
        #expect(made == "hand 70 to 1")
        #expect(pool.leased == 1)
        #expect(pool.connecting == 0)
    }

    @Test("a connection that came back is leased again, without waiting")
    func reuses() {
        var pool = PoolState<Int>(leasing: [70], of: 2)
        let back = pool.giveBack(70, usable: true).text
        #expect(back == "keep")
        #expect(pool.idle == [70])
        let asked = pool.acquire(9).text
        #expect(asked == "lease 70")
        #expect(pool.idle == [])
        #expect(pool.leased == 1)
    }

    @Test("the connection used last is leased first")
    func lastUsedFirst() {
        var pool = PoolState<Int>(leasing: [70, 71, 72], of: 3)
        for connection in [71, 70, 72] { _ = pool.giveBack(connection, usable: true) }
        let leases = (1...3).map { pool.acquire($0).text }
        #expect(leases == ["lease 72", "lease 70", "lease 71"])
    }

    @Test("no more connections are made than allowed; the rest wait")
    func bound() {
        var pool = PoolState<Int>(maximumConnections: 2, maximumWaiters: 10)
        let asked = (1...4).map { pool.acquire($0).text }
        #expect(asked == ["connect", "connect", "wait", "wait"])
        #expect(pool.connecting == 2)
        #expect(pool.waiters == [1, 2, 3, 4])
    }

    @Test("a connection in use goes to who has waited longest")
    func firstComeFirstServed() {
        var pool = PoolState<Int>(leasing: [70], of: 1)
        for waiter in [5, 3, 8] { _ = pool.acquire(waiter) }
        let handed = (1...4).map { _ in pool.giveBack(70, usable: true).text }
        #expect(handed == ["hand 70 to 5", "hand 70 to 3", "hand 70 to 8", "keep"])
        #expect(pool.leased == 0)
    }

    @Test("who gave up gets nothing, and can give up once only")
    func abandons() {
        var pool = PoolState<Int>(leasing: [70], of: 1)
        for waiter in [1, 2, 3] { _ = pool.acquire(waiter) }
        let gone = [2, 2, 99].map { pool.abandon($0) }
        #expect(gone == [true, false, false])
        let handed = (1...3).map { _ in pool.giveBack(70, usable: true).text }
        #expect(handed == ["hand 70 to 1", "hand 70 to 3", "keep"])
        let served = pool.abandon(1)
        #expect(!served)
    }

    @Test("a connection that nobody waits for any more is kept")
    func keepsUnwanted() {
        var pool = PoolState<Int>(maximumConnections: 1, maximumWaiters: 10)
        _ = pool.acquire(1)
        _ = pool.abandon(1)
        let made = pool.connected(70).text
        #expect(made == "keep")
        #expect(pool.idle == [70])
        #expect(pool.leased == 0)
    }

    @Test("a failed attempt is told to who has waited longest, to one only")
    func connectFails() {
        var pool = PoolState<Int>(maximumConnections: 2, maximumWaiters: 10)
        for waiter in [1, 2, 3] { _ = pool.acquire(waiter) }
        let told = [pool.connectFailed(), pool.connectFailed()]
        #expect(told == [1, 2])
        #expect(pool.waiters == [3])
        #expect(pool.connecting == 0)
    }

    @Test("a failed attempt that nobody waits for is told to nobody")
    func connectFailsUnwanted() {
        var pool = PoolState<Int>(maximumConnections: 1, maximumWaiters: 10)
        _ = pool.acquire(1)
        _ = pool.abandon(1)
        let told = pool.connectFailed()
        #expect(told == nil)
        #expect(pool.connecting == 0)
    }

    @Test("more than so many cannot wait: the next one is refused at once")
    func boundsWaiters() {
        var pool = PoolState<Int>(leasing: [70], of: 1, maximumWaiters: 2)
        let asked = (1...3).map { pool.acquire($0).text }
        #expect(asked == ["wait", "wait", "refuse pool_exhausted"])
        #expect(pool.waiters == [1, 2])
        // Who is refused took no place; who gave up frees one.
        _ = pool.abandon(1)
        let again = pool.acquire(4).text
        #expect(again == "wait")
    }

    @Test("a connection that is no longer usable is closed, even when others wait")
    func closesUnusable() {
        var pool = PoolState<Int>(leasing: [70], of: 1)
        _ = pool.acquire(1)
        let back = pool.giveBack(70, usable: false).text
        #expect(back == "close 70")
        #expect(pool.leased == 0)
        #expect(pool.waiters == [1])
    }

    @Test("after one was closed another is made for those who wait, one for each and no more")
    func replaces() {
        var pool = PoolState<Int>(leasing: [70, 71], of: 2)
        for waiter in [1, 2, 3] { _ = pool.acquire(waiter) }
        let whileAllInUse = pool.wantsConnection()
        #expect(!whileAllInUse)
        _ = pool.giveBack(70, usable: false)
        _ = pool.giveBack(71, usable: false)
        let wanted = (1...3).map { _ in pool.wantsConnection() }
        #expect(wanted == [true, true, false])
        #expect(pool.connecting == 2)
    }

    @Test("nothing is made when nobody waits, or when as many are on their way as wait")
    func replacesOnDemand() {
        var pool = PoolState<Int>(maximumConnections: 5, maximumWaiters: 10)
        let unasked = pool.wantsConnection()
        #expect(!unasked)
        _ = pool.acquire(1)
        let onItsWay = pool.wantsConnection()
        #expect(!onItsWay)
    }

    @Test("an idle connection that broke is not leased")
    func forgetsBroken() {
        var pool = PoolState<Int>(leasing: [70, 71], of: 2)
        for connection in [70, 71] { _ = pool.giveBack(connection, usable: true) }
        pool.removeIdle { $0 == 71 }
        let asked = (1...2).map { pool.acquire($0).text }
        #expect(asked == ["lease 70", "connect"])
    }

    @Test("closing gives up what is idle and who waits, once")
    func closes() {
        var pool = PoolState<Int>(leasing: [70, 71], of: 2)
        _ = pool.giveBack(70, usable: true)
        let first = pool.close()
        #expect(first.connections == [70])
        #expect(first.waiters == [])
        let second = pool.close()
        #expect(second.connections == [] && second.waiters == [])

        var busy = PoolState<Int>(leasing: [70], of: 1)
        for waiter in [1, 2] { _ = busy.acquire(waiter) }
        let closed = busy.close()
        #expect(closed.connections == [])
        #expect(closed.waiters == [1, 2])
    }

    @Test("a closed pool refuses everybody and closes what comes back or was under way")
    func staysClosed() {
        var pool = PoolState<Int>(leasing: [70], of: 3)
        _ = pool.acquire(1)
        _ = pool.acquire(2)
        _ = pool.close()
        let asked = pool.acquire(3).text
        #expect(asked == "refuse closed")
        let back = pool.giveBack(70, usable: true).text
        #expect(back == "close 70")
        let made = pool.connected(71).text
        #expect(made == "close 71")
        let told = pool.connectFailed()
        #expect(told == nil)
        let wanted = pool.wantsConnection()
        #expect(!wanted)
        #expect(pool.leased == 0 && pool.connecting == 0)
    }

    @Test(
        "whatever happens in whatever order, no bound is broken and no connection is lost or shared",
        arguments: UInt64(1)...20)
    func randomWalk(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var walk = PoolWalk(
            maximumConnections: Int.random(in: 1...4, using: &generator),
            maximumWaiters: Int.random(in: 1...6, using: &generator)
        )
        for step in 0..<2_000 {
            walk.step(&generator)
            if let fault = walk.fault {
                Issue.record("seed \(seed), step \(step): \(fault)")
                return
            }
        }
        walk.close()
        #expect(walk.fault == nil)
    }
}

/// Does to a pool what tasks and servers do, and keeps books of its own.
private struct PoolWalk {
    private var pool: PoolState<Int>
    private var leased: Set<Int> = []
    private var idle: Set<Int> = []
    private var waiting: [Int] = []
    private var connecting = 0
    private var next = 0
    /// What went wrong first.
    private(set) var fault: String?

    init(maximumConnections: Int, maximumWaiters: Int) {
        self.pool = PoolState(maximumConnections: maximumConnections, maximumWaiters: maximumWaiters)
    }

    mutating func step(_ generator: inout SeededGenerator) {
        switch Int.random(in: 0..<10, using: &generator) {
        case 0...3: self.acquire()
        case 4: self.abandon(self.waiting.randomElement(using: &generator) ?? -1)
        case 5: if self.connecting > 0 { self.connect() }
        case 6: if self.connecting > 0 { self.failToConnect() }
        case 7...8:
            // Sorted, so that a seed always walks the same way.
            if let connection = self.leased.sorted().randomElement(using: &generator) {
                self.giveBack(connection, usable: Int.random(in: 0..<4, using: &generator) > 0)
            }
        default:
            if let connection = self.idle.sorted().randomElement(using: &generator) {
                self.pool.removeIdle { $0 == connection }
                self.idle.remove(connection)
            }
        }
        self.check()
    }

    mutating func close() {
        let closed = self.pool.close()
        self.verify(Set(closed.connections) == self.idle, "closing lost an idle connection")
        self.verify(closed.waiters == self.waiting, "closing lost a waiter")
        self.idle = []
        self.waiting = []
        for connection in self.leased.sorted() {
            guard case .close = self.pool.giveBack(connection, usable: true) else {
                return self.verify(false, "a closed pool kept \(connection)")
            }
            self.leased.remove(connection)
        }
        self.check()
    }

    private mutating func acquire() {
        self.next += 1
        switch self.pool.acquire(self.next) {
        case .lease(let connection):
            self.verify(self.waiting.isEmpty, "\(self.next) overtook those who wait")
            self.lease(connection, from: "idle")
        case .waitAndConnect:
            self.waiting.append(self.next)
            self.connecting += 1
        case .wait:
            self.waiting.append(self.next)
        case .refuse(let error):
            self.verify(error.code == .poolExhausted, "refused for another reason: \(error)")
            self.verify(self.waiting.count == self.pool.maximumWaiters, "refused although there was room")
        }
    }

    private mutating func abandon(_ waiter: Int) {
        let known = self.waiting.contains(waiter)
        self.verify(self.pool.abandon(waiter) == known, "abandoning \(waiter) was answered wrongly")
        self.waiting.removeAll { $0 == waiter }
    }

    private mutating func connect() {
        self.next += 1
        self.connecting -= 1
        self.placed(self.next, self.pool.connected(self.next))
    }

    private mutating func failToConnect() {
        self.connecting -= 1
        let told = self.pool.connectFailed()
        self.verify(told == self.waiting.first, "the failure was told to \(String(describing: told))")
        if !self.waiting.isEmpty { self.waiting.removeFirst() }
    }

    private mutating func giveBack(_ connection: Int, usable: Bool) {
        self.leased.remove(connection)
        self.placed(connection, self.pool.giveBack(connection, usable: usable))
        if self.pool.wantsConnection() { self.connecting += 1 }
    }

    private mutating func placed(_ connection: Int, _ outcome: PoolState<Int>.Return) {
        switch outcome {
        case .handOver(let waiter, let handed):
            self.verify(handed == connection, "\(handed) was handed over instead of \(connection)")
            self.verify(waiter == self.waiting.first, "\(waiter) was served before its turn")
            if !self.waiting.isEmpty { self.waiting.removeFirst() }
            self.lease(handed, from: "hand")
        case .keep:
            self.verify(self.waiting.isEmpty, "\(connection) was kept although somebody waits")
            self.idle.insert(connection)
        case .close(let closed):
            self.verify(closed == connection, "\(closed) was closed instead of \(connection)")
        }
    }

    private mutating func lease(_ connection: Int, from origin: String) {
        let isNew = self.leased.insert(connection).inserted
        self.verify(isNew, "\(connection) was leased twice")
        let wasIdle = self.idle.remove(connection) != nil
        self.verify(wasIdle == (origin == "idle"), "\(connection) was leased from nowhere")
    }

    private mutating func check() {
        let pool = self.pool
        self.verify(pool.leased == self.leased.count, "\(pool.leased) leased, \(self.leased.count) are out")
        self.verify(
            pool.connecting == self.connecting, "\(pool.connecting) connecting, \(self.connecting) are under way")
        self.verify(
            pool.idle.count == self.idle.count && Set(pool.idle) == self.idle,
            "idle connections are not those that came back")
        self.verify(pool.waiters == self.waiting, "waiters are not those who wait")
        self.verify(pool.leased + pool.idle.count + pool.connecting <= pool.maximumConnections, "too many connections")
        self.verify(pool.waiters.count <= pool.maximumWaiters, "too many waiters")
        self.verify(pool.idle.isEmpty || pool.waiters.isEmpty, "somebody waits beside an idle connection")
    }

    private mutating func verify(_ holds: Bool, _ message: String) {
        if !holds, self.fault == nil { self.fault = message }
    }
}

extension PoolState where Connection == Int {
    /// A pool of which these connections are in use.
    fileprivate init(leasing connections: [Int], of maximum: Int, maximumWaiters: Int = 10) {
        self.init(maximumConnections: maximum, maximumWaiters: maximumWaiters)
        for connection in connections {
            _ = self.acquire(-connection)
            _ = self.connected(connection)
        }
    }
}

extension PoolState<Int>.Action {
    fileprivate var text: String {
        switch self {
        case .lease(let connection): "lease \(connection)"
        case .waitAndConnect: "connect"
        case .wait: "wait"
        case .refuse(let error): "refuse \(error.code.rawValue)"
        }
    }
}

extension PoolState<Int>.Return {
    fileprivate var text: String {
        switch self {
        case .handOver(let waiter, let connection): "hand \(connection) to \(waiter)"
        case .keep: "keep"
        case .close(let connection): "close \(connection)"
        }
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
