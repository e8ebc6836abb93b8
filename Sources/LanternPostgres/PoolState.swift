/// The pool's book-keeping as a plain value: who holds a connection, who waits. It decides; ``PostgresClient`` acts.
struct PoolState<Connection> {
    typealias WaiterID = Int

    /// What the pool has to do next.
    enum Action {
        /// Give the connection to the task that asked.
        case lease(Connection)
        /// The task waits; a new connection is to be made.
        case waitAndConnect
        /// The task waits for one that is in use.
        case wait
        /// Too many wait already, or the pool is closed.
        case refuse(PostgresError)
    }

    /// What becomes of a connection that came back or was just made.
    enum Return {
        case handOver(WaiterID, Connection)
        case keep
        case close(Connection)
    }

    let maximumConnections: Int
    let maximumWaiters: Int
    private(set) var idle: [Connection] = []
    private(set) var leased = 0
    private(set) var connecting = 0
    private(set) var waiters: [WaiterID] = []
    private(set) var isClosed = false

    init(maximumConnections: Int, maximumWaiters: Int) {
        self.maximumConnections = maximumConnections
        self.maximumWaiters = maximumWaiters
    }

    mutating func acquire(_ waiter: WaiterID) -> Action {
        if self.isClosed { return .refuse(PostgresError(code: .closed, message: "the pool is closed")) }
        // The one used last is the most likely to be alive and warm.
        if let connection = self.idle.popLast() {
            self.leased += 1
            return .lease(connection)
        }
        guard self.waiters.count < self.maximumWaiters else {
            return .refuse(
                PostgresError(
                    code: .poolExhausted, message: "\(self.waiters.count) tasks wait for a connection already")
            )
        }
        self.waiters.append(waiter)
        if self.leased + self.connecting < self.maximumConnections, self.connecting < self.waiters.count {
            self.connecting += 1
            return .waitAndConnect
        }
        return .wait
    }

    /// Whether the waiter was still waiting.
    mutating func abandon(_ waiter: WaiterID) -> Bool {
        guard let index = self.waiters.firstIndex(of: waiter) else { return false }
        self.waiters.remove(at: index)
        return true
    }

    mutating func connected(_ connection: Connection) -> Return {
        self.connecting -= 1
        return self.place(connection)
    }

    /// The attempt failed: the longest waiter gets the error. Others wait for connections in use or for their time limit.
    mutating func connectFailed() -> WaiterID? {
        self.connecting -= 1
        return self.waiters.isEmpty ? nil : self.waiters.removeFirst()
    }

    mutating func giveBack(_ connection: Connection, usable: Bool) -> Return {
        self.leased -= 1
        return usable ? self.place(connection) : .close(connection)
    }

    /// Whether a connection is to be made for those who wait, after one was closed.
    mutating func wantsConnection() -> Bool {
        guard !self.isClosed, !self.waiters.isEmpty, self.connecting < self.waiters.count,
            self.leased + self.connecting + self.idle.count < self.maximumConnections
        else { return false }
        self.connecting += 1
        return true
    }

    mutating func removeIdle(where isGone: (Connection) -> Bool) {
        self.idle.removeAll(where: isGone)
    }

    /// Closes the pool: answers the idle connections to close and the waiters to refuse.
    mutating func close() -> (connections: [Connection], waiters: [WaiterID]) {
        self.isClosed = true
        defer {
            self.idle = []
            self.waiters = []
        }
        return (self.idle, self.waiters)
    }

    private mutating func place(_ connection: Connection) -> Return {
        if self.isClosed { return .close(connection) }
        guard !self.waiters.isEmpty else {
            self.idle.append(connection)
            return .keep
        }
        self.leased += 1
        return .handOver(self.waiters.removeFirst(), connection)
    }
}
