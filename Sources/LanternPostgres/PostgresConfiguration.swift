/// How to reach PostgreSQL, and how much of it to use.
public struct PostgresConfiguration: Sendable {
    /// A libpq connection URI; TLS, several hosts and `target_session_attrs` as libpq says.
    public var url: String
    /// Shown in `pg_stat_activity`.
    public var applicationName: String
    /// Most connections of the pool.
    public var maximumConnections = 10
    /// Most tasks that may wait for a connection; the next one is refused at once.
    public var maximumWaiters = 1_000
    /// How long a task waits for a connection.
    public var acquireTimeout: Duration = .seconds(10)
    /// How long making a connection may take.
    public var connectTimeout: Duration = .seconds(5)
    /// How long one statement may run; the server ends it then.
    public var statementTimeout: Duration = .seconds(30)
    /// A connection older than this is closed when it comes back to the pool.
    public var maximumLifetime: Duration = .seconds(1_800)

    public init(url: String, applicationName: String) {
        self.url = url
        self.applicationName = applicationName
    }
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
