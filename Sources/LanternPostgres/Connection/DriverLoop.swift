import CLanternSystem
import CLibPQ
import Glibc
import Synchronization

/// What is done with a connection: sends what was submitted, hands over what was answered, until it ends.
///
/// Not `Sendable`: whoever uses it holds the driver's lock, which is its thread, or a task that sends while the thread waits.
/// The connection is in pipeline mode but for COPY; each request ends in one Sync, so a failed statement ends its own request
/// only.
final class DriverLoop {
    enum Mode {
        case pipeline
        case stream
        case openingCopy
        case copyIn
        case copyOut
        case endingCopy
    }

    let driver: Driver
    let connection: OpaquePointer
    let configuration: PostgresConfiguration
    let cache: StatementCache
    /// Accepted and not sent.
    var waiting = Queue<Request>()
    /// Sent and not answered.
    var inFlight = Queue<Request>()
    var mode = Mode.pipeline
    var scratch = ParameterScratch()
    /// Since when the server is at work on the first in flight.
    var headSince = ContinuousClock.now
    var cancelling = Cancelling.none
    private let cancelHandle: CancelHandle?
    /// The thread waits for the socket.
    private var isWaiting = false
    private var hasEnded = false
    /// Of the stream or COPY that is open.
    var openText: String?
    /// Why a stream ended, where the rows before that were handed over first.
    var streamError: PostgresError?
    /// Something that was noticed elsewhere than on the thread.
    var failure: PostgresError?
    /// The session is not set up yet.
    var isStarting = true
    /// Rows of a stream that the reader did not ask for yet: it is not read on.
    var isReading = true

    init(_ driver: Driver, _ connection: OpaquePointer) {
        self.driver = driver
        self.connection = connection
        self.configuration = driver.configuration
        self.cache = StatementCache(capacity: driver.configuration.effectiveCacheSize)
        self.cancelHandle = CancelHandle(connection)
    }

    /// What the thread does next.
    enum Next {
        /// Wait for the socket, at most so many milliseconds; -1 is for ever.
        case wait(events: Int16, timeout: Int32)
        case end(PostgresError)
    }

    var socket: Int32 { PQsocket(self.connection) }

    /// Fails all that is left, and gives the connection up. Nothing may be asked of it afterwards.
    func finish(_ end: PostgresError) {
        let rest = self.driver.inbox.withLock { inbox in
            inbox.hasEnded = true
            defer { inbox.submitted = [] }
            return inbox.submitted
        }
        self.hasEnded = true
        PQfinish(self.connection)
        for request in self.inFlight.removeAll() { request.fail(self.lost(request, end)) }
        for request in self.waiting.removeAll() + rest { request.fail(NeverSent(cause: end)) }
    }

    private func lost(_ request: Request, _ end: PostgresError) -> PostgresError {
        // What the server said of it before the connection ended counts, where it says that nothing happened.
        if let error = request.error, error.code != .connectionLost { return error }
        switch request.loss {
        case .unknown:
            return PostgresError(
                code: .unknownOutcome,
                message:
                    "the connection broke while the statement was under way, which may have taken effect: \(end.message)"
            )
        case .nothing:
            return request.isCancelled.load(ordering: .relaxed) ? .cancelledByTask : end
        }
    }

    /// Does all there is to do after the thread has waited.
    /// - Parameters:
    ///   - isReady: Whether the socket can be read or written, or has failed.
    ///   - isOver: Whether the time to wait was over.
    func turn(isReady: Bool, isOver: Bool) -> Next {
        self.isWaiting = false
        if let failure { return .end(failure) }
        if isReady, let end = self.read() { return .end(end) }
        if isOver, let end = self.overdue() { return .end(end) }
        while true {
            let inbox = self.driver.inbox.withLock { inbox -> Driver.Inbox in
                let copy = inbox
                inbox.submitted = []
                inbox.hasCancelled = false
                inbox.cancelReturned = false
                // Whoever submits from here on has to wake the thread.
                if !copy.hasNews { inbox.isAwake = false }
                return copy
            }
            for request in inbox.submitted { self.waiting.append(request) }
            if inbox.hasCancelled {
                self.waiting.removeAll { request in
                    guard request.isDroppable else { return false }
                    request.fail(PostgresError.cancelledByTask)
                    return true
                }
            }
            if inbox.cancelReturned { self.cancelReturned() }
            if inbox.hasCancelled || self.cancelling.isUnderWay || self.inFlight.first?.cancelledSince != nil {
                self.considerCancelling()
            }
            if let end = self.sendWaiting() { return .end(end) }
            let flushed = PQflush(self.connection)
            guard flushed >= 0 else { return .end(self.broken()) }
            self.progress(flushed: flushed == 0)
            // While it wrote, libpq may have read what no wait would tell of any more.
            self.receive()
            if let failure { return .end(failure) }
            if inbox.isClosing, self.inFlight.isEmpty, self.waiting.isEmpty {
                return .end(PostgresError(code: .closed, message: "the connection was closed"))
            }
            // There was something to do: there may be more before it is worth waiting.
            if inbox.hasNews || self.hasSendable { continue }
            self.isWaiting = true
            // When libpq could not write all, it may have to read first: wait for both.
            return .wait(
                events: Int16((self.isReading ? POLLIN : 0) | (flushed == 0 ? 0 : POLLOUT)), timeout: self.timeout())
        }
    }

    /// Reads what came, and hands it over.
    private func read() -> PostgresError? {
        var isIntact = PQconsumeInput(self.connection) == 1
        self.receive()
        if PQsslInUse(self.connection) != 0 {
            // What the library has decrypted and libpq has not taken yet is not seen by poll: a record has 16 KiB at most, and
            // each turn takes eight.
            for _ in 0..<3 where isIntact {
                isIntact = PQconsumeInput(self.connection) == 1
                self.receive()
            }
        }
        guard isIntact, PQstatus(self.connection) != CONNECTION_BAD else { return self.broken() }
        self.receiveNotifications()
        return nil
    }

    func broken() -> PostgresError {
        PostgresError(code: .connectionLost, message: Connecting.message(of: self.connection))
    }

    /// Sends a request from the task that makes it, while the thread waits: saves waking it. Answers `false` where that cannot
    /// be; the thread has to do it then.
    func sendAtOnce(_ request: Request) -> Bool {
        guard self.isWaiting, !self.hasEnded, self.failure == nil, self.mode == .pipeline, self.waiting.isEmpty,
            !self.cancelling.isUnderWay, case .statements = request.work,
            // What was submitted before goes first.
            self.driver.inbox.withLock({ $0.submitted.isEmpty && !$0.isClosing }),
            // Somebody has to look whether the answer comes in time.
            !self.inFlight.isEmpty || self.headSince.duration(to: .now) < Self.restlessness - .seconds(2)
        else { return false }
        self.beginHead()
        self.inFlight.append(request)
        request.attempts += 1
        guard self.send(request) else {
            self.failure = self.broken()
            self.driver.notice { _ in }
            return true
        }
        // What the socket did not take the thread has to write.
        if PQflush(self.connection) != 0 { self.driver.notice { _ in } }
        return true
    }

    /// What is sent next is what the server works on, where nothing is under way.
    func beginHead() {
        guard self.inFlight.isEmpty else { return }
        self.headSince = .now
        self.driver.pace.began()
    }

    // MARK: - Time

    /// Milliseconds until something is due; -1 where nothing is, for long.
    private func timeout() -> Int32 {
        guard !self.inFlight.isEmpty else {
            if self.cancelling.isUnderWay { return 100 }
            // A connection that is in use looks up now and then, so that a task can send without waking the thread first.
            return self.headSince.duration(to: .now) < Self.restlessness ? 1_000 : -1
        }
        var rest = (self.deadline - .now).milliseconds + 1
        if let next = self.nextCancelStep { rest = min(rest, (next - .now).milliseconds + 1) }
        return Int32(clamping: min(1_000, max(0, rest)))
    }

    private static let restlessness: Duration = .seconds(10)

    private var deadline: ContinuousClock.Instant {
        if self.isStarting { return self.headSince + self.configuration.connectTimeout }
        // The server's limit is for each statement.
        var count = 1
        if case .statements(let statements)? = self.inFlight.first?.work { count = max(1, statements.count) }
        return self.headSince + self.configuration.statementTimeout * count + .seconds(5)
    }

    private func overdue() -> PostgresError? {
        if case .requested(let time) = self.cancelling, time.duration(to: .now) > self.configuration.cancelTimeout {
            return PostgresError(code: .timeout, message: "the server did not take a cancel request in time")
        }
        if let since = self.inFlight.first?.cancelledSince, since.duration(to: .now) > self.configuration.cancelTimeout
        {
            return PostgresError(code: .timeout, message: "the server did not answer a cancelled statement in time")
        }
        guard !self.inFlight.isEmpty, self.deadline <= .now else { return nil }
        return PostgresError(code: .timeout, message: "no answer from the server in time")
    }

    // MARK: - Cancelling

    enum Cancelling {
        case none
        /// `PQcancel` is under way: nothing new is sent, which it might hit.
        case requested(at: ContinuousClock.Instant)
        /// It has returned: the server's process has its signal.
        case returned(at: ContinuousClock.Instant)

        var isUnderWay: Bool { if case .none = self { false } else { true } }
    }

    /// How long a statement that was cancelled may go on by itself: most are done by then, and a cancel costs a connection.
    private static let patience: Duration = .milliseconds(5)

    private var nextCancelStep: ContinuousClock.Instant? {
        guard let since = self.inFlight.first?.cancelledSince else { return nil }
        let end = since + self.configuration.cancelTimeout + .milliseconds(1)
        switch self.cancelling {
        case .none: return since + Self.patience
        case .requested: return end
        case .returned(let time): return min(end, time + .milliseconds(50))
        }
    }

    /// Cancels the first in flight on the server where its task is cancelled. One behind it is not running yet.
    func considerCancelling() {
        if self.inFlight.isEmpty, case .returned = self.cancelling {
            // The server ignores the signal where nothing runs. A pooler may pass it on later, to somebody else.
            if self.configuration.isPooled { self.driver.close() }
            self.cancelling = .none
        }
        guard let head = self.inFlight.first, head.isCancelled.load(ordering: .relaxed) else { return }
        if head.cancelledSince == nil { head.cancelledSince = .now }
        guard let next = self.nextCancelStep, next <= .now else { return }
        if case .requested = self.cancelling { return }
        self.cancelOnServer()
    }

    func cancelOnServer() {
        guard let cancelHandle else { return }
        self.cancelling = .requested(at: .now)
        let driver = self.driver
        cancelHandle.cancel { driver.notice { $0.cancelReturned = true } }
    }

    private func cancelReturned() {
        self.cancelling = .returned(at: .now)
        self.considerCancelling()
    }

    private func receiveNotifications() {
        while let notification = PQnotifies(self.connection) {
            let channel = String(cString: notification.pointee.relname)
            let payload = notification.pointee.extra.map { String(cString: $0) } ?? ""
            self.driver.onNotification?(channel, payload)
            PQfreemem(notification)
        }
    }
}
