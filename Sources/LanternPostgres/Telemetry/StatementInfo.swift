import CoreMetrics
import Synchronization
import Tracing

/// What is known of a statement by its text alone; made once for each text.
final class StatementInfo: Sendable {
    let summary: StatementSummary
    /// Of the span, and `db.query.summary`.
    let name: String
    /// Of answers without error.
    let timer: Timer
    private let failures = Mutex<[String: Timer]>([:])
    private let makeTimer: @Sendable (_ error: String) -> Timer

    /// What a connection that breaks behind it means. A SELECT of a function that writes belongs in a transaction.
    let loss: Request.Loss

    private let text: String
    /// All of a span's where nothing fails: made once, and shared by all spans of this text.
    private let attributes: SpanAttributes

    /// - Parameter common: Attributes of all spans of the pool.
    init(
        _ summary: StatementSummary, text: String, _ common: [String: SpanAttribute],
        makeTimer: @escaping @Sendable (_ error: String) -> Timer
    ) {
        self.summary = summary
        self.name = summary.description
        self.text = text
        var attributes = common
        attributes["db.operation.name"] = .string(summary.operation)
        if !summary.collection.isEmpty { attributes["db.collection.name"] = .string(summary.collection) }
        attributes["db.query.summary"] = .string(self.name)
        attributes["db.query.text"] = .string(text)
        self.attributes = SpanAttributes(attributes)
        self.makeTimer = makeTimer
        self.timer = makeTimer("")
        switch summary.operation {
        case "SELECT", "SHOW", "VALUES", "TABLE":
            // `WITH a AS (DELETE …) SELECT …`
            let words = Set(text.uppercased().split { !$0.isLetter && $0 != "_" })
            self.loss = words.isDisjoint(with: ["INSERT", "UPDATE", "DELETE", "MERGE"]) ? .nothing : .unknown
        default: self.loss = .unknown
        }
    }

    /// - Parameter sql: What ran: of several statements in one round trip, this knows no text.
    func attributes(of sql: SQL) -> SpanAttributes {
        guard sql.text != self.text else { return self.attributes }
        var attributes = self.attributes
        attributes["db.query.text"] = sql.text
        return attributes
    }

    func timer(failing error: String) -> Timer {
        self.failures.withLock { failures in
            if let timer = failures[error] { return timer }
            let timer = self.makeTimer(error)
            failures[error] = timer
            return timer
        }
    }

    /// - Throws: ``PostgresError`` with code `wrongMethod` for statements that would leave a shared connection in a state of
    ///   their own.
    func check() throws {
        let method: String
        switch self.summary.operation {
        case "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT": method = "transaction(_:)"
        case "SAVEPOINT", "RELEASE": method = "savepoint(_:)"
        case "COPY": method = "copyIn(_:columns:_:) or copyOut(_:_:)"
        case "LISTEN", "UNLISTEN": method = "NotificationChannel"
        default: return
        }
        throw PostgresError(
            code: .wrongMethod, message: "\(self.summary.operation) is not run as a query: use \(method)")
    }
}
