@testable import LanternPostgres
import Testing

@Suite("The pool's book-keeping")
struct PoolStateTests {
    private static let names = ["A", "B", "C", "D"]

    // MARK: - Asking and giving back

    @Test(
        "an idle connection is leased at once, the one used last first",
        arguments: [.shared, .alone] as [PoolState<FakeConnection>.Use])
    func lastUsedFirst(use: PoolState<FakeConnection>.Use) {
        let pool = FakePool(["A", "B", "C"], maximum: 3)
        for _ in 1...3 { pool.acquire(.alone) }
        for name in ["B", "A", "C"] {
            pool.pass(.seconds(1))
            pool.giveBack(name)
        }
        #expect(pool.acquire(use) == "lease C")
        #expect(pool.acquire(use) == "lease A")
        #expect(pool.acquire(use) == "lease B")
        #expect(pool.state.used == 3 && pool.state.idle == 0)
    }

    @Test("slow statements go where least is under way, and one more connection is made while all are busy")
    func sharing() {
        let pool = FakePool(["A"], maximum: 3)
        #expect(pool.acquire(.shared) == "lease A")
        #expect(pool.acquire(.shared) == "lease A, connect 1")
        // One at a time: it may be enough.
        #expect(pool.acquire(.shared) == "lease A")
        #expect(pool.connected("B") == "nothing")
        #expect(pool.acquire(.shared) == "lease B")
        #expect(pool.acquire(.shared) == "lease B, connect 1")
        #expect(pool.connected("C") == "nothing")
        #expect(pool.acquire(.shared) == "lease C")
        #expect(pool.acquire(.shared) == "lease C")
        #expect(pool.state.total == 3 && pool.state.connecting == 0)
    }

    @Test("a connection that is done at once is kept busy, before another is woken")
    func keepsQuickBusy() {
        let pool = FakePool(["A", "B"], maximum: 2, depth: 2, pace: 0)
        for name in ["A", "A", "B", "B"] { #expect(pool.acquire(.shared) == "lease \(name)") }
        #expect(pool.acquire(.shared, 1) == "wait")
    }

    @Test("none is made while another is idle")
    func growsWhenBusy() {
        let pool = FakePool(["A", "B"], maximum: 3, pace: 0)
        for _ in 1...16 { #expect(pool.acquire(.shared) == "lease A") }
        #expect(pool.acquire(.shared) == "lease B")
    }

    @Test("a connection is shared by so many and no more; the next waits for one of them")
    func depth() {
        let pool = FakePool(["A"], depth: 2)
        #expect(pool.acquire(.shared) == "lease A")
        #expect(pool.acquire(.shared) == "lease A")
        #expect(pool.acquire(.shared, 3) == "wait")
        #expect(pool.giveBack("A") == "grant A to 3")
        #expect(pool.acquire(.shared, 4) == "wait")
    }

    @Test("what somebody has alone is given to nobody else")
    func alone() {
        let pool = FakePool(["A"])
        #expect(pool.acquire(.alone) == "lease A")
        #expect(pool.acquire(.shared, 1) == "wait")
        #expect(pool.giveBack("A") == "grant A to 1")
        #expect(pool.acquire(.alone, 2) == "wait")
        #expect(pool.giveBack("A") == "grant A to 2")
        #expect(pool.giveBack("A") == "nothing")
        #expect(pool.state.used == 0 && pool.state.idle == 1 && pool.state.waiting == 0)
    }

    // MARK: - Waiting

    @Test("what is kept for somebody takes no new statements until it is free")
    func reservation() {
        let pool = FakePool(["A"])
        for _ in 1...2 { pool.acquire(.shared) }
        #expect(pool.acquire(.alone, 1) == "wait")
        #expect(pool.acquire(.shared, 2) == "wait")
        #expect(pool.giveBack("A") == "nothing")
        #expect(pool.giveBack("A") == "grant A to 1")
        #expect(pool.giveBack("A") == "grant A to 2")
    }

    @Test("the connection with the least under way is kept; the others go on being shared")
    func reservesLeastLoaded() {
        let pool = FakePool(["A", "B"], maximum: 2)
        for name in ["A", "B", "A"] { #expect(pool.acquire(.shared) == "lease \(name)") }
        #expect(pool.acquire(.alone, 1) == "wait")
        #expect(pool.acquire(.shared) == "lease A")
        #expect(pool.giveBack("B") == "grant B to 1")
    }

    @Test("one is kept for each who wants one alone")
    func reservesForEach() {
        let pool = FakePool(["A", "B"], maximum: 2)
        for _ in 1...2 { pool.acquire(.shared) }
        #expect(pool.acquire(.alone, 1) == "wait")
        #expect(pool.acquire(.alone, 2) == "wait")
        #expect(pool.acquire(.shared, 3) == "wait")
        #expect(pool.giveBack("B") == "grant B to 1")
        #expect(pool.giveBack("A") == "grant A to 2")
    }

    @Test("a connection that was kept is shared again when a new one took its place")
    func newInsteadOfReserved() {
        let pool = FakePool(["A"], maximum: 2)
        pool.acquire(.shared)
        #expect(pool.acquire(.alone, 1) == "wait, connect 1")
        #expect(pool.connected("B") == "grant B to 1")
        #expect(pool.acquire(.shared) == "lease A")
    }

    @Test("when the connection that was kept is lost, another is kept")
    func lostReservation() {
        let pool = FakePool(["A", "B"], maximum: 2)
        for name in ["A", "B", "A"] { #expect(pool.acquire(.shared) == "lease \(name)") }
        pool.acquire(.alone, 1)
        #expect(pool.lost("B") == "connect 1")
        #expect(pool.acquire(.shared, 2) == "wait")
        #expect(pool.giveBack("A") == "nothing")
        #expect(pool.giveBack("A") == "grant A to 1")
        #expect(pool.connected("C") == "grant C to 2")
    }

    @Test("who wants one alone has it soon, though statements never stop coming", arguments: 1...4)
    func sharedLoad(connections: Int) {
        let pool = FakePool(Array(Self.names.prefix(connections)), maximum: connections)
        let running = 3 * connections
        for id in 1...running { pool.acquire(.shared, id) }
        pool.acquire(.alone, 0)
        for id in 1...running {
            pool.acquire(.shared, running + id)
            pool.giveBack(pool.granted[id] ?? "")
        }
        #expect(pool.granted[0] != nil)
    }

    @Test("who wants to share has it soon, though transactions never stop coming", arguments: 1...4)
    func aloneLoad(connections: Int) {
        let pool = FakePool(Array(Self.names.prefix(connections)), maximum: connections)
        // As many run as wait.
        let before = 2 * connections
        for id in 1...before { pool.acquire(.alone, id) }
        pool.acquire(.shared, 0)
        for id in 1...before {
            pool.acquire(.alone, before + id)
            pool.giveBack(pool.granted[id] ?? "")
        }
        #expect(pool.granted[0] != nil)
    }

    @Test(
        "of those who want the same, who came first is served first",
        arguments: [.shared, .alone] as [PoolState<FakeConnection>.Use])
    func firstComeFirstServed(use: PoolState<FakeConnection>.Use) {
        let pool = FakePool(["A"], depth: 1)
        pool.acquire(use)
        for id in [5, 3, 8] { #expect(pool.acquire(use, id) == "wait") }
        for id in [5, 3, 8] { #expect(pool.giveBack("A") == "grant A to \(id)") }
        #expect(pool.giveBack("A") == "nothing")
    }

    @Test("who came first is served first, whatever they want")
    func firstComeFirstServedMixed() {
        let pool = FakePool(["A"])
        pool.acquire(.alone)
        pool.acquire(.shared, 1)
        pool.acquire(.alone, 2)
        pool.acquire(.shared, 3)
        #expect(pool.giveBack("A") == "grant A to 1")
        #expect(pool.giveBack("A") == "grant A to 2")
        #expect(pool.giveBack("A") == "grant A to 3")
    }

    @Test("more than so many cannot wait: the next is refused at once")
    func boundsWaiters() {
        let pool = FakePool(["A"], waiters: 2)
        pool.acquire(.alone)
        #expect(pool.acquire(.shared, 1) == "wait")
        #expect(pool.acquire(.alone, 2) == "wait")
        #expect(pool.acquire(.shared, 3) == "refuse pool_exhausted")
        #expect(pool.acquire(.alone, 4) == "refuse pool_exhausted")
        // Who gives up leaves a place.
        #expect(pool.abandon(1))
        #expect(pool.acquire(.shared, 5) == "wait")
        #expect(pool.state.waiting == 2)
    }

    @Test("who gave up gets nothing, and can give up once only")
    func abandons() {
        let pool = FakePool(["A"])
        pool.acquire(.alone)
        for id in [1, 2, 3] { pool.acquire(.alone, id) }
        #expect(pool.abandon(2))
        #expect(!pool.abandon(2))
        #expect(!pool.abandon(99))
        #expect(pool.giveBack("A") == "grant A to 1")
        #expect(!pool.abandon(1))
        #expect(pool.giveBack("A") == "grant A to 3")
        #expect(pool.giveBack("A") == "nothing")

        // What was kept for them is shared again.
        #expect(pool.acquire(.shared) == "lease A")
        #expect(pool.acquire(.alone, 4) == "wait")
        #expect(pool.abandon(4))
        #expect(pool.acquire(.shared) == "lease A")
    }

    @Test("who waited too long is refused, and nobody before their time")
    func deadlines() {
        let pool = FakePool(["A"])
        pool.acquire(.alone)
        pool.acquire(.shared, 1)
        pool.pass(.seconds(4))
        pool.acquire(.alone, 2)
        #expect(pool.due == .seconds(6))
        pool.pass(.milliseconds(5_999))
        #expect(pool.tick() == "nothing")
        pool.pass(.milliseconds(1))
        #expect(pool.tick() == "refuse 1 pool_exhausted")
        #expect(pool.due == .seconds(4))
        pool.pass(.seconds(5))
        #expect(pool.tick() == "refuse 2 pool_exhausted")
        #expect(pool.due == nil)
        #expect(pool.giveBack("A") == "nothing")
    }

    @Test("what was kept for who waited too long goes to those who wait still")
    func expiredReservation() {
        let pool = FakePool(["A"])
        pool.acquire(.shared)
        pool.acquire(.alone, 1)
        pool.pass(.seconds(1))
        #expect(pool.acquire(.shared, 2) == "wait")
        pool.pass(.seconds(9))
        #expect(pool.tick() == "grant A to 2, refuse 1 pool_exhausted")
    }

    // MARK: - Connecting

    @Test("a new connection goes to those who wait, or is kept idle")
    func connected() {
        let pool = FakePool([], maximum: 2)
        #expect(pool.acquire(.shared, 1) == "wait, connect 1")
        #expect(pool.acquire(.shared, 2) == "wait, connect 1")
        #expect(pool.acquire(.shared, 3) == "wait")
        #expect(pool.connected("A") == "grant A to 1, grant A to 2, grant A to 3")
        #expect(pool.connected("B") == "nothing")
        #expect(pool.state.used == 1 && pool.state.idle == 1)
    }

    @Test("a failed attempt refuses nobody: it is made again, after pauses that grow to a second")
    func pauses() {
        let pool = FakePool([])
        #expect(pool.acquire(.alone, 1) == "wait, connect 1")
        for pause in [50, 100, 200, 400, 800, 1_000, 1_000] {
            #expect(pool.connectFailed() == "nothing")
            #expect(pool.due == .milliseconds(pause))
            pool.pass(.milliseconds(pause - 1))
            #expect(pool.tick() == "nothing")
            pool.pass(.milliseconds(1))
            #expect(pool.tick() == "connect 1")
        }
        #expect(pool.connected("A") == "grant A to 1")
        #expect(pool.state.pause == .milliseconds(50))
    }

    @Test("while attempts fail one at a time is made, and nothing is due until it ends")
    func oneAttempt() {
        let pool = FakePool([], maximum: 3)
        for id in 1...3 { pool.acquire(.alone, id) }
        #expect(pool.state.connecting == 3)
        for _ in 1...3 { pool.connectFailed() }
        pool.pass(.seconds(1))
        #expect(pool.tick() == "connect 1")
        #expect(pool.tick() == "nothing")
        // A time that has passed already would make the timer spin.
        #expect(pool.due == .seconds(9))
        #expect(pool.connected("A") == "grant A to 1, connect 2")
    }

    @Test("who waits in vain for the first connection learns why there is none")
    func deadlineWithoutConnection() {
        let pool = FakePool([])
        pool.acquire(.shared, 1)
        pool.connectFailed("first")
        pool.pass(.seconds(1))
        #expect(pool.tick() == "connect 1")
        pool.connectFailed("second")
        pool.pass(.seconds(9))
        #expect(pool.tick() == "refuse 1 connect")
        #expect(pool.refused[1]?.message == "second")

        // Beside a connection that is in use it is not the server's fault.
        let busy = FakePool(["A"], maximum: 2)
        busy.acquire(.alone)
        #expect(busy.acquire(.alone, 1) == "wait, connect 1")
        busy.connectFailed()
        busy.pass(.seconds(10))
        #expect(busy.tick() == "refuse 1 pool_exhausted")
    }

    @Test("an attempt that can never succeed refuses who waits, unless a connection is in use")
    func hopeless() {
        let pool = FakePool([])
        for id in 1...2 { pool.acquire(.shared, id) }
        #expect(pool.connectFailed(isHopeless: true) == "refuse 1 connect, refuse 2 connect")
        #expect(pool.state.waiting == 0)

        let busy = FakePool(["A"], maximum: 2)
        busy.acquire(.alone)
        busy.acquire(.alone, 1)
        #expect(busy.connectFailed(isHopeless: true) == "nothing")
        #expect(busy.giveBack("A") == "grant A to 1")
    }

    @Test("nobody waits for a server that has been away for long, but somebody looks whether it is back")
    func outage() {
        let pool = FakePool([])
        pool.acquire(.shared, 1)
        pool.connectFailed()
        pool.pass(.milliseconds(5_001))
        #expect(pool.tick() == "connect 1")
        pool.connectFailed()
        #expect(pool.abandon(1))
        // Not before the pause is over.
        #expect(pool.acquire(.shared, 2) == "refuse connect")
        pool.pass(.seconds(1))
        #expect(pool.acquire(.alone, 3) == "refuse connect, connect 1")
        #expect(pool.acquire(.shared, 4) == "refuse connect")
        #expect(pool.connected("A") == "nothing")
        #expect(pool.acquire(.alone) == "lease A")
        #expect(pool.acquire(.alone, 5) == "wait")
    }

    @Test("one failure long ago is no outage")
    func staleFailure() {
        let pool = FakePool([])
        pool.acquire(.shared, 1)
        pool.connectFailed()
        #expect(pool.abandon(1))
        pool.pass(.seconds(3_600))
        #expect(pool.acquire(.shared, 2) == "wait, connect 1")
    }

    // MARK: - Ends of connections

    @Test("a connection that came back broken is closed, and replaced for those who wait")
    func closesUnusable() {
        let pool = FakePool(["A"])
        pool.acquire(.alone)
        pool.acquire(.alone, 1)
        #expect(pool.giveBack("A", isUsable: false) == "close A, connect 1")
        #expect(pool.connected("B") == "grant B to 1")
        #expect(pool.giveBack("B", isUsable: false) == "close B")
        #expect(pool.state.total == 0 && pool.state.connecting == 0)

        // Once, though several share it.
        let shared = FakePool(["A"])
        for _ in 1...2 { shared.acquire(.shared) }
        #expect(shared.giveBack("A", isUsable: false) == "close A")
        #expect(shared.giveBack("A", isUsable: false) == "nothing")
        #expect(shared.state.used == 0 && shared.state.total == 0)
    }

    @Test("a connection that ended is leased no more, and is forgotten when it comes back")
    func forgetsLost() {
        let pool = FakePool(["A", "B"], maximum: 2)
        #expect(pool.lost("A") == "nothing")
        #expect(pool.lost("A") == "nothing")
        #expect(pool.acquire(.alone) == "lease B")
        #expect(pool.acquire(.alone, 1) == "wait, connect 1")
        #expect(pool.connected("C") == "grant C to 1")
        pool.acquire(.alone, 2)
        #expect(pool.lost("B") == "connect 1")
        #expect(pool.giveBack("B") == "nothing")
        #expect(pool.state.used == 1 && pool.state.total == 1)
    }

    @Test("the least number of connections is made, and made again")
    func minimum() {
        let pool = FakePool([], minimum: 2, maximum: 3)
        #expect(pool.tick() == "connect 2")
        #expect(pool.tick() == "nothing")
        for name in ["A", "B"] { #expect(pool.connected(name) == "nothing") }
        #expect(pool.lost("A") == "connect 1")
        #expect(pool.connected("C") == "nothing")
        pool.acquire(.alone)
        #expect(pool.giveBack("C", isUsable: false) == "close C, connect 1")
    }

    @Test("what is idle for long is closed, down to the least number")
    func closesIdle() {
        let pool = FakePool(["A", "B", "C"], minimum: 1, maximum: 3)
        pool.pass(.seconds(10))
        #expect(pool.acquire(.alone) == "lease A")
        pool.giveBack("A")
        #expect(pool.due == .seconds(590))
        pool.pass(.milliseconds(589_999))
        #expect(pool.tick() == "nothing")
        pool.pass(.milliseconds(1))
        #expect(pool.tick() == "close C, close B")
        #expect(pool.due == .seconds(1_200))
        pool.pass(.seconds(600))
        #expect(pool.tick() == "nothing")
    }

    @Test("what lived its time is closed: at once where it is idle, else when the last comes back")
    func lifetime() {
        let pool = FakePool(["A", "B", "C"], minimum: 3, maximum: 3)
        #expect(pool.acquire(.alone) == "lease A")
        for name in ["B", "C", "B"] { #expect(pool.acquire(.shared) == "lease \(name)") }
        pool.giveBack("C")
        #expect(pool.due == .seconds(1_800))
        pool.pass(.seconds(1_800))
        #expect(pool.tick() == "close C, connect 1")
        #expect(pool.giveBack("B") == "nothing")
        // Two are missing then, and so are two made.
        #expect(pool.giveBack("B").hasPrefix("close B"))
        #expect(pool.giveBack("A").hasPrefix("close A"))
        #expect(pool.state.total == 0)
    }

    // MARK: - Closing

    @Test("closing refuses who waits, and closes what is idle at once and the others when they come back")
    func closes() {
        let pool = FakePool(["A"], maximum: 2)
        pool.acquire(.alone)
        #expect(pool.acquire(.shared, 1) == "wait, connect 1")
        #expect(pool.acquire(.alone, 2) == "wait")
        #expect(pool.close() == "refuse 1 closed, refuse 2 closed")
        #expect(pool.close() == "nothing")
        #expect(pool.connected("B") == "close B")
        #expect(pool.giveBack("A") == "close A")
        #expect(pool.state.total == 0 && pool.state.connecting == 0 && pool.state.waiting == 0)

        let idle = FakePool(["A", "B"], maximum: 2)
        #expect(idle.acquire(.alone) == "lease A")
        #expect(idle.close() == "close B")
        #expect(idle.lost("A") == "nothing")
        #expect(idle.giveBack("A") == "nothing")
    }

    @Test("what several share when the pool closes is closed by the last who comes back")
    func closesShared() {
        let pool = FakePool(["A"])
        for _ in 1...2 { pool.acquire(.shared) }
        #expect(pool.close() == "nothing")
        #expect(pool.giveBack("A") == "nothing")
        #expect(pool.giveBack("A") == "close A")
    }

    @Test("a closed pool refuses everybody, and has nothing to do")
    func staysClosed() {
        let pool = FakePool([], minimum: 1)
        #expect(pool.acquire(.shared, 1) == "wait, connect 1")
        #expect(pool.close() == "refuse 1 closed")
        #expect(pool.acquire(.shared, 2) == "refuse closed")
        #expect(pool.acquire(.alone, 3) == "refuse closed")
        #expect(!pool.abandon(1))
        #expect(pool.connectFailed() == "nothing")
        #expect(pool.due == nil)
        pool.pass(.seconds(3_600))
        #expect(pool.tick() == "nothing")
        #expect(pool.state.connecting == 0)
    }
}
