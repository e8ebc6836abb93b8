import CLibPQ

/// What went wrong with PostgreSQL. Its description holds no parameter's value; it is for operators, not for users.
public struct PostgresError: Error, Sendable, CustomStringConvertible {
    /// Stable; also the label of metrics.
    public enum Code: String, Sendable {
        /// The server refused the statement; see ``PostgresError/sqlState``.
        case server
        case uniqueViolation = "unique_violation"
        case foreignKeyViolation = "foreign_key_violation"
        case checkViolation = "check_violation"
        case notNullViolation = "not_null_violation"
        case exclusionViolation = "exclusion_violation"
        /// Serialization failure or deadlock: the whole transaction may be tried again.
        case serialization
        /// A lock was not to be had in time, or at once where nobody was to wait.
        case lockNotAvailable = "lock_not_available"
        /// What was prepared before is gone or means something else by now: the whole transaction may be tried again.
        case stalePlan = "stale_plan"
        /// The statement was cancelled, by its task or by its time limit.
        case cancelled
        /// No connection could be made.
        case connect
        /// The connection broke; the transaction did not commit.
        case connectionLost = "connection_lost"
        /// The connection broke while something was under way that commits: it may or may not have taken effect.
        case unknownOutcome = "unknown_outcome"
        /// The server did not answer in time.
        case timeout
        /// No connection of the pool became free in time, or too many tasks wait already.
        case poolExhausted = "pool_exhausted"
        /// The pool is shutting down, or what was used has ended.
        case closed
        /// A value is not what the caller asked for.
        case decoding
        /// A parameter that PostgreSQL cannot hold: text with a NUL character.
        case invalidParameter = "invalid_parameter"
        /// The statement has a method of its own: a transaction, COPY, LISTEN.
        case wrongMethod = "wrong_method"
        /// A session is needed, and the URL leads to a pooler that keeps none.
        case pooled
        /// The migrations in the database are not those of this program.
        case migration
    }

    public var code: Code
    /// The server's primary message.
    public var message: String
    /// SQLSTATE (PostgreSQL documentation, appendix A), where the server answered.
    public var sqlState: String?
    /// The violated constraint, where there is one.
    public var constraint: String?
    /// The table it concerns, where the server says so.
    public var table: String?
    /// What to do about it, where the server says so.
    public var hint: String?
    /// Where in the statement it is, in characters from 1.
    public var position: Int?
    /// More of the same. **It may repeat values that users sent**, such as those of a violated key, and is part of no description.
    public var detail: String?

    public init(
        code: Code, message: String, sqlState: String? = nil, constraint: String? = nil, table: String? = nil,
        hint: String? = nil, position: Int? = nil, detail: String? = nil
    ) {
        self.code = code
        self.message = message
        self.sqlState = sqlState
        self.constraint = constraint
        self.table = table
        self.hint = hint
        self.position = position
        self.detail = detail
    }

    public var description: String {
        "PostgreSQL \(self.code.rawValue)\(self.sqlState.map { " \($0)" } ?? ""): \(self.message)"
    }

    /// Whether the value itself was refused (SQLSTATE classes 22 and 23): trying again cannot help.
    public var isDataError: Bool {
        self.code == .invalidParameter || self.sqlState?.hasPrefix("22") == true
            || self.sqlState?.hasPrefix("23") == true
    }

    /// Whether the whole transaction may be tried again at once.
    public var isRetriable: Bool { self.code == .serialization || self.code == .stalePlan }

    /// The case of a SQLSTATE.
    init(sqlState: String, message: String, constraint: String?) {
        let code: Code
        switch sqlState {
        case "23505": code = .uniqueViolation
        case "23503": code = .foreignKeyViolation
        case "23514": code = .checkViolation
        case "23502": code = .notNullViolation
        case "23P01": code = .exclusionViolation
        case "40001", "40P01": code = .serialization
        case "55P03": code = .lockNotAvailable
        case "57014": code = .cancelled
        case _ where sqlState.hasPrefix("08") || sqlState.hasPrefix("57P"): code = .connectionLost
        default: code = .server
        }
        self.init(code: code, message: message, sqlState: sqlState, constraint: constraint)
    }

    /// What a failed result says.
    /// - Parameter statement: Its text, where it is known.
    init(result: OpaquePointer, statement: String?) {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
        }
        guard let state = field("C") else {
            // Made by libpq itself: the connection is gone, or the protocol was broken.
            let text = PQresultErrorMessage(result).map { String(cString: $0) } ?? ""
            let lines = text.split(separator: "\n").joined(separator: " ")
            self.init(code: .connectionLost, message: lines.isEmpty ? "the server closed the connection" : lines)
            return
        }
        let message = field("M") ?? "unknown error"
        self.init(
            sqlState: state, message: Self.masked(message, sqlState: state, statement: statement),
            constraint: field("n"))
        self.table = field("t")
        self.hint = field("H")
        self.position = field("P").flatMap { Int($0) }
        self.detail = [self.message == message ? nil : message, field("D")].compactMap { $0 }.joined(separator: "; ")
        if self.detail?.isEmpty == true { self.detail = nil }
    }

    /// Errors about a value (class 22) repeat it in quotes: `invalid input syntax for type bigint: "…"`. So do some about a name
    /// (class 42) that was a value: `relation "…" does not exist`. What the statement itself says is no secret.
    static func masked(_ message: String, sqlState: String, statement: String?) -> String {
        if sqlState.hasPrefix("22") {
            // The value may hold quotes itself.
            guard let start = message.firstIndex(of: "\""), let end = message.lastIndex(of: "\"") else {
                return message
            }
            return message[..<start] + "***" + message[message.index(after: end)...]
        }
        guard sqlState.hasPrefix("42"), message.contains("\"") else { return message }
        let known = statement?.lowercased() ?? ""
        let pieces = message.split(separator: "\"", omittingEmptySubsequences: false)
        // An even number of quotes, and every second piece is one that the statement names.
        let isEven = pieces.count % 2 == 1
        return pieces.enumerated().map { index, piece in
            if index % 2 == 0 { return String(piece) }
            return isEven && known.contains(piece.lowercased()) ? "\"\(piece)\"" : "***"
        }.joined()
    }

    /// Whether a prepared statement's columns changed: told by the place, since its SQLSTATE is that of many others.
    static func isStalePlan(_ result: OpaquePointer) -> Bool {
        PQresultErrorField(result, Int32(Character("R").asciiValue ?? 0)).map { String(cString: $0) }
            == "RevalidateCachedQuery"
    }
}

extension PostgresError: CustomDebugStringConvertible, CustomReflectable {
    public var debugDescription: String { self.description }

    /// Without ``detail``: what dumps an error must not show what a user sent.
    public var customMirror: Mirror {
        Mirror(self, children: ["code": self.code, "message": self.message, "sqlState": self.sqlState as Any])
    }
}
