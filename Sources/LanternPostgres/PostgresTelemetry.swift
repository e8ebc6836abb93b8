import CoreMetrics
import Synchronization
import Tracing

/// Spans and metrics of a pool, by the OpenTelemetry conventions for database clients.
final class PostgresTelemetry: Sendable {
    private struct Key: Hashable {
        var operation: String
        var collection: String
        var error: String
    }

    private let factory: any MetricsFactory
    private let timers = Mutex<[Key: Timer]>([:])
    private let summaries = Mutex<[String: StatementSummary]>([:])
    private let idle: Meter
    private let used: Meter
    private let wait: Timer
    private let server: String
    private let namespace: String

    init(pool: String, url: String) {
        let factory = MetricsSystem.factory
        self.factory = factory
        let name = ("db_client_connection_pool_name", pool)
        self.idle = Meter(
            label: "db_client_connections", dimensions: [("db_client_connection_state", "idle"), name], factory: factory
        )
        self.used = Meter(
            label: "db_client_connections", dimensions: [("db_client_connection_state", "used"), name], factory: factory
        )
        self.wait = Timer(label: "db_client_connection_wait_time_seconds", dimensions: [name], factory: factory)
        (self.server, self.namespace) = Self.address(of: url)
    }

    /// Host and database of a connection URI; never user or password.
    static func address(of url: String) -> (server: String, namespace: String) {
        guard let scheme = url.firstRange(of: "://") else { return ("", "") }
        // Up to the last "@" it is user and password, however they were written.
        let whole = url[scheme.upperBound...]
        let location = whole.prefix { $0 != "?" }
        // A "?" that nobody escaped may be one of the password: then nothing can be told apart, and nothing is shown.
        if !location.contains("@"), whole.contains("@") { return ("", "") }
        let rest = location.lastIndex(of: "@").map { whole[whole.index(after: $0)...] } ?? whole
        let slash = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = rest[..<slash]
        let path = slash < rest.endIndex && rest[slash] == "/" ? rest[rest.index(after: slash)...] : ""
        return (String(authority), String(path.prefix { $0 != "?" }))
    }

    func waited(_ duration: Duration) {
        self.wait.recordNanoseconds(duration.nanoseconds)
    }

    func connections(idle: Int, used: Int) {
        self.idle.set(idle)
        self.used.set(used)
    }

    /// Runs `operation` as the given statement. Outside any trace there is no span, so that a loop that polls does not
    /// fill the trace store with lonely roots.
    func measure<Value>(_ sql: SQL, _ operation: () async throws -> Value) async throws -> Value {
        let summary = self.summary(of: sql.text)
        let start = ContinuousClock.now
        guard InstrumentationContext.current != nil else {
            do {
                let value = try await operation()
                self.record(summary, error: "", start: start)
                return value
            } catch {
                self.record(summary, error: Self.errorType(error), start: start)
                throw error
            }
        }
        return try await withSpan(summary.description, ofKind: .client) { span in
            span.updateAttributes { attributes in
                attributes["db.system.name"] = "postgresql"
                attributes["db.operation.name"] = summary.operation
                if !summary.collection.isEmpty { attributes["db.collection.name"] = summary.collection }
                attributes["db.query.summary"] = summary.description
                attributes["db.query.text"] = sql.text
                attributes["db.namespace"] = self.namespace
                attributes["server.address"] = self.server
            }
            do {
                let value = try await operation()
                self.record(summary, error: "", start: start)
                return value
            } catch {
                let type = Self.errorType(error)
                span.attributes["error.type"] = type
                if let state = (error as? PostgresError)?.sqlState {
                    span.attributes["db.response.status_code"] = state
                }
                self.record(summary, error: type, start: start)
                throw error
            }
        }
    }

    private func summary(of text: String) -> StatementSummary {
        self.summaries.withLock { summaries in
            if let summary = summaries[text] { return summary }
            let summary = StatementSummary(text)
            // Statements are written by programmers, so there are few; a program that builds them is not to fill memory.
            if summaries.count < 1_000 { summaries[text] = summary }
            return summary
        }
    }

    private func record(_ summary: StatementSummary, error: String, start: ContinuousClock.Instant) {
        let key = Key(operation: summary.operation, collection: summary.collection, error: error)
        let timer = self.timers.withLock { timers in
            if let timer = timers[key] { return timer }
            let timer = Timer(
                label: "db_client_operation_duration_seconds",
                dimensions: [
                    ("db_system_name", "postgresql"), ("db_operation_name", key.operation),
                    ("db_collection_name", key.collection), ("error_type", key.error),
                ],
                factory: self.factory
            )
            timers[key] = timer
            return timer
        }
        timer.recordNanoseconds(start.duration(to: .now).nanoseconds)
    }

    private static func errorType(_ error: any Error) -> String {
        (error as? PostgresError)?.code.rawValue ?? (error is CancellationError ? "cancelled" : "other")
    }
}

/// What a statement does to what, for span names and labels: `INSERT outbox`. Read from the text, without parsing it all:
/// the last verb at nesting depth 0, and the name behind FROM, INTO, UPDATE or TABLE that belongs to it.
struct StatementSummary: CustomStringConvertible, Equatable {
    var operation: String
    var collection: String

    var description: String { self.collection.isEmpty ? self.operation : "\(self.operation) \(self.collection)" }

    init(_ text: String) {
        var depth = 0
        var word = ""
        var words: [String] = []
        var quoted = false
        for character in text.unicodeScalars {
            if character == "'" { quoted.toggle() }
            if !quoted, character == "(" {
                // Stands for what is in the brackets: a subquery is no table, and the word behind it is its alias.
                if depth == 0 {
                    if !word.isEmpty { words.append(word) }
                    words.append("(")
                    word = ""
                }
                depth += 1
            }
            if depth == 0, !quoted,
                character.properties.isAlphabetic || character == "_" || character == "."
                    || ("0"..."9").contains(character)
            {
                word.unicodeScalars.append(character)
            } else if !word.isEmpty {
                words.append(word)
                word = ""
            }
            if !quoted, character == ")" { depth -= 1 }
        }
        if !word.isEmpty { words.append(word) }

        let verbs: Set<String> = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"]
        let upper = words.map { $0.uppercased() }
        guard let first = upper.first(where: { $0 != "(" }) else {
            self.operation = "UNKNOWN"
            self.collection = ""
            return
        }
        // `WITH a AS (…) UPDATE b`: what stands in brackets is skipped, so the first verb is the statement's own.
        let start = (first == "WITH" ? upper.firstIndex(where: verbs.contains) : upper.firstIndex(of: first)) ?? 0
        self.operation = upper[start]
        let behind: Set<String>
        switch self.operation {
        case "SELECT", "DELETE": behind = ["FROM"]
        case "INSERT", "MERGE": behind = ["INTO"]
        case "UPDATE": behind = ["UPDATE"]
        case "CREATE", "ALTER", "DROP": behind = ["TABLE"]
        default: behind = []
        }
        let name = upper.indices
            .first { $0 >= start && behind.contains(upper[$0]) }
            .flatMap { index in
                words.indices.first { $0 > index && !["IF", "NOT", "EXISTS", "ONLY"].contains(upper[$0]) }.map {
                    words[$0]
                }
            }
        self.collection = name.map { $0 == "(" ? "" : $0.lowercased() } ?? ""
    }
}
