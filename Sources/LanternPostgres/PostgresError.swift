/// What went wrong with PostgreSQL. Holds no parameter's value; `message` is for operators, not for users.
public struct PostgresError: Error, Sendable, CustomStringConvertible {
    /// Stable; also the label of metrics.
    public enum Code: String, Sendable {
        /// The server refused the statement; see ``PostgresError/sqlState``.
        case server
        case uniqueViolation = "unique_violation"
        case foreignKeyViolation = "foreign_key_violation"
        case checkViolation = "check_violation"
        case notNullViolation = "not_null_violation"
        /// Serialization failure or deadlock: the whole transaction may be tried again.
        case serialization
        /// The statement was cancelled, by its task or by its time limit.
        case cancelled
        /// No connection could be made.
        case connect
        /// The connection broke; the transaction did not commit.
        case connectionLost = "connection_lost"
        /// The connection broke after COMMIT was sent: it may or may not have taken effect.
        case unknownOutcome = "unknown_outcome"
        /// The server did not answer in time.
        case timeout
        /// No connection of the pool became free in time, or too many tasks wait already.
        case poolExhausted = "pool_exhausted"
        /// The pool is shutting down.
        case closed
        /// A value is not what the caller asked for.
        case decoding
        /// A parameter that PostgreSQL cannot hold: text with a NUL character.
        case invalidParameter = "invalid_parameter"
        /// The migrations in the database are not those of this program.
        case migration
    }

    public var code: Code
    public var message: String
    /// SQLSTATE (PostgreSQL documentation, appendix A), where the server answered.
    public var sqlState: String?
    /// The violated constraint, where there is one.
    public var constraint: String?

    public init(code: Code, message: String, sqlState: String? = nil, constraint: String? = nil) {
        self.code = code
        self.message = message
        self.sqlState = sqlState
        self.constraint = constraint
    }

    public var description: String {
        "PostgreSQL \(self.code.rawValue)\(self.sqlState.map { " \($0)" } ?? ""): \(self.message)"
    }

    /// Whether the value itself was refused (SQLSTATE classes 22 and 23): trying again cannot help.
    public var isDataError: Bool {
        self.code == .invalidParameter || self.sqlState?.hasPrefix("22") == true
            || self.sqlState?.hasPrefix("23") == true
    }

    /// The case of a SQLSTATE.
    init(sqlState: String, message: String, constraint: String?) {
        let code: Code
        switch sqlState {
        case "23505": code = .uniqueViolation
        case "23503": code = .foreignKeyViolation
        case "23514": code = .checkViolation
        case "23502": code = .notNullViolation
        case "40001", "40P01": code = .serialization
        case "57014": code = .cancelled
        case _ where sqlState.hasPrefix("08") || sqlState.hasPrefix("57P"): code = .connectionLost
        default: code = .server
        }
        self.init(code: code, message: message, sqlState: sqlState, constraint: constraint)
    }
}
