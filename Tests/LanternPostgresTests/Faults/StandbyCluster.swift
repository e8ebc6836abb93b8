import Foundation
import Glibc
import LanternLocal
import LanternPostgres
import Logging
import Synchronization
import TestSupport

/// A primary, and a standby that streams from it. What the primary reports as committed the standby has written down.
///
/// Both live as long as a closure runs, and end with the process at the latest.
final class StandbyCluster: Sendable {
    /// What a server is at the beginning; a standby that was promoted is `standby` still.
    enum Role { case primary, standby }

    /// What a client asks of the session that it gets.
    enum Session: String {
        case any, standby
        case readWrite = "read-write"
        case preferStandby = "prefer-standby"
    }

    private struct State {
        var servers: [Role: ChildProcess] = [:]
        /// All that was ever started.
        var processes: [ChildProcess] = []
    }

    let password = UUID().uuidString
    private let folder: String
    private let primary: PostgresCluster
    private let standby: PostgresCluster
    private let state = Mutex(State())

    private init(_ folder: String) throws {
        func cluster(_ name: String, _ port: Int, _ password: String) throws -> PostgresCluster {
            try PostgresCluster(
                directory: "\(folder)/\(name)", port: port, password: password, logFile: "\(folder)/\(name).log",
                durable: false
            )
        }
        self.folder = folder
        let port = try Self.quietPort()
        self.primary = try cluster("primary", port, self.password)
        self.standby = try cluster("standby", try Self.quietPort(besides: port), self.password)
    }

    /// Makes the two, and ends them when `body` has returned or thrown.
    /// - Parameter name: Of their folder, unlike that of every other at the time.
    static func run(_ name: String, _ body: (StandbyCluster) async throws -> Void) async throws {
        // `TestCluster` clears away what a process that is gone left there.
        let parent = "/tmp/lantern-test-\(getpid())"
        let folder = "\(parent)/\(name)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        chmod(parent, 0o755)
        chmod(folder, 0o755)
        let pair = try StandbyCluster(folder)
        let result: Result<Void, any Error>
        do {
            try await pair.start()
            try await body(pair)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await pair.end()
        try? FileManager.default.removeItem(atPath: folder)
        try result.get()
    }

    /// Below those that the kernel gives to whoever connects, one of which could hold it while the server is away.
    private static func quietPort(besides other: Int? = nil) throws -> Int {
        for _ in 1...100 {
            let port = Int.random(in: 20_000..<32_000)
            if port != other, !LocalPort.isInUse(port) { return port }
        }
        throw LocalError("no free port below 32000")
    }

    // MARK: - Clients

    /// A pool whose URI names these servers, in this order.
    func client(
        _ hosts: [Role], for session: Session = .any, _ adjust: (inout PostgresConfiguration) -> Void = { _ in }
    ) -> PostgresClient {
        let list = hosts.map { "127.0.0.1:\(self.cluster($0).port)" }.joined(separator: ",")
        let options = "sslmode=disable&target_session_attrs=\(session.rawValue)"
        var configuration = PostgresConfiguration(
            url: "postgresql://lantern:\(self.password)@\(list)/postgres?\(options)", applicationName: "test")
        adjust(&configuration)
        return PostgresClient(configuration: configuration, logger: Logger(label: "test"))
    }

    // MARK: - Faults

    /// Ends one as a crash does: nobody is told, nothing is rolled back or written.
    func stopImmediately(_ role: Role) async throws {
        guard let process = self.state.withLock({ $0.servers[role] }) else { return }
        process.signal(SIGQUIT)
        guard try await eventually(within: .seconds(15), { process.exitCode }) != nil else {
            throw LocalError("the \(role) did not stop within 15 s")
        }
    }

    /// Makes the standby a primary. It takes what is written when this returns.
    func promote() async throws {
        let client = self.client([.standby])
        defer { client.close() }
        let rows = try await client.answer("SELECT pg_promote() AS promoted")
        guard try rows.first?("promoted", as: Bool.self) == true else {
            throw LocalError("the standby was not promoted")
        }
    }

    // MARK: - Starting and ending

    private func start() async throws {
        try await self.primary.initialize()
        // On its command line and not in its folder, which the standby copies: nobody follows that one when it is promoted.
        try await self.launch(
            .primary, ["wal_level=replica", "synchronous_commit=on", "synchronous_standby_names=*"])
        try await self.copyPrimary()
        try await self.launch(.standby, ["hot_standby=on"])
        try await self.waitUntilFollowed()
    }

    private func cluster(_ role: Role) -> PostgresCluster { role == .primary ? self.primary : self.standby }

    private func launch(_ role: Role, _ settings: [String]) async throws {
        let cluster = self.cluster(role)
        var command = try cluster.command()
        for setting in settings { command.arguments += ["-c", setting] }
        let process = try await self.start(command)
        self.state.withLock { $0.servers[role] = process }
        try await cluster.prepare(databases: [], process: process)
    }

    private func copyPrimary() async throws {
        let directory = self.standby.directory
        let user = try self.standby.command().user
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        chmod(directory, 0o700)
        if let user { chown(directory, user.id, user.group) }
        let log = "\(self.folder)/basebackup.log"
        let process = try await self.start(
            .init(
                try Tools.find("pg_basebackup", package: "postgresql-client-15"),
                [
                    "--host", "127.0.0.1", "--port", "\(self.primary.port)", "--username", "lantern", "--no-password",
                    "--pgdata", directory, "--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast",
                    "--no-sync",
                ],
                // The standby is to know the password as well: it goes into its settings from here.
                environment: ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGPASSWORD": self.password],
                directory: "/", logFile: log, user: user
            )
        )
        guard try await eventually(within: .seconds(30), { process.exitCode }) == 0 else {
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            throw LocalError("pg_basebackup failed: \(text)")
        }
    }

    /// Waits until no commit is reported that the standby has not.
    private func waitUntilFollowed() async throws {
        let client = self.client([.primary])
        defer { client.close() }
        let sql: SQL = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'"
        let isFollowed = try await eventually(within: .seconds(20)) { try await client.number(sql) == 1 ? true : nil }
        guard isFollowed == true else { throw LocalError("the standby does not follow the primary") }
    }

    private func start(_ command: ChildProcess.Command) async throws -> ChildProcess {
        let process = try await ChildProcess.start(command)
        self.state.withLock { $0.processes.append(process) }
        return process
    }

    /// Ends all that was started, whether or not the task is cancelled.
    private func end() async {
        let processes = self.state.withLock { $0.processes }
        for process in processes { process.signal(SIGQUIT) }
        for process in processes { await process.stop(grace: .seconds(10)) }
    }
}

/// A port on loopback that nobody else can take, and where nobody serves.
final class DeadHost: Sendable {
    enum Manner: CaseIterable {
        case refuses
        /// The kernel accepts connections, and nobody answers.
        case isSilent
    }

    let port: Int
    private let descriptor: Int32

    init(_ manner: Manner) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isReady = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic -> Bool in
                guard Glibc.bind(descriptor, generic, length) == 0 else { return false }
                guard manner == .refuses || Glibc.listen(descriptor, 128) == 0 else { return false }
                return getsockname(descriptor, generic, &length) == 0
            }
        }
        guard isReady else {
            let code = errno
            Glibc.close(descriptor)
            throw LocalError("no socket: errno \(code)")
        }
        self.descriptor = descriptor
        self.port = Int(UInt16(bigEndian: address.sin_port))
    }

    func close() { Glibc.close(self.descriptor) }
}
