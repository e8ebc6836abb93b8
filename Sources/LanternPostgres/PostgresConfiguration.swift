/// How to reach PostgreSQL, and how much of it to use.
public struct PostgresConfiguration: Sendable {
    /// A libpq connection URI; TLS, several hosts and `target_session_attrs` as libpq says.
    public var url: String
    /// Shown in `pg_stat_activity`.
    public var applicationName: String
    /// Connections that are kept open, and made again when they are lost.
    public var minimumConnections = 0
    /// Most connections of the pool.
    public var maximumConnections = 10
    /// Statements outside a transaction that may be on their way on one connection at a time; 1 gives each a connection of
    /// its own. A slow statement delays those sent behind it.
    public var pipelineDepth = 16
    /// Most tasks that may wait for a connection; the next one is refused at once.
    public var maximumWaiters = 1_000
    /// How long a task waits for a connection.
    public var acquireTimeout: Duration = .seconds(10)
    /// How long making a connection may take for each host; two seconds at least.
    public var connectTimeout: Duration = .seconds(5)
    /// How long one statement may run; the server ends it then, and the client gives up five seconds later.
    public var statementTimeout: Duration = .seconds(30)
    /// How long the server may take to answer a cancelled statement before its connection is closed.
    public var cancelTimeout: Duration = .seconds(5)
    /// A connection older than this is closed when nobody uses it. A tenth is taken off by chance, so that those made together
    /// do not end together.
    public var maximumLifetime: Duration = .seconds(1_800)
    /// A connection that nobody used for as long is closed, but for the least number.
    public var idleTimeout: Duration = .seconds(600)
    /// Statements that each connection keeps prepared; 0 switches it off.
    public var statementCacheSize = 256
    /// The URL leads to a pooler that gives a session to each transaction (PgBouncer in transaction mode): nothing is prepared,
    /// and no setting is left behind. Leaders, LISTEN and migrations need a direct connection then.
    public var isPooled = false
    /// A statement that takes longer is told in a line at warning.
    public var slowStatement: Duration = .seconds(1)

    public init(url: String, applicationName: String) {
        self.url = url
        self.applicationName = applicationName
    }

    var effectiveCacheSize: Int { self.isPooled ? 0 : max(0, self.statementCacheSize) }
}

extension Duration {
    var milliseconds: Int64 {
        self.components.seconds * 1_000 + self.components.attoseconds / 1_000_000_000_000_000
    }

    var nanoseconds: Int64 {
        self.components.seconds * 1_000_000_000 + self.components.attoseconds / 1_000_000_000
    }

    var secondsAsDouble: Double {
        Double(self.components.seconds) + Double(self.components.attoseconds) / 1e18
    }
}
