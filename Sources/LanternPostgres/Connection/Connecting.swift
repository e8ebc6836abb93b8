import CLibPQ
import Glibc

/// Making a connection. Blocks, so it belongs on the driver's thread: libpq keeps a time limit for each of several hosts
/// only where it does the waiting itself.
enum Connecting {
    static func connect(_ configuration: PostgresConfiguration) -> Result<OpaquePointer, PostgresError> {
        // libpq rounds less than two seconds up.
        let seconds = max(2, Int((configuration.connectTimeout.secondsAsDouble).rounded(.up)))
        let parameters: [(String, String)] = [
            // Before `dbname`, so that the URI has the last word.
            ("connect_timeout", String(seconds)),
            ("keepalives_idle", "30"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("tcp_user_timeout", String(configuration.statementTimeout.milliseconds + 5_000)),
            ("dbname", configuration.url),
            ("fallback_application_name", configuration.applicationName),
            ("client_encoding", "UTF8"),
        ]
        let keywords = parameters.map { strdup($0.0) }
        let values = parameters.map { strdup($0.1) }
        defer { (keywords + values).forEach { free($0) } }
        var keywordPointers: [UnsafePointer<CChar>?] = keywords.map { UnsafePointer($0) } + [nil]
        var valuePointers: [UnsafePointer<CChar>?] = values.map { UnsafePointer($0) } + [nil]
        guard let connection = PQconnectdbParams(&keywordPointers, &valuePointers, 1) else {
            return .failure(PostgresError(code: .connect, message: "out of memory"))
        }
        guard PQstatus(connection) == CONNECTION_OK else {
            let message = Self.message(of: connection)
            PQfinish(connection)
            return .failure(PostgresError(code: .connect, message: message))
        }
        // Without one, libpq prints notices to standard error, between the log lines.
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
        guard PQsetnonblocking(connection, 1) == 0, PQenterPipelineMode(connection) == 1 else {
            PQfinish(connection)
            return .failure(
                PostgresError(code: .connect, message: "the connection cannot be set non-blocking and pipelined"))
        }
        return .success(connection)
    }

    /// What libpq says of the connection, on one line.
    static func message(of connection: OpaquePointer) -> String {
        let text = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        let lines = text.split(separator: "\n").map { String($0) }
        return lines.isEmpty ? "the server closed the connection" : lines.joined(separator: " ")
    }
}

extension PostgresConfiguration {
    /// What each session begins with.
    var sessionStatements: [SQL] {
        var statements: [SQL] = ["SET TIME ZONE 'UTC'", "SET datestyle = 'ISO, YMD'"]
        // A pooler gives its sessions to everybody: only what it knows to follow its client may be set.
        guard !self.isPooled else { return statements }
        // PostgreSQL counts in 32 bits.
        let milliseconds = min(self.statementTimeout.milliseconds, Int64(Int32.max) / 2)
        statements += [
            "SET intervalstyle = 'iso_8601'", "SET bytea_output = 'hex'", "SET extra_float_digits = 1",
            SQL(unchecked: "SET statement_timeout = \(milliseconds)"),
            // A transaction that its client forgot must not hold its locks for ever.
            SQL(unchecked: "SET idle_in_transaction_session_timeout = \(milliseconds * 2)"),
        ]
        return statements
    }
}
