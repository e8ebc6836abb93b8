import Foundation
import Glibc

/// A private PostgreSQL cluster in a folder. PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`,
/// and the folder belongs to that user.
public final class PostgresCluster: Sendable {
    public let directory: String
    public let port: Int
    private let password: String
    private let user: SystemUser?
    private let logFile: String
    private let durable: Bool
    private let hasSocket: Bool

    /// - Parameters:
    ///   - directory: Absolute; made if it does not exist.
    ///   - password: Of the role `lantern`.
    ///   - durable: Without, nothing is synced to disk: for tests.
    ///   - hasSocket: Whether it also listens on a Unix socket in its folder, whose path must be short then.
    public init(
        directory: String, port: Int, password: String, logFile: String, durable: Bool = true, hasSocket: Bool = false
    ) throws {
        self.directory = directory
        self.port = port
        self.password = password
        self.logFile = logFile
        self.durable = durable
        self.hasSocket = hasSocket
        if SystemUser.isRoot {
            guard let user = SystemUser(named: "postgres") ?? SystemUser(named: "nobody") else {
                throw LocalError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
            }
            self.user = user
        } else {
            self.user = nil
        }
    }

    /// The connection URI of a database in it.
    public func url(_ database: String) -> String {
        "postgresql://lantern:\(self.password)@127.0.0.1:\(self.port)/\(database)"
    }

    /// Makes the cluster if there is none yet.
    /// - Throws: ``LocalError`` in one line: no room, no permission, or a folder that holds something else.
    public func initialize() async throws {
        let version = "\(self.directory)/PG_VERSION"
        let initdb = try Tools.find("initdb", package: "postgresql-15")
        if FileManager.default.fileExists(atPath: version) {
            let found = (try? String(contentsOfFile: version, encoding: .utf8))?.trimmingCharacters(
                in: .whitespacesAndNewlines)
            guard let found, URL(fileURLWithPath: initdb).resolvingSymlinksInPath().path.contains("/\(found)/") else {
                throw LocalError(
                    "\(self.directory) holds a cluster of PostgreSQL \(found ?? "?"), which is not the version installed: move it away or install that version"
                )
            }
            return
        }
        if let contents = try? FileManager.default.contentsOfDirectory(atPath: self.directory), !contents.isEmpty {
            throw LocalError("\(self.directory) is not empty and holds no whole cluster: remove it and start again")
        }
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        if let user {
            guard chown(self.directory, user.id, user.group) == 0 else {
                throw LocalError("cannot give \(self.directory) to \(user.name): \(String(cString: strerror(errno)))")
            }
        }
        chmod(self.directory, 0o700)
        let passwordFile = "\(self.logFile).password"
        try self.password.write(toFile: passwordFile, atomically: true, encoding: .utf8)
        defer { unlink(passwordFile) }
        chmod(passwordFile, 0o600)
        if let user { chown(passwordFile, user.id, user.group) }
        let process = try await ChildProcess.start(
            .init(
                initdb,
                [
                    "--pgdata", self.directory, "--username", "lantern", "--pwfile", passwordFile, "--auth",
                    "scram-sha-256",
                    "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions",
                ] + (self.durable ? [] : ["--no-sync"]),
                environment: ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"], directory: "/", logFile: self.logFile,
                user: self.user
            )
        )
        let code = await process.wait()
        guard code == 0 else {
            // What it left is of no use, and would be in the way of the next start.
            try? FileManager.default.removeItem(atPath: self.directory)
            throw LocalError("initdb failed: \(self.lastLogLine(matching: ["error", "could not", "No space"]))")
        }
    }

    /// The command that runs the server in the foreground.
    public func command() throws -> ChildProcess.Command {
        var arguments = [
            "-D", self.directory, "-p", "\(self.port)", "-c", "listen_addresses=127.0.0.1",
            "-c", "unix_socket_directories=\(self.hasSocket ? self.directory : "")", "-c", "max_connections=200", "-c",
            "shared_buffers=128MB",
            "-c", "log_line_prefix=%m [%p] ", "-c", "logging_collector=off", "-c", "timezone=UTC",
        ]
        if !self.durable {
            arguments += ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        }
        return ChildProcess.Command(
            try Tools.find("postgres", package: "postgresql-15"), arguments,
            environment: ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"], directory: "/", logFile: self.logFile,
            user: self.user,
            // Fast shutdown: sessions are ended, transactions rolled back, everything is on disk.
            stopSignal: SIGINT
        )
    }

    /// The same, by the Unix socket.
    public func socketURL(_ database: String) -> String {
        "postgresql://lantern:\(self.password)@/\(database)?host=\(self.directory)&port=\(self.port)"
    }

    /// Waits until the server answers, and makes the databases that do not exist yet.
    public func prepare(databases: [String], process: ChildProcess) async throws {
        let psql = try Tools.find("psql", package: "postgresql-client-15")
        try await waitUntil("PostgreSQL answers on port \(self.port)", within: .seconds(60)) {
            if let code = process.exitCode {
                throw LocalError(
                    "PostgreSQL ended with \(code): \(self.lastLogLine(matching: ["FATAL", "PANIC", "could not"]))")
            }
            return try await self.run(psql, "postgres", "SELECT 1") == 0
        }
        for database in databases {
            guard database.utf8.allSatisfy({ (0x61...0x7A).contains($0) || $0 == 0x5F }) else {
                throw LocalError("\(database) is no name for a database")
            }
            let statement =
                "SELECT format('CREATE DATABASE %I', '\(database)') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '\(database)')\\gexec"
            guard try await self.run(psql, "postgres", statement) == 0 else {
                throw LocalError(
                    "database \(database) could not be made: \(self.lastLogLine(matching: ["ERROR", "FATAL"]))")
            }
        }
    }

    private func run(_ psql: String, _ database: String, _ statement: String) async throws -> Int32 {
        let file = "\(self.logFile).sql"
        try (statement + "\n").write(toFile: file, atomically: true, encoding: .utf8)
        defer { unlink(file) }
        let process = try await ChildProcess.start(
            .init(
                psql, ["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", file, self.url(database)],
                environment: ["PATH": "/usr/bin:/bin", "PGCONNECT_TIMEOUT": "5"], directory: "/", logFile: "/dev/null"
            )
        )
        return await process.wait()
    }

    private func lastLogLine(matching words: [String]) -> String {
        let text = (try? String(contentsOfFile: self.logFile, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").last { line in words.contains { line.contains($0) } }.map { String($0) }
            ?? "see \(self.logFile)"
    }
}
