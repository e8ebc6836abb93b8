import CLanternSystem
import CLibPQ
import Glibc
import Synchronization

/// One libpq connection on a thread of its own: statements go in from any task, answers come back by continuation.
///
/// The thread waits in `poll` for the socket and an eventfd, so nothing is polled in vain and no task is blocked. The
/// connection is in pipeline mode: each request ends in one Sync, so a failed statement ends its own request only.
///
/// `@unchecked Sendable` is right because the `PGconn` is touched by the driver's thread only; all other state is behind
/// the mutex, or never changes.
final class Driver: @unchecked Sendable {
    /// Statements that share one Sync, and who waits for their answers.
    struct Request {
        var statements: [SQL]
        var deadline: ContinuousClock.Instant
        var isCommit: Bool
        var continuation: CheckedContinuation<[PostgresResult], any Error>
        var results: [PostgresResult] = []
        var error: PostgresError?
    }

    private struct Shared {
        var submitted: [Request] = []
        var closing = false
        var ended = false
        var cancel: CancelHandle?
    }

    /// A `PGcancel`. `@unchecked Sendable` is right because libpq allows `PQcancel` on it from any thread, and because it
    /// is read and freed under the mutex only.
    private struct CancelHandle: @unchecked Sendable {
        let raw: OpaquePointer
    }

    private let shared = Mutex(Shared())
    private let wake: Int32
    private let configuration: PostgresConfiguration
    private let onEnd: @Sendable (Driver) -> Void
    private let onNotification: (@Sendable (_ payload: String) -> Void)?
    let id: Int
    let connectedAt = ContinuousClock.now

    /// Set by ``cancelRunningStatement()``: the connection is not used again, because the cancel may arrive late and
    /// would hit somebody else's statement.
    private let doomed = Atomic<Bool>(false)

    private init(
        id: Int, configuration: PostgresConfiguration, wake: Int32, onEnd: @escaping @Sendable (Driver) -> Void,
        onNotification: (@Sendable (_ payload: String) -> Void)?
    ) {
        self.onNotification = onNotification
        self.id = id
        self.configuration = configuration
        self.wake = wake
        self.onEnd = onEnd
    }

    deinit { Glibc.close(self.wake) }

    /// Connects, within the configuration's time limit.
    /// - Parameters:
    ///   - onEnd: Called once, on the driver's thread, when the connection is gone for whatever reason.
    ///   - onNotification: Called on the driver's thread for each NOTIFY that this session listens to.
    static func connect(
        id: Int, configuration: PostgresConfiguration, onEnd: @escaping @Sendable (Driver) -> Void,
        onNotification: (@Sendable (_ payload: String) -> Void)? = nil
    ) async throws -> Driver {
        let wake = lantern_eventfd()
        guard wake >= 0 else {
            throw PostgresError(code: .connect, message: "no eventfd: errno \(errno)")
        }
        let driver = Driver(
            id: id, configuration: configuration, wake: wake, onEnd: onEnd, onNotification: onNotification
        )
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            let start = ThreadStart(driver: driver, connected: continuation)
            let context = Unmanaged.passRetained(start).toOpaque()
            let status = lantern_thread_start(
                "lantern-pg",
                { context in
                    guard let context else { return }
                    // The one reference that was retained above.
                    let start = Unmanaged<ThreadStart>.fromOpaque(context).takeRetainedValue()
                    start.driver.main(connected: start.connected)
                },
                context
            )
            if status != 0 {
                Unmanaged<ThreadStart>.fromOpaque(context).release()
                continuation.resume(
                    throwing: PostgresError(code: .connect, message: "no thread: error \(status)")
                )
            }
        }
        return driver
    }

    /// What the new thread begins with; handed over once.
    private final class ThreadStart: Sendable {
        let driver: Driver
        let connected: CheckedContinuation<Void, any Error>

        init(driver: Driver, connected: CheckedContinuation<Void, any Error>) {
            self.driver = driver
            self.connected = connected
        }
    }

    /// Whether it may be used again.
    var isUsable: Bool { !self.doomed.load(ordering: .relaxed) && self.shared.withLock { !$0.ended && !$0.closing } }

    /// Sends statements under one Sync and answers their results. Stops at the first that fails.
    func execute(_ statements: [SQL], isCommit: Bool = false) async throws -> [PostgresResult] {
        for statement in statements {
            for parameter in statement.parameters where parameter.text?.utf8.contains(0) == true {
                throw PostgresError(code: .invalidParameter, message: "a text parameter holds a NUL character")
            }
        }
        let deadline = ContinuousClock.now + self.configuration.statementTimeout + .seconds(5)
        return try await withTaskCancellationHandler {
            try Task.checkCancellation()
            return try await withCheckedThrowingContinuation { continuation in
                let request = Request(
                    statements: statements, deadline: deadline, isCommit: isCommit, continuation: continuation
                )
                let accepted = self.shared.withLock { shared in
                    guard !shared.ended, !shared.closing else { return false }
                    shared.submitted.append(request)
                    return true
                }
                if accepted {
                    lantern_eventfd_signal(self.wake)
                } else {
                    continuation.resume(
                        throwing: PostgresError(code: .connectionLost, message: "the connection is closed"))
                }
            }
        } onCancel: {
            self.cancelRunningStatement()
        }
    }

    /// Asks the server to stop what runs. `PQcancel` opens a connection and blocks, so it has a thread of its own.
    func cancelRunningStatement() {
        self.doomed.store(true, ordering: .relaxed)
        let status = lantern_thread_start(
            "lantern-cancel",
            { context in
                guard let context else { return }
                let driver = Unmanaged<Driver>.fromOpaque(context).takeRetainedValue()
                driver.shared.withLock { shared in
                    // Under the lock, so that the driver's thread cannot free it meanwhile.
                    guard let cancel = shared.cancel else { return }
                    var message = [CChar](repeating: 0, count: 256)
                    _ = PQcancel(cancel.raw, &message, Int32(message.count))
                }
            },
            Unmanaged.passRetained(self).toOpaque()
        )
        if status != 0 {
            Unmanaged.passUnretained(self).release()
            self.close()
        }
    }

    /// Ends the connection once what was submitted is answered.
    func close() {
        self.shared.withLock { $0.closing = true }
        lantern_eventfd_signal(self.wake)
    }

    // MARK: - The driver's thread

    private func main(connected: CheckedContinuation<Void, any Error>) {
        let connection: OpaquePointer
        switch self.open() {
        case .success(let opened):
            connection = opened
            let cancel = PQgetCancel(connection).map { CancelHandle(raw: $0) }
            self.shared.withLock { $0.cancel = cancel }
            connected.resume()
        case .failure(let error):
            self.shared.withLock { $0.ended = true }
            connected.resume(throwing: error)
            return
        }

        var inFlight: [Request] = []
        let end = self.serve(connection, &inFlight)

        let (rest, cancel) = self.shared.withLock { shared in
            shared.ended = true
            let rest = shared.submitted
            let cancel = shared.cancel
            shared.submitted = []
            shared.cancel = nil
            return (rest, cancel)
        }
        if let cancel { PQfreeCancel(cancel.raw) }
        PQfinish(connection)
        self.onEnd(self)
        for request in inFlight {
            // After COMMIT was sent nobody can know whether it took effect.
            request.continuation.resume(
                throwing: request.isCommit
                    ? PostgresError(code: .unknownOutcome, message: "the connection broke while COMMIT was under way")
                    : end
            )
        }
        for request in rest {
            request.continuation.resume(throwing: PostgresError(code: .connectionLost, message: end.message))
        }
    }

    private func open() -> Result<OpaquePointer, PostgresError> {
        let deadline = ContinuousClock.now + self.configuration.connectTimeout
        let parameters: [(String, String)] = [
            // First, so that what follows has precedence only where libpq says "fallback".
            ("fallback_application_name", self.configuration.applicationName),
            ("client_encoding", "UTF8"),
            ("keepalives_idle", "30"),
            ("keepalives_interval", "5"),
            ("keepalives_count", "3"),
            ("dbname", self.configuration.url),
        ]
        let keywords = parameters.map { strdup($0.0) }
        let values = parameters.map { strdup($0.1) }
        defer { (keywords + values).forEach { free($0) } }
        var keywordPointers: [UnsafePointer<CChar>?] = keywords.map { UnsafePointer($0) } + [nil]
        var valuePointers: [UnsafePointer<CChar>?] = values.map { UnsafePointer($0) } + [nil]
        guard let connection = PQconnectStartParams(&keywordPointers, &valuePointers, 1) else {
            return .failure(PostgresError(code: .connect, message: "out of memory"))
        }
        // Without one, libpq prints notices to standard error, between the log lines.
        PQsetNoticeProcessor(connection, { _, _ in }, nil)

        func fail(_ message: String) -> Result<OpaquePointer, PostgresError> {
            PQfinish(connection)
            return .failure(PostgresError(code: .connect, message: message))
        }
        var status = PGRES_POLLING_WRITING
        while status != PGRES_POLLING_OK {
            if PQstatus(connection) == CONNECTION_BAD || status == PGRES_POLLING_FAILED {
                return fail(Self.message(of: connection))
            }
            let events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT
            var waiting = [pollfd(fd: PQsocket(connection), events: Int16(events), revents: 0)]
            guard poll(&waiting, 1, Self.timeout(until: deadline)) > 0 else {
                return fail("no connection within \(self.configuration.connectTimeout)")
            }
            status = PQconnectPoll(connection)
        }
        guard PQsetnonblocking(connection, 1) == 0, PQenterPipelineMode(connection) == 1 else {
            return fail("the connection cannot be set non-blocking and pipelined")
        }
        return .success(connection)
    }

    /// Runs until the connection is closed or breaks; answers why it ended.
    private func serve(_ connection: OpaquePointer, _ inFlight: inout [Request]) -> PostgresError {
        while true {
            let (submitted, closing) = self.shared.withLock { shared in
                defer { shared.submitted = [] }
                return (shared.submitted, shared.closing)
            }
            for request in submitted {
                inFlight.append(request)
                guard Self.send(request, on: connection) else {
                    return PostgresError(code: .connectionLost, message: Self.message(of: connection))
                }
            }
            let flushed = PQflush(connection)
            guard flushed >= 0 else {
                return PostgresError(code: .connectionLost, message: Self.message(of: connection))
            }
            if closing, inFlight.isEmpty {
                return PostgresError(code: .closed, message: "the connection was closed")
            }

            // When libpq could not write all, it may have to read first: wait for both.
            let events = flushed == 1 ? POLLIN | POLLOUT : POLLIN
            var waiting = [
                pollfd(fd: PQsocket(connection), events: Int16(events), revents: 0),
                pollfd(fd: self.wake, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&waiting, 2, inFlight.first.map { Self.timeout(until: $0.deadline) } ?? -1)
            if ready < 0, errno != EINTR {
                return PostgresError(code: .connectionLost, message: "poll failed: errno \(errno)")
            }
            if waiting[1].revents != 0 { lantern_eventfd_drain(self.wake) }
            if waiting[0].revents != 0 {
                guard PQconsumeInput(connection) == 1 else {
                    return PostgresError(code: .connectionLost, message: Self.message(of: connection))
                }
                Self.receive(from: connection, &inFlight)
                self.receiveNotifications(from: connection)
                if PQstatus(connection) == CONNECTION_BAD {
                    return PostgresError(code: .connectionLost, message: Self.message(of: connection))
                }
            }
            if let first = inFlight.first, first.deadline <= .now {
                return PostgresError(code: .timeout, message: "no answer from the server in time")
            }
        }
    }

    private static func send(_ request: Request, on connection: OpaquePointer) -> Bool {
        for statement in request.statements {
            let values = statement.parameters.map { parameter in parameter.text.map { strdup($0) } ?? nil }
            defer { values.forEach { free($0) } }
            let types = statement.parameters.map { Oid($0.type) }
            let pointers: [UnsafePointer<CChar>?] = values.map { $0.map { UnsafePointer($0) } }
            // libpq copies everything into its output buffer before it returns.
            guard PQsendQueryParams(connection, statement.text, Int32(types.count), types, pointers, nil, nil, 0) == 1
            else { return false }
        }
        return PQpipelineSync(connection) == 1
    }

    /// Hands over every answer that is complete.
    private static func receive(from connection: OpaquePointer, _ inFlight: inout [Request]) {
        var separators = 0
        while !inFlight.isEmpty, PQisBusy(connection) == 0 {
            guard let raw = PQgetResult(connection) else {
                // One NULL separates the answers of two statements; two in a row mean that nothing more is here.
                separators += 1
                if separators > 1 { return }
                continue
            }
            separators = 0
            switch PQresultStatus(raw) {
            case PGRES_PIPELINE_SYNC:
                PQclear(raw)
                let request = inFlight.removeFirst()
                if let error = request.error {
                    request.continuation.resume(throwing: error)
                } else {
                    request.continuation.resume(returning: request.results)
                }
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                inFlight[0].results.append(PostgresResult(raw: raw))
            case PGRES_PIPELINE_ABORTED:
                PQclear(raw)
            default:
                if inFlight[0].error == nil { inFlight[0].error = self.error(of: raw) }
                PQclear(raw)
            }
        }
    }

    private func receiveNotifications(from connection: OpaquePointer) {
        while let notification = PQnotifies(connection) {
            self.onNotification?(notification.pointee.extra.map { String(cString: $0) } ?? "")
            PQfreemem(notification)
        }
    }

    private static func error(of result: OpaquePointer) -> PostgresError {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
        }
        // The primary message only: the detail repeats the values of a violated key.
        return PostgresError(
            sqlState: field("C") ?? "XX000", message: field("M") ?? "unknown error", constraint: field("n")
        )
    }

    private static func message(of connection: OpaquePointer) -> String {
        let text = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        let lines = text.split(separator: "\n").map { String($0) }
        return lines.isEmpty ? "the server closed the connection" : lines.joined(separator: " ")
    }

    private static func timeout(until deadline: ContinuousClock.Instant) -> Int32 {
        Int32(clamping: max(0, (deadline - .now).milliseconds + 1))
    }
}
