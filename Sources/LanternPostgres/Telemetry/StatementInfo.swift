import CoreMetrics
import Synchronization

/// What is known of a statement by its text alone; made once for each text.
final class StatementInfo: Sendable {
    let summary: StatementSummary
    /// Of the span, and `db.query.summary`.
    let name: String
    /// Of answers without error.
    let timer: Timer
    private let failures = Mutex<[String: Timer]>([:])
    private let makeTimer: @Sendable (_ error: String) -> Timer

    init(_ summary: StatementSummary, makeTimer: @escaping @Sendable (_ error: String) -> Timer) {
        self.summary = summary
        self.name = summary.description
        self.makeTimer = makeTimer
        self.timer = makeTimer("")
    }

    func timer(failing error: String) -> Timer {
        self.failures.withLock { failures in
            if let timer = failures[error] { return timer }
            let timer = self.makeTimer(error)
            failures[error] = timer
            return timer
        }
    }

    /// What a connection that breaks behind it means. A SELECT of a function that writes belongs in a transaction.
    var loss: Request.Loss {
        switch self.summary.operation {
        case "SELECT", "SHOW", "VALUES", "TABLE", "EXPLAIN": .nothing
        default: .unknown
        }
    }

    /// - Throws: ``PostgresError`` with code `wrongMethod` for statements that would leave a shared connection in a state of
    ///   their own.
    func check() throws {
        let method: String
        switch self.summary.operation {
        case "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT": method = "transaction(_:)"
        case "SAVEPOINT", "RELEASE": method = "savepoint(_:)"
        case "COPY": method = "copyIn(_:_:) or copyOut(_:_:)"
        case "LISTEN", "UNLISTEN": method = "NotificationChannel"
        default: return
        }
        throw PostgresError(
            code: .wrongMethod, message: "\(self.summary.operation) is not run as a query: use \(method)")
    }
}
