/// What the pool wants to know of a connection.
protocol PooledConnection: AnyObject {
    /// Nanoseconds that another statement would wait for those before it, as far as one can tell.
    func expectedWait(behind users: Int) -> Int64
}

/// The pool's book-keeping as a plain value: who uses which connection, who waits. It decides; ``PostgresClient`` acts.
///
/// A connection is used by one task alone (a transaction, a COPY), or shared by several statements that are on their way at
/// the same time: one that answers within microseconds is kept busy before another is woken, which costs more than to wait
/// one's turn; slow statements are spread. Those who want one alone are not passed over: for each of them a connection takes no new statements until
/// it is free.
struct PoolState<Connection: PooledConnection> {
    typealias WaiterID = Int
    typealias Instant = ContinuousClock.Instant

    enum Use { case shared, alone }

    struct Limits {
        var minimum = 0
        var maximum = 10
        /// Statements on one connection at a time.
        var depth = 16
        var waiters = 1_000
        var patience: Duration = .seconds(10)
        var idle: Duration = .seconds(600)
        /// How long attempts to connect fail before nobody begins to wait for them any more.
        var outage: Duration = .seconds(5)
    }

    /// What the pool has to do next.
    struct Effects {
        var grants: [(WaiterID, Connection)] = []
        var refusals: [(WaiterID, PostgresError)] = []
        var closes: [Connection] = []
        /// New connections to make.
        var connects = 0
    }

    enum Decision {
        case lease(Connection)
        case wait
        case refuse(PostgresError)
    }

    private struct Slot {
        var connection: Connection
        var expires: Instant
        var users = 0
        var isAlone = false
        /// Takes no new statements, because somebody waits to have it alone.
        var isReserved = false
        var lastUse: Instant

        var isIdle: Bool { self.users == 0 }
    }

    private struct Waiter {
        var id: WaiterID
        var number: Int
        var deadline: Instant
    }

    let limits: Limits
    private var slots: [Slot] = []
    /// Connections that somebody uses.
    private(set) var used = 0
    private var shared: [Waiter] = []
    private var alone: [Waiter] = []
    private(set) var connecting = 0
    private(set) var isClosed = false
    private var number = 0
    private var failures = 0
    private var failingSince: Instant?
    private var lastAttempt: Instant?
    private var nextConnect: Instant?
    private var lastFailure: PostgresError?

    init(_ limits: Limits) { self.limits = limits }

    var total: Int { self.slots.count }
    var idle: Int { self.slots.count - self.used }
    var waiting: Int { self.shared.count + self.alone.count }

    // MARK: - Asking and giving back

    /// A connection that is free, without waiting.
    mutating func lease(_ use: Use, _ effects: inout Effects, now: Instant) -> Connection? {
        guard !self.isClosed else { return nil }
        switch use {
        case .shared:
            guard self.shared.isEmpty, let index = self.slotToShare(now) else { return nil }
            let users = self.slots[index].users
            if users > 0, self.idle == 0, self.slots[index].connection.expectedWait(behind: users) > Self.shortWait {
                self.grow(&effects, now)
            }
            return self.take(index, .shared, now)
        case .alone:
            guard self.alone.isEmpty, self.shared.isEmpty, let index = self.idleSlot(now) else { return nil }
            return self.take(index, .alone, now)
        }
    }

    /// - Parameter patience: How long to wait at most, where it is less than the pool's.
    mutating func acquire(
        _ use: Use, _ id: WaiterID, patience: Duration? = nil, now: Instant
    ) -> (Decision, Effects) {
        var effects = Effects()
        if self.isClosed { return (.refuse(PostgresError(code: .closed, message: "the pool is closed")), effects) }
        if let connection = self.lease(use, &effects, now: now) { return (.lease(connection), effects) }
        if self.slots.isEmpty, let failingSince, let lastAttempt, let lastFailure,
            failingSince.duration(to: lastAttempt) > self.limits.outage,
            lastAttempt.duration(to: now) < self.limits.outage
        {
            // Nobody is to wait for a server that has been away for long; but somebody has to look whether it is back.
            self.connectAsNeeded(&effects, now, atLeast: 1)
            return (.refuse(lastFailure), effects)
        }
        guard self.waiting < self.limits.waiters else {
            let message = "\(self.waiting) tasks wait for a connection already"
            return (.refuse(PostgresError(code: .poolExhausted, message: message)), effects)
        }
        self.number += 1
        let waiter = Waiter(
            id: id, number: self.number, deadline: now + min(patience ?? self.limits.patience, self.limits.patience))
        if use == .shared { self.shared.append(waiter) } else { self.alone.append(waiter) }
        self.reserve()
        self.connectAsNeeded(&effects, now)
        return (.wait, effects)
    }

    mutating func giveBack(_ connection: Connection, isUsable: Bool, now: Instant) -> Effects {
        var effects = Effects()
        guard let index = self.index(of: connection) else { return effects }
        self.slots[index].users -= 1
        if self.slots[index].users == 0 { self.used -= 1 }
        self.slots[index].isAlone = false
        self.slots[index].lastUse = now
        let isOver = self.slots[index].isIdle && (self.isClosed || self.slots[index].expires <= now)
        if isOver || !isUsable {
            self.remove(index)
            effects.closes.append(connection)
        }
        if self.waiting > 0 || isOver || !isUsable { self.serve(&effects, now) }
        return effects
    }

    /// Somebody does not want to wait any more; `nil` where nobody of that id does.
    mutating func abandon(_ id: WaiterID, now: Instant) -> Effects? {
        var effects = Effects()
        if let index = self.shared.firstIndex(where: { $0.id == id }) {
            self.shared.remove(at: index)
            return effects
        }
        guard let index = self.alone.firstIndex(where: { $0.id == id }) else { return nil }
        self.alone.remove(at: index)
        // What was kept for it others can have.
        self.serve(&effects, now)
        return effects
    }

    // MARK: - Connections

    mutating func connected(_ connection: Connection, expires: Instant, now: Instant) -> Effects {
        var effects = Effects()
        self.connecting -= 1
        self.failures = 0
        self.failingSince = nil
        self.lastAttempt = nil
        self.nextConnect = nil
        self.lastFailure = nil
        guard !self.isClosed else {
            effects.closes.append(connection)
            return effects
        }
        self.slots.append(Slot(connection: connection, expires: expires, lastUse: now))
        self.serve(&effects, now)
        return effects
    }

    /// An attempt failed: those who wait go on waiting, for another attempt after a pause that grows, or for a connection that
    /// is in use; unless it can never succeed.
    mutating func connectFailed(_ error: PostgresError, isHopeless: Bool, pause: Duration, now: Instant) -> Effects {
        var effects = Effects()
        self.connecting -= 1
        // Attempts that were made at once and fail together are one failure.
        if self.nextConnect.map({ $0 <= now }) ?? true {
            self.failures += 1
            self.nextConnect = now + pause
        }
        self.failingSince = self.failingSince ?? now
        self.lastAttempt = now
        self.lastFailure = error
        if isHopeless, self.slots.isEmpty {
            effects.refusals = (self.shared + self.alone).map { ($0.id, error) }
            self.shared = []
            self.alone = []
        }
        return effects
    }

    /// Pauses before another attempt: 50 ms, then twice as long each time, a second at most.
    var pause: Duration { .milliseconds(min(1_000, 50 << min(self.failures, 5))) }

    /// A connection ended by itself.
    mutating func lost(_ connection: Connection, now: Instant) -> Effects {
        var effects = Effects()
        guard let index = self.index(of: connection) else { return effects }
        self.remove(index)
        self.reserve()
        self.connectAsNeeded(&effects, now)
        return effects
    }

    /// Closes the pool: idle connections at once, others when they come back.
    mutating func close() -> Effects {
        var effects = Effects()
        self.isClosed = true
        let error = PostgresError(code: .closed, message: "the pool is closed")
        effects.refusals = (self.shared + self.alone).map { ($0.id, error) }
        self.shared = []
        self.alone = []
        effects.closes = self.slots.filter { $0.isIdle }.map { $0.connection }
        self.slots.removeAll { $0.isIdle }
        return effects
    }

    // MARK: - Time

    /// Does what is due, and answers when to come again.
    mutating func tick(now: Instant) -> (Effects, next: Instant?) {
        var effects = Effects()
        guard !self.isClosed else { return (effects, nil) }
        let error =
            (self.slots.isEmpty ? self.lastFailure : nil)
            ?? PostgresError(code: .poolExhausted, message: "no connection became free in time")
        effects.refusals = Self.expired(&self.shared, now).map { ($0.id, error) }
        effects.refusals += Self.expired(&self.alone, now).map { ($0.id, error) }
        self.closeIdle(&effects, now)
        self.serve(&effects, now)
        return (effects, self.nextTick)
    }

    /// When something is due at the earliest.
    var nextTick: Instant? {
        if self.isClosed { return nil }
        var times = [self.shared.map { $0.deadline }.min(), self.alone.map { $0.deadline }.min()].compactMap { $0 }
        if let nextConnect, self.connecting == 0, self.wanted > 0 { times.append(nextConnect) }
        if self.slots.count > self.limits.minimum,
            let oldest = self.slots.filter({ $0.isIdle }).map({ $0.lastUse }).min()
        {
            times.append(oldest + self.limits.idle)
        }
        if let expiry = self.slots.filter({ $0.isIdle }).map({ $0.expires }).min() { times.append(expiry) }
        return times.min()
    }

    private static func expired(_ waiters: inout [Waiter], _ now: Instant) -> [Waiter] {
        let expired = waiters.filter { $0.deadline <= now }
        if !expired.isEmpty { waiters.removeAll { $0.deadline <= now } }
        return expired
    }

    private mutating func closeIdle(_ effects: inout Effects, _ now: Instant) {
        for index in self.slots.indices.reversed() where self.slots[index].isIdle {
            let isSuperfluous =
                self.slots.count > self.limits.minimum && self.slots[index].lastUse + self.limits.idle <= now
            guard isSuperfluous || self.slots[index].expires <= now else { continue }
            effects.closes.append(self.slots[index].connection)
            self.slots.remove(at: index)
        }
    }

    // MARK: - Choosing

    private func index(of connection: Connection) -> Int? {
        for index in self.slots.indices where self.slots[index].connection === connection { return index }
        return nil
    }

    private mutating func remove(_ index: Int) {
        if self.slots[index].users > 0 { self.used -= 1 }
        self.slots.remove(at: index)
    }

    private mutating func take(_ index: Int, _ use: Use, _ now: Instant) -> Connection {
        if self.slots[index].users == 0 { self.used += 1 }
        self.slots[index].users += 1
        self.slots[index].isAlone = use == .alone
        if use == .alone { self.slots[index].isReserved = false }
        self.slots[index].lastUse = now
        return self.slots[index].connection
    }

    /// The one used last is the most likely to be alive and warm.
    private func idleSlot(_ now: Instant) -> Int? {
        var best: Int?
        for index in self.slots.indices where self.slots[index].isIdle && self.slots[index].expires > now {
            if best.map({ self.slots[$0].lastUse < self.slots[index].lastUse }) ?? true { best = index }
        }
        return best
    }

    /// One that will be done with what it has at once; or else one without anything to do, the one used last; or else the one
    /// with the least to do. One that has grown old gets nothing new, so that it can end.
    private func slotToShare(_ now: Instant, withReserved: Bool = false) -> Int? {
        var idle: Int?
        var least: Int?
        for index in self.slots.indices {
            let users = self.slots[index].users
            guard !self.slots[index].isAlone, withReserved || !self.slots[index].isReserved, users < self.limits.depth,
                self.slots[index].expires > now
            else { continue }
            if users == 0 {
                if idle.map({ self.slots[$0].lastUse < self.slots[index].lastUse }) ?? true { idle = index }
                continue
            }
            if self.slots[index].connection.expectedWait(behind: users) <= Self.shortWait { return index }
            if least.map({ users < self.slots[$0].users }) ?? true { least = index }
        }
        return idle ?? least
    }

    /// What it takes to wake another thread and another process of the server, several times over.
    private static var shortWait: Int64 { 1_000_000 }

    /// Gives connections to those who wait, the longest waiting first.
    private mutating func serve(_ effects: inout Effects, _ now: Instant) {
        guard !self.isClosed else { return }
        self.reserve()
        while self.waiting > 0 {
            if let waiter = self.shared.first, self.alone.first.map({ waiter.number < $0.number }) ?? true {
                // Nothing is kept back from those who came first.
                guard let index = self.slotToShare(now, withReserved: true) else { break }
                self.shared.removeFirst()
                effects.grants.append((waiter.id, self.take(index, .shared, now)))
            } else if let waiter = self.alone.first, let index = self.idleSlot(now) {
                self.alone.removeFirst()
                effects.grants.append((waiter.id, self.take(index, .alone, now)))
                self.reserve()
            } else if let waiter = self.shared.first, let index = self.slotToShare(now) {
                self.shared.removeFirst()
                effects.grants.append((waiter.id, self.take(index, .shared, now)))
            } else {
                break
            }
        }
        self.reserve()
        self.connectAsNeeded(&effects, now)
    }

    /// Keeps a connection for each of those who wait to have one alone.
    private mutating func reserve() {
        let wanted = self.alone.count
        if wanted == 0 {
            for index in self.slots.indices where self.slots[index].isReserved { self.slots[index].isReserved = false }
            return
        }
        var reserved = self.slots.count { $0.isReserved }
        while reserved < wanted {
            var best: Int?
            for index in self.slots.indices where !self.slots[index].isAlone && !self.slots[index].isReserved {
                if best.map({ self.slots[index].users < self.slots[$0].users }) ?? true { best = index }
            }
            guard let best else { break }
            self.slots[best].isReserved = true
            reserved += 1
        }
        while reserved > wanted {
            var most: Int?
            for index in self.slots.indices where self.slots[index].isReserved {
                if most.map({ self.slots[index].users > self.slots[$0].users }) ?? true { most = index }
            }
            guard let most else { break }
            self.slots[most].isReserved = false
            reserved -= 1
        }
    }

    // MARK: - Growing

    /// Connections to be made for those who wait, and up to the least number.
    private var wanted: Int {
        let missing = max(0, self.limits.minimum - self.slots.count)
        let room = self.limits.maximum - self.slots.count - self.connecting
        return min(room, max(missing, self.waiting) - self.connecting)
    }

    private mutating func connectAsNeeded(_ effects: inout Effects, _ now: Instant, atLeast least: Int = 0) {
        guard !self.isClosed, self.nextConnect.map({ $0 <= now }) ?? true else { return }
        var count = max(self.wanted, min(least - self.connecting, self.limits.maximum - self.connecting))
        // While the server is away one attempt at a time is enough.
        if self.failures > 0 { count = min(count, 1 - self.connecting) }
        guard count > 0 else { return }
        self.connecting += count
        effects.connects += count
    }

    /// All connections are busy: one more, though nobody has to wait for it.
    private mutating func grow(_ effects: inout Effects, _ now: Instant) {
        guard self.slots.count + self.connecting < self.limits.maximum else { return }
        self.connectAsNeeded(&effects, now, atLeast: 1)
    }
}
