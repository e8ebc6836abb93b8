import CLanternSystem
import CLibPQ
import Glibc
import Synchronization

/// One libpq connection on a thread of its own: requests go in from any task, answers come back by continuation.
///
/// The thread waits in `poll` for the socket and an eventfd, so nothing is polled in vain and no task is blocked. A task that
/// finds it waiting sends by itself, which saves waking it. All that touches the connection is in ``DriverLoop``, behind a lock.
final class Driver: Sendable {
    struct Inbox {
        var submitted: [Request] = []
        /// The thread is at work, and looks here before it waits again.
        var isAwake = true
        var isClosing = false
        var hasEnded = false
        /// A request that was submitted is cancelled.
        var hasCancelled = false
        /// `PQcancel` has returned.
        var cancelReturned = false

        var hasNews: Bool { !self.submitted.isEmpty || self.hasCancelled || self.cancelReturned }
    }

    /// Whoever holds it does not wait for anything.
    private let loop = Mutex<LoopBox>(LoopBox())
    let inbox = Mutex(Inbox())
    let wake: Int32
    let configuration: PostgresConfiguration
    let onNotification: (@Sendable (_ channel: String, _ payload: String) -> Void)?
    let onEnd: @Sendable (Driver) -> Void
    let connectedAt = ContinuousClock.now
    /// Process of the server that serves this connection, as the server said at its beginning.
    private let processID = Atomic<Int32>(0)
    /// How fast it answers.
    let pace = Pace()
    /// It must not be used for anything new.
    private let isDoomed = Atomic(false)

    private init(
        configuration: PostgresConfiguration, wake: Int32, onEnd: @escaping @Sendable (Driver) -> Void,
        onNotification: (@Sendable (_ channel: String, _ payload: String) -> Void)?
    ) {
        self.onNotification = onNotification
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
        _ configuration: PostgresConfiguration, onEnd: @escaping @Sendable (Driver) -> Void = { _ in },
        onNotification: (@Sendable (_ channel: String, _ payload: String) -> Void)? = nil
    ) async throws -> Driver {
        let wake = lantern_eventfd()
        guard wake >= 0 else {
            throw PostgresError(code: .connect, message: "no eventfd: errno \(errno)")
        }
        let driver = Driver(configuration: configuration, wake: wake, onEnd: onEnd, onNotification: onNotification)
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            let start = ThreadStart(driver: driver, connected: continuation)
            let context = Unmanaged.passRetained(start).toOpaque()
            let status = lantern_thread_start(
                "lantern-pg",
                { context in
                    guard let context else { return }
                    // The one reference that was retained above.
                    let start = Unmanaged<ThreadStart>.fromOpaque(context).takeRetainedValue()
                    start.driver.main(start.connected)
                },
                context
            )
            if status != 0 {
                Unmanaged<ThreadStart>.fromOpaque(context).release()
                continuation.resume(throwing: PostgresError(code: .connect, message: "no thread: error \(status)"))
            }
        }
        do {
            _ = try await driver.run(configuration.sessionStatements, loss: .nothing, isAlone: false)
        } catch {
            driver.close()
            throw (error as? NeverSent)?.cause ?? error
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

    private func main(_ connected: CheckedContinuation<Void, any Error>) {
        switch Connecting.connect(self.configuration) {
        case .success(let connection):
            self.processID.store(PQbackendPID(connection), ordering: .relaxed)
            connected.resume()
            self.loop.withLock { $0.loop = DriverLoop(self, connection) }
            let end = self.serve(PQsocket(connection))
            self.loop.withLock { box in
                box.loop?.finish(end)
                box.loop = nil
            }
            self.onEnd(self)
        case .failure(let error):
            self.inbox.withLock { $0.hasEnded = true }
            connected.resume(throwing: error)
        }
    }

    /// Runs until the connection is closed or breaks; answers why it ended.
    private func serve(_ socket: Int32) -> PostgresError {
        var isReady = false
        var isOver = false
        while true {
            let next = self.loop.withLock { [isReady, isOver] box in box.loop?.turn(isReady: isReady, isOver: isOver) }
            guard case .wait(let events, let timeout)? = next else {
                if case .end(let end)? = next { return end }
                return PostgresError(code: .closed, message: "the connection was closed")
            }
            var descriptors = (
                pollfd(fd: socket, events: events, revents: 0), pollfd(fd: self.wake, events: Int16(POLLIN), revents: 0)
            )
            let ready = withUnsafeMutableBytes(of: &descriptors) { bytes in
                // Two of them lie behind each other in a tuple.
                poll(bytes.baseAddress?.assumingMemoryBound(to: pollfd.self), 2, timeout)
            }
            if ready < 0, errno != EINTR {
                return PostgresError(code: .connectionLost, message: "poll failed: errno \(errno)")
            }
            // Whoever submits while answers are handed over need not wake the thread.
            self.inbox.withLock { $0.isAwake = true }
            if descriptors.1.revents != 0 { lantern_eventfd_drain(self.wake) }
            isReady = ready > 0 && descriptors.0.revents != 0
            isOver = ready == 0
        }
    }

    // MARK: - Requests

    /// Whether it may be given new work.
    var isUsable: Bool {
        !self.isDoomed.load(ordering: .relaxed) && self.inbox.withLock { !$0.hasEnded && !$0.isClosing }
    }

    var backendProcessID: Int32 { self.processID.load(ordering: .relaxed) }

    /// Gives it no new work: it is closed when it comes back to the pool.
    func doom() { self.isDoomed.store(true, ordering: .relaxed) }

    /// Runs statements under one Sync and answers their results; the first that fails ends them all.
    /// - Throws: ``PostgresError``, or ``NeverSent``.
    func run(
        _ statements: [SQL], loss: Request.Loss, isAlone: Bool,
        submitting: ((_ request: Request, _ submit: (Request) -> Void) -> Void)? = nil
    ) async throws -> [PostgresResult] {
        for statement in statements { try statement.parameters.check() }
        guard
            case .results(let results) = try await self.perform(
                .statements(statements), loss, isAlone: isAlone, submitting: submitting)
        else {
            throw PostgresError(code: .server, message: "the answer is not that of a statement")
        }
        return results
    }

    /// Hands the request to the driver's thread and waits for its answer.
    ///
    /// Cancelling the task cancels the statement on the server, and waits for what the server says of it: one that was
    /// finished nevertheless is answered as such.
    /// - Throws: ``PostgresError``, or ``NeverSent`` where another connection may be asked.
    func perform(
        _ work: Request.Work, _ loss: Request.Loss, isAlone: Bool,
        submitting: ((_ request: Request, _ submit: (Request) -> Void) -> Void)? = nil
    ) async throws -> Request.Answer {
        let request = Request(work, loss: loss, isAlone: isAlone)
        return try await withTaskCancellationHandler {
            // Resumed once: by the driver's thread, which owns the request after `submit`, or below. The checked one costs as
            // much again as handing the request over.
            try await withUnsafeThrowingContinuation { continuation in
                request.continuation = continuation
                if let submitting { submitting(request) { self.submit($0) } } else { self.submit(request) }
            }
        } onCancel: {
            self.cancel(request)
        }
    }

    /// As ``perform(_:_:isAlone:)``, where no other connection will do.
    /// - Throws: ``PostgresError``.
    func performHere(_ work: Request.Work, _ loss: Request.Loss) async throws -> Request.Answer {
        do {
            return try await self.perform(work, loss, isAlone: false)
        } catch let error as NeverSent {
            throw loss == .unknown
                ? PostgresError(
                    code: .unknownOutcome, message: "the connection broke in the middle: \(error.cause.message)")
                : error.cause
        }
    }

    /// As ``run(_:loss:isAlone:)`` on a session that is one's own.
    /// - Throws: ``PostgresError``.
    @discardableResult
    func ask(_ statement: SQL) async throws -> [PostgresResult] {
        do {
            return try await self.run([statement], loss: .nothing, isAlone: true)
        } catch let error as NeverSent {
            throw error.cause
        }
    }

    private func submit(_ request: Request) {
        let isSent = self.loop.withLockIfAvailable { box in
            guard let loop = box.loop, !request.isCancelled.load(ordering: .relaxed) else { return false }
            return loop.sendAtOnce(request)
        }
        if isSent != true { self.enqueue(request) }
    }

    private func enqueue(_ request: Request) {
        enum Outcome { case accepted(wake: Bool), cancelled, ended }
        let outcome = self.inbox.withLock { inbox -> Outcome in
            if inbox.hasEnded || inbox.isClosing { return .ended }
            if request.isDroppable { return .cancelled }
            inbox.submitted.append(request)
            defer { inbox.isAwake = true }
            return .accepted(wake: !inbox.isAwake)
        }
        switch outcome {
        case .accepted(let wake): if wake { lantern_eventfd_signal(self.wake) }
        case .cancelled: request.fail(PostgresError.cancelledByTask)
        case .ended:
            request.fail(NeverSent(cause: PostgresError(code: .connectionLost, message: "the connection is closed")))
        }
    }

    private func cancel(_ request: Request) {
        request.isCancelled.store(true, ordering: .relaxed)
        self.notice { $0.hasCancelled = true }
    }

    /// Ends the connection once what was submitted is answered.
    func close() { self.notice { $0.isClosing = true } }

    /// Tells the driver's thread something.
    func notice(_ change: (inout Inbox) -> Void) {
        let isAsleep = self.inbox.withLock { inbox in
            change(&inbox)
            defer { inbox.isAwake = true }
            return !inbox.isAwake
        }
        if isAsleep { lantern_eventfd_signal(self.wake) }
    }
}

/// `@unchecked Sendable` is right because it is behind the driver's lock, and what is in it is used while that is held only.
private struct LoopBox: @unchecked Sendable {
    var loop: DriverLoop?
}

extension PostgresError {
    static let cancelledByTask = PostgresError(code: .cancelled, message: "the task was cancelled")
}
