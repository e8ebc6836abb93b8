import Foundation
import Glibc
import LanternLocal
public import LanternPostgres
import Logging

/// One real PostgreSQL for all tests of a process, started when the first test asks for a database. It ends with the
/// process, whatever ends that.
public actor TestCluster {
    public static let shared = TestCluster()

    private var starting: Task<Running, any Error>?
    private var databases = 0

    private struct Running: Sendable {
        var cluster: PostgresCluster
        var process: ChildProcess
        var admin: PostgresClient
    }

    /// The connection URI of a new, empty database.
    public func database(_ prefix: String = "test") async throws -> String {
        let running = try await self.running()
        self.databases += 1
        let name = "\(prefix)_\(self.databases)"
        try await running.admin.query(SQL(unchecked: "CREATE DATABASE \(name)"))
        return running.cluster.url(name)
    }

    /// The same by a Unix socket.
    public func socketDatabase(_ prefix: String = "test") async throws -> String {
        _ = try await self.database(prefix)
        return try await self.running().cluster.socketURL("\(prefix)_\(self.databases)")
    }

    /// A pool on a new, empty database.
    public func client(maximumConnections: Int = 8) async throws -> PostgresClient {
        var configuration = PostgresConfiguration(url: try await self.database(), applicationName: "test")
        configuration.maximumConnections = maximumConnections
        return PostgresClient(configuration: configuration, logger: Logger(label: "test"))
    }

    private func running() async throws -> Running {
        if let starting { return try await starting.value }
        let task = Task { try await Self.start() }
        self.starting = task
        return try await task.value
    }

    private static func start() async throws -> Running {
        self.removeLeftovers()
        let folder = "\(self.prefix)\(getpid())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        chmod(folder, 0o755)
        let cluster = try PostgresCluster(
            directory: "\(folder)/data", port: try LocalPort.free(), password: UUID().uuidString,
            logFile: "\(folder)/postgres.log", durable: false, hasSocket: true
        )
        try await cluster.initialize()
        let process = try await ChildProcess.start(try cluster.command())
        try await cluster.prepare(databases: [], process: process)
        let admin = PostgresClient(
            configuration: PostgresConfiguration(url: cluster.url("postgres"), applicationName: "test-admin"),
            logger: Logger(label: "test")
        )
        return Running(cluster: cluster, process: process, admin: admin)
    }

    private static let prefix = "/tmp/lantern-test-"

    /// Folders of runs whose process is gone.
    private static func removeLeftovers() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/tmp")) ?? [] {
            let path = "/tmp/\(name)"
            guard path.hasPrefix(self.prefix), let pid = Int32(path.dropFirst(self.prefix.count)), kill(pid, 0) != 0
            else { continue }
            try? FileManager.default.removeItem(atPath: path)
        }
    }
}
