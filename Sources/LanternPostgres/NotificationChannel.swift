import Synchronization

/// A channel of LISTEN and NOTIFY, on a session of its own.
///
/// Notifications are hints: those sent while no session listens are lost, and PostgreSQL may fold equal ones of one
/// transaction. Whoever needs to know looks again now and then.
public struct NotificationChannel: Sendable {
    private let client: PostgresClient
    private let name: String

    /// - Parameters:
    ///   - client: Its configuration must reach the server directly: behind a transaction pooler a session is nobody's.
    ///   - name: Of the channel, at most 63 bytes.
    public init(client: PostgresClient, name: String) {
        self.client = client
        self.name = name
    }

    /// Listens on a new session, and runs `body` with it.
    ///
    /// When the session dies `body` is cancelled, and the error is ``PostgresError`` with code `connectionLost`.
    ///
    /// - Parameter onNotification: Called with the payload of each notification, on a thread of the driver: it must return
    ///   at once.
    public func withSession<Value: Sendable>(
        onNotification: @escaping @Sendable (_ payload: String) -> Void,
        _ body: @escaping @Sendable (Session) async throws -> Value
    ) async throws -> Value {
        let end = End()
        let driver = try await self.client.makeDedicatedDriver(
            onEnd: { _ in end.happened() }, onNotification: { _, payload in onNotification(payload) }
        )
        defer { driver.close() }
        // LISTEN takes no parameters, so the name is quoted.
        let quoted =
            "\"" + self.name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
        try await driver.ask(SQL(unchecked: "LISTEN \(quoted)"))
        let session = Session(driver: driver, channel: self.name)
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body(session) }
            group.addTask {
                await end.wait()
                return nil
            }
            defer { group.cancelAll() }
            guard let value = try await group.next() ?? nil else {
                throw PostgresError(code: .connectionLost, message: "the session that listens is gone")
            }
            return value
        }
    }

    /// Listens on a new session, and reads the payloads as they come.
    ///
    /// When the session dies `body` is cancelled, and the error is ``PostgresError`` with code `connectionLost`. While nobody reads,
    /// the last 1,024 payloads are kept.
    public func withNotifications<Value: Sendable>(
        _ body: @escaping @Sendable (_ payloads: AsyncStream<String>, Session) async throws -> Value
    ) async throws -> Value {
        let (payloads, continuation) = AsyncStream<String>.makeStream(bufferingPolicy: .bufferingNewest(1_024))
        return try await self.withSession(onNotification: { continuation.yield($0) }) { session in
            try await body(payloads, session)
        }
    }

    /// The session that listens. It can send, too.
    public struct Session: Sendable {
        fileprivate let driver: Driver
        fileprivate let channel: String

        /// Notifies every session that listens, this one included, in a transaction of its own.
        public func notify(_ payload: String = "") async throws {
            try await self.driver.ask("SELECT pg_notify(\(self.channel), \(payload))")
        }
    }

    /// The end of a session, once.
    private final class End: Sendable {
        private struct State {
            var hasHappened = false
            var waiter: CheckedContinuation<Void, Never>?
        }

        private let state = Mutex(State())

        func happened() {
            self.state.withLock { state -> CheckedContinuation<Void, Never>? in
                state.hasHappened = true
                defer { state.waiter = nil }
                return state.waiter
            }?.resume()
        }

        /// Returns when it has happened, or the task is cancelled.
        func wait() async {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isOver = self.state.withLock { state -> Bool in
                        if state.hasHappened || Task.isCancelled { return true }
                        state.waiter = continuation
                        return false
                    }
                    if isOver { continuation.resume() }
                }
            } onCancel: {
                self.happened()
            }
        }
    }
}
