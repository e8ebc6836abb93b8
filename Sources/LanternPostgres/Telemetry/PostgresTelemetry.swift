import CoreMetrics
import Logging
import Synchronization
import Tracing

/// Spans, metrics and slow lines of a pool, by the OpenTelemetry conventions for database clients.
final class PostgresTelemetry: Sendable {
    private let factory: any MetricsFactory
    private let infos = Mutex<[String: StatementInfo]>([:])
    private let idle: Meter
    private let used: Meter
    private let wait: Timer
    /// Attributes of every span: what server it is, and which database.
    private let common: [String: SpanAttribute]
    private let slow: Duration
    private let logger: Logger
    /// Of several statements in one round trip.
    let batch: StatementInfo

    init(_ configuration: PostgresConfiguration, logger: Logger) {
        let factory = MetricsSystem.factory
        self.factory = factory
        self.slow = configuration.slowStatement
        self.logger = logger
        let name = ("db_client_connection_pool_name", configuration.applicationName)
        self.idle = Meter(
            label: "db_client_connections", dimensions: [("db_client_connection_state", "idle"), name], factory: factory
        )
        self.used = Meter(
            label: "db_client_connections", dimensions: [("db_client_connection_state", "used"), name], factory: factory
        )
        self.wait = Timer(label: "db_client_connection_wait_time_seconds", dimensions: [name], factory: factory)
        let address = Self.address(of: configuration.url)
        let (server, port) = Self.hostAndPort(address.server)
        var common: [String: SpanAttribute] = [
            "db.system.name": "postgresql", "db.namespace": .string(address.namespace),
        ]
        if !server.isEmpty { common["server.address"] = .string(server) }
        // Only where it is not PostgreSQL's own, as the conventions want it.
        if let port { common["server.port"] = .int64(port) }
        self.common = common
        self.batch = Self.makeInfo(StatementSummary(operation: "BATCH", collection: ""), "", common, factory)
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

    /// Host and port of an authority; the whole where it names several hosts.
    static func hostAndPort(_ authority: String) -> (host: String, port: Int64?) {
        guard !authority.contains(",") else { return (authority, nil) }
        var host = authority[...]
        var port: Int64?
        if let colon = authority.lastIndex(of: ":"), authority[colon...].contains("]") == false {
            host = authority[..<colon]
            port = Int64(authority[authority.index(after: colon)...])
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return (String(host), port == 5_432 ? nil : port)
    }

    func waited(_ duration: Duration) {
        self.wait.recordNanoseconds(duration.nanoseconds)
    }

    func connections(idle: Int, used: Int) {
        self.idle.set(idle)
        self.used.set(used)
    }

    // MARK: - Statements

    func info(_ text: String) -> StatementInfo {
        self.infos.withLock { infos in
            if let info = infos[text] { return info }
            let info = Self.makeInfo(StatementSummary(text), text, self.common, self.factory)
            // Statements are written by programmers, so there are few; a program that builds them is not to fill memory.
            if infos.count < 1_000 { infos[text] = info }
            return info
        }
    }

    private static func makeInfo(
        _ summary: StatementSummary, _ text: String, _ common: [String: SpanAttribute], _ factory: any MetricsFactory
    ) -> StatementInfo {
        StatementInfo(summary, text: text, common) { error in
            Timer(
                label: "db_client_operation_duration_seconds",
                dimensions: [
                    ("db_system_name", "postgresql"), ("db_operation_name", summary.operation),
                    ("db_collection_name", summary.collection), ("error_type", error),
                ],
                factory: factory
            )
        }
    }

    /// Runs `operation` as the given statement. Outside any trace there is no span, so that a loop that polls does not
    /// fill the trace store with lonely roots.
    ///
    /// - Parameter runsOthers: Whether code of others runs within: its spans and lines are the statement's then. Else the span
    ///   is not that of the task meanwhile, because binding it costs as much as starting it.
    func measure<Value>(
        _ sql: SQL, _ info: StatementInfo, runsOthers: Bool = false,
        _ operation: () async throws -> Value
    ) async throws -> Value {
        let start = ContinuousClock.now
        let span = InstrumentationContext.current.map {
            InstrumentationSystem.tracer.startAnySpan(info.name, context: $0, ofKind: .client)
        }
        defer { span?.end() }
        do {
            let value =
                runsOthers
                ? try await InstrumentationContext.withValue(span?.context) { try await operation() }
                : try await operation()
            self.succeeded(sql, info, start, span)
            return value
        } catch {
            throw self.failed(sql, info, start, error, span)
        }
    }

    private func succeeded(
        _ sql: SQL, _ info: StatementInfo, _ start: ContinuousClock.Instant, _ span: (any Span)?
    ) {
        let duration = start.duration(to: .now)
        self.tell(sql, info, info.timer, duration, span)
        if let span, span.isRecording { span.attributes = info.attributes(of: sql) }
    }

    private func failed(
        _ sql: SQL, _ info: StatementInfo, _ start: ContinuousClock.Instant, _ error: any Error, _ span: (any Span)?
    ) -> any Error {
        let duration = start.duration(to: .now)
        let error = (error as? NeverSent)?.cause ?? error
        let type = Self.errorType(error)
        self.tell(sql, info, info.timer(failing: type), duration, span)
        if let span, span.isRecording {
            span.recordError(error)
            var attributes = info.attributes(of: sql)
            attributes["error.type"] = type
            if let state = (error as? PostgresError)?.sqlState {
                attributes["db.response.status_code"] = state
            }
            span.attributes = attributes
        }
        return error
    }

    /// Within the span, so that an exemplar and the line name it.
    private func tell(_ sql: SQL, _ info: StatementInfo, _ timer: Timer, _ duration: Duration, _ span: (any Span)?) {
        InstrumentationContext.withValue(span?.context) {
            timer.recordNanoseconds(duration.nanoseconds)
            if duration >= self.slow { self.tellSlow(sql, info, duration) }
        }
    }

    private func tellSlow(_ sql: SQL, _ info: StatementInfo, _ duration: Duration) {
        self.logger.warning(
            "slow statement",
            metadata: [
                "db.query.summary": "\(info.name)", "db.query.text": "\(sql.text.prefix(2_000))",
                "duration_ms": .stringConvertible(Double(duration.nanoseconds / 1_000) / 1_000),
            ]
        )
    }

    private static func errorType(_ error: any Error) -> String {
        (error as? PostgresError)?.code.rawValue ?? (error is CancellationError ? "cancelled" : "other")
    }
}
