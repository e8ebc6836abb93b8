import Synchronization

/// Holding an advisory lock on a session of its own: how one of several replicas becomes leader.
///
/// The lock only elects. What the leader writes must be fenced by itself (a term in the row it updates), because a
/// session can die while its holder still believes.
public struct AdvisoryLock: Sendable {
    private let client: PostgresClient
    private let name: String

    /// - Parameters:
    ///   - client: Its configuration must reach the server directly: behind a transaction pooler a session is nobody's.
    ///   - name: What is locked; the same for all who compete.
    public init(client: PostgresClient, name: String) {
        self.client = client
        self.name = name
    }

    /// Waits for the lock, runs `body` while holding it, and lets go when `body` ends.
    ///
    /// Refuses a connection that leads through a transaction pooler, where the lock would belong to nobody. When the session dies
    /// `body` is cancelled. Ends with the error of `body`, of the session, or `CancellationError`.
    ///
    /// - Parameter retry: How often a replica that is not leader asks again.
    public func withLock<Value: Sendable>(
        retry: Duration = .milliseconds(500), _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let session = try await self.client.makeDedicatedDriver()
        defer { session.close() }
        while true {
            let results = try await session.ask(
                "SELECT pg_try_advisory_lock(hashtextextended(\(self.name), 0)) AS locked"
            )
            if let row = results.first?.first, try row("locked", as: Bool.self) { break }
            try await Task.sleep(for: retry)
        }
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                while true {
                    try await Task.sleep(for: .seconds(1))
                    try await session.ask("SELECT 1")
                }
            }
            defer { group.cancelAll() }
            while let value = try await group.next() {
                if let value { return value }
            }
            throw CancellationError()
        }
    }
}
