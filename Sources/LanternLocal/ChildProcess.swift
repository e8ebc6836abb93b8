import CLanternSystem
import Foundation
import Glibc
import Synchronization

/// A process that this one started and that ends with it at the latest.
///
/// A thread of its own forks it and waits for it. The thread lives as long as the child, which is what makes the kernel's
/// parent-death signal mean "when our process is gone", also by `kill -9`.
public final class ChildProcess: Sendable {
    /// What to start.
    public struct Command: Sendable {
        public var executable: String
        public var arguments: [String]
        public var environment: [String: String]
        public var directory: String?
        /// Standard output and error are appended to this file.
        public var logFile: String
        /// Whom the child runs as, when it must not be us.
        public var user: SystemUser?
        /// Asks the child to end; also what the kernel sends it when we are gone.
        public var stopSignal: Int32

        public init(
            _ executable: String, _ arguments: [String] = [], environment: [String: String] = [:],
            directory: String? = nil, logFile: String, user: SystemUser? = nil, stopSignal: Int32 = 15
        ) {
            self.executable = executable
            self.arguments = arguments
            self.environment = environment
            self.directory = directory
            self.logFile = logFile
            self.user = user
            self.stopSignal = stopSignal
        }
    }

    private struct State {
        var exitCode: Int32?
        var waiters: [CheckedContinuation<Int32, Never>] = []
    }

    public let pid: Int32
    private let stopSignal: Int32
    private let state: StateBox

    private final class StateBox: Sendable {
        let mutex = Mutex(State())

        func ended(_ code: Int32) {
            let waiters = self.mutex.withLock { state in
                state.exitCode = code
                defer { state.waiters = [] }
                return state.waiters
            }
            for waiter in waiters { waiter.resume(returning: code) }
        }
    }

    private init(pid: Int32, stopSignal: Int32, state: StateBox) {
        self.pid = pid
        self.stopSignal = stopSignal
        self.state = state
    }

    /// Starts a process.
    /// - Throws: ``LocalError``, saying what could not be started and why.
    public static func start(_ command: Command) async throws -> ChildProcess {
        let output = open(command.logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard output >= 0 else {
            throw LocalError("cannot write \(command.logFile): \(String(cString: strerror(errno)))")
        }
        let state = StateBox()
        let pid: Int32 = await withCheckedContinuation { continuation in
            let thread = Thread {
                let pid = Self.spawn(command, output: output)
                close(output)
                continuation.resume(returning: pid)
                if pid > 0 { state.ended(lantern_wait(pid)) }
            }
            thread.stackSize = 512 * 1024
            thread.start()
        }
        guard pid > 0 else {
            throw LocalError("cannot start \(command.executable): \(String(cString: strerror(-pid)))")
        }
        return ChildProcess(pid: pid, stopSignal: command.stopSignal, state: state)
    }

    private static func spawn(_ command: Command, output: Int32) -> Int32 {
        var arguments: [UnsafeMutablePointer<CChar>?] =
            ([command.executable] + command.arguments).map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] =
            command.environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") } + [nil]
        // The child has its own copies; ours go when the call returns.
        defer { (arguments + environment).forEach { free($0) } }
        return lantern_spawn(
            command.executable, &arguments, &environment, command.directory, output,
            command.user?.id ?? 0, command.user?.group ?? 0, command.stopSignal
        )
    }

    /// The exit code, or 128 and the signal; `nil` while it runs.
    public var exitCode: Int32? { self.state.mutex.withLock { $0.exitCode } }

    /// Waits for its end. Returns the exit code, or 128 and the signal that ended it.
    public func wait() async -> Int32 {
        await withCheckedContinuation { continuation in
            let code = self.state.mutex.withLock { state -> Int32? in
                if state.exitCode == nil { state.waiters.append(continuation) }
                return state.exitCode
            }
            if let code { continuation.resume(returning: code) }
        }
    }

    /// Sends a signal, unless it has ended.
    public func signal(_ number: Int32) {
        if self.exitCode == nil { kill(self.pid, number) }
    }

    /// Asks it to end, and kills it with its group when it has not within `grace`.
    @discardableResult
    public func stop(grace: Duration = .seconds(30)) async -> Int32 {
        self.signal(self.stopSignal)
        let limit = Task {
            try await Task.sleep(for: grace)
            if self.exitCode == nil { kill(-self.pid, SIGKILL) }
        }
        let code = await self.wait()
        limit.cancel()
        return code
    }
}

/// A user of this machine.
public struct SystemUser: Sendable, Equatable {
    public var name: String
    public var id: UInt32
    public var group: UInt32

    /// - Returns: `nil` where there is no such user.
    public init?(named name: String) {
        guard let entry = getpwnam(name) else { return nil }
        self.name = name
        self.id = entry.pointee.pw_uid
        self.group = entry.pointee.pw_gid
    }

    /// Whether this process is root.
    public static var isRoot: Bool { geteuid() == 0 }
}

/// What went wrong on this machine, in one line.
public struct LocalError: Error, CustomStringConvertible {
    public var description: String

    public init(_ description: String) {
        self.description = description
    }
}
