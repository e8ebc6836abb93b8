import Foundation
import Glibc
import LanternLocal
import LanternPostgres
import Logging
import Synchronization
import TestSupport

/// A PostgreSQL of a suite's own, which can be killed, started again and frozen. It ends with the process at the latest.
///
/// What it has committed outlives its own death, not the machine's. It speaks TLS with certificates made for it.
final class FaultyCluster: Sendable {
    let port: Int
    let password: String
    private let cluster: PostgresCluster
    private let certificates: Certificates
    private let state = Mutex(State())

    private struct State {
        var process: ChildProcess?
        var certificate = Certificates.Server.localhost
    }

    private init(_ folder: String) async throws {
        self.password = UUID().uuidString
        self.port = try Self.quietPort()
        self.cluster = try PostgresCluster(
            directory: "\(folder)/data", port: self.port, password: self.password, logFile: "\(folder)/postgres.log",
            durable: false
        )
        self.certificates = try await Certificates(in: folder)
    }

    /// Makes one and starts it.
    /// - Parameter name: Of its folder, unlike that of every other.
    static func start(_ name: String) async throws -> FaultyCluster {
        // `TestCluster` clears away what a process that is gone left there.
        let parent = "/tmp/lantern-test-\(getpid())"
        let folder = "\(parent)/\(name)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        chmod(parent, 0o755)
        chmod(folder, 0o755)
        let cluster = try await FaultyCluster(folder)
        try await cluster.cluster.initialize()
        try await cluster.start()
        return cluster
    }

    /// Below those that the kernel gives to whoever connects, one of which could hold it while the server is away.
    private static func quietPort() throws -> Int {
        for _ in 1...100 {
            let port = Int.random(in: 20_000..<32_000)
            if !LocalPort.isInUse(port) { return port }
        }
        throw LocalError("no free port below 32000")
    }

    // MARK: - Clients

    func url(port: Int? = nil, user: String? = nil, options: String = "sslmode=disable") -> String {
        "postgresql://\(user ?? "lantern"):\(self.password)@127.0.0.1:\(port ?? self.port)/postgres?\(options)"
    }

    /// The URL of one who wants to see a certificate for `localhost`.
    func verifyingURL(trusting authority: Certificates.Authority) -> String {
        "postgresql://lantern:\(self.password)@localhost:\(self.port)/postgres"
            + "?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=\(self.certificates.path(authority))"
    }

    /// - Parameter port: Of a proxy in front of it.
    func client(
        port: Int? = nil, _ adjust: (inout PostgresConfiguration) -> Void = { _ in }
    ) -> PostgresClient {
        var configuration = PostgresConfiguration(url: self.url(port: port), applicationName: "test")
        adjust(&configuration)
        return PostgresClient(configuration: configuration, logger: Logger(label: "test"))
    }

    // MARK: - Faults

    /// Starts it where it does not run as such, on the port and the folder that it had, and waits until it answers.
    func start(as certificate: Certificates.Server = .localhost) async throws {
        if self.running != nil {
            if self.state.withLock({ $0.certificate == certificate }) { return }
            try await self.stopImmediately()
        }
        var command = try self.cluster.command()
        let (chain, key) = self.certificates.paths(certificate)
        // Without syncing to disk, but written: what was reported as done must outlive the process.
        command.arguments += ["-c", "synchronous_commit=on"]
        command.arguments += ["-c", "ssl=on", "-c", "ssl_cert_file=\(chain)", "-c", "ssl_key_file=\(key)"]
        let process = try await ChildProcess.start(command)
        self.state.withLock { $0 = State(process: process, certificate: certificate) }
        try await self.cluster.prepare(databases: [], process: process)
    }

    /// Ends it as a crash does: nobody is told, nothing is rolled back or written.
    func stopImmediately() async throws {
        guard let running else { return }
        running.signal(SIGQUIT)
        if try await eventually(within: .seconds(15), { running.exitCode }) == nil {
            kill(-running.pid, SIGKILL)
            throw LocalError("PostgreSQL did not stop within 15 s")
        }
    }

    /// Stops all its processes while `body` runs: the kernel goes on to accept connections, and nobody answers.
    func whileFrozen<Value>(_ body: () async throws -> Value) async throws -> Value {
        guard let running else { throw LocalError("PostgreSQL does not run") }
        var stopped: [Int32] = []
        defer { for pid in stopped.reversed() { kill(pid, SIGCONT) } }
        // The parent first, so that no more come.
        kill(running.pid, SIGSTOP)
        stopped.append(running.pid)
        try await Self.waitUntilStopped(running.pid)
        for child in Self.children(of: running.pid) {
            kill(child, SIGSTOP)
            stopped.append(child)
        }
        for child in stopped { try await Self.waitUntilStopped(child) }
        return try await body()
    }

    private var running: ChildProcess? {
        self.state.withLock { $0.process }.flatMap { $0.exitCode == nil ? $0 : nil }
    }

    // MARK: - Processes

    private static func waitUntilStopped(_ pid: Int32) async throws {
        let isStopped = try await eventually(within: .seconds(5)) {
            // One that is gone does not answer either.
            Self.status(of: pid).map { ["T", "Z"].contains($0.state) ? true : nil } ?? true
        }
        if isStopped == nil { throw LocalError("process \(pid) did not stop") }
    }

    private static func children(of parent: Int32) -> [Int32] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.filter { Self.status(of: $0)?.parent == parent }
    }

    private static func status(of pid: Int32) -> (state: String, parent: Int32)? {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            // Behind the name, which may hold brackets and spaces.
            let name = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: name)...].split(separator: " ")
        guard fields.count > 1, let parent = Int32(fields[1]) else { return nil }
        return (String(fields[0]), parent)
    }
}

/// Two authorities, and certificates for servers that the first of them has signed.
struct Certificates: Sendable {
    enum Authority: String { case known, unknown }
    enum Server: String, CaseIterable { case localhost, elsewhere }

    private let folder: String

    init(in folder: String) async throws {
        self.folder = folder
        for authority in [Authority.known, .unknown] {
            try await self.make(["-subj", "/CN=\(authority)"], self.path(authority), "\(folder)/\(authority).key")
        }
        for server in Server.allCases {
            let (chain, key) = self.paths(server)
            let name = server == .localhost ? "localhost" : "elsewhere.example"
            try await self.make(
                [
                    "-CA", self.path(.known), "-CAkey", "\(folder)/\(Authority.known).key", "-subj", "/CN=\(name)",
                    "-addext", "subjectAltName=DNS:\(name)",
                ], chain, key)
            // PostgreSQL takes a key that nobody else can read.
            chmod(key, 0o600)
            if SystemUser.isRoot, let user = SystemUser(named: "postgres") ?? SystemUser(named: "nobody") {
                chown(key, user.id, user.group)
            }
        }
    }

    func path(_ authority: Authority) -> String { "\(self.folder)/\(authority.rawValue).crt" }

    func paths(_ server: Server) -> (chain: String, key: String) {
        ("\(self.folder)/\(server.rawValue).crt", "\(self.folder)/\(server.rawValue).key")
    }

    private func make(_ arguments: [String], _ certificate: String, _ key: String) async throws {
        let log = "\(self.folder)/openssl.log"
        let process = try await ChildProcess.start(
            .init(
                try Tools.find("openssl", package: "openssl"),
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-keyout", key, "-out", certificate,
                ] + arguments,
                environment: ["PATH": "/usr/bin:/bin"], directory: "/", logFile: log
            )
        )
        guard await process.wait() == 0 else { throw LocalError("openssl failed: see \(log)") }
    }
}
