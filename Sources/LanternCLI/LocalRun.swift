import Foundation
import Glibc
import LanternLocal
import ServiceLifecycle
import Synchronization

/// One run of the platform on this machine, from the checks to the orderly end.
struct LocalRun: Sendable {
    private let directory: String
    private let ports: LocalPorts
    private let binaries: String

    init(state: String, ports: LocalPorts) throws {
        self.directory = URL(fileURLWithPath: state).standardizedFileURL.path
        self.ports = ports
        // The services lie beside this program.
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        self.binaries = URL(fileURLWithPath: own).deletingLastPathComponent().path
    }

    func run() async throws {
        let started = ContinuousClock.now
        try self.prepareFolders()
        let lock = try await Self.lock(self.directory)
        defer { close(lock) }
        try await self.endLeftovers()
        try self.checkPorts()
        let secrets = try LocalSecrets.load(self.directory)
        let cluster = try PostgresCluster(
            directory: "\(self.directory)/postgres", port: self.ports.postgres, password: secrets.databasePassword,
            logFile: "\(self.directory)/log/postgres.log"
        )
        let environment = LocalEnvironment(ports: self.ports, secrets: secrets) { cluster.url($0) }
        let showing = Mutex(false)
        let supervisor = Supervisor { statuses in
            self.write(statuses)
            if showing.withLock({ $0 }) { Self.show(statuses) }
        }
        let signals = Task { await Signals.wait() }
        let traces = Task { try await TraceReceiver(port: self.ports.traces).run() }
        do {
            let starting = Task { try await self.start(supervisor, cluster, environment) }
            // Ctrl-C while starting ends the start.
            let watcher = Task {
                await signals.value
                starting.cancel()
            }
            try await starting.value
            watcher.cancel()
            Terminal.line()
            Self.show(supervisor.statuses)
            self.showCredentials(secrets, took: started.duration(to: .now))
            showing.withLock { $0 = true }
            await signals.value
            Terminal.line("\nstopping …")
        } catch is CancellationError {
            Terminal.line("\nstopping …")
        } catch {
            showing.withLock { $0 = false }
            await supervisor.stop()
            traces.cancel()
            throw error
        }
        showing.withLock { $0 = false }
        await supervisor.stop()
        traces.cancel()
        _ = await traces.result
        unlink("\(self.directory)/state.json")
        Terminal.line("everything has stopped")
    }

    // MARK: - Before

    private func prepareFolders() throws {
        do {
            try FileManager.default.createDirectory(atPath: "\(self.directory)/log", withIntermediateDirectories: true)
        } catch {
            throw LocalError("cannot make \(self.directory): \((error as NSError).localizedDescription)")
        }
        // initdb alone writes 40 MB; a database that runs out of room later is worse than one that does not start.
        var room = statvfs()
        if statvfs(self.directory, &room) == 0 {
            let free = UInt64(room.f_bavail) * UInt64(room.f_frsize)
            guard free > 512 << 20 else {
                throw LocalError(
                    "the disk of \(self.directory) is full: \(free >> 20) MiB are free, 512 MiB are needed")
            }
        }
        for name in ["auth", "order", "activity"]
        where !FileManager.default.isExecutableFile(atPath: "\(self.binaries)/\(name)") {
            throw LocalError("\(self.binaries)/\(name) does not exist: build it first (make build)")
        }
    }

    /// Takes the folder for one run. The lock goes with the process, whatever ends it; one that is just being killed has it
    /// for a moment longer, which is waited for.
    static func lock(_ directory: String) async throws -> Int32 {
        let descriptor = open("\(directory)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw LocalError("cannot write in \(directory): \(String(cString: strerror(errno)))")
        }
        let deadline = ContinuousClock.now + .seconds(2)
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard ContinuousClock.now < deadline else {
                close(descriptor)
                throw LocalError("a platform runs from \(directory) already: lantern down stops it")
            }
            do {
                try await Task.sleep(for: .milliseconds(50))
            } catch {
                close(descriptor)
                throw error
            }
        }
        return descriptor
    }

    /// Processes of a run that was killed end by themselves, as the kernel tells them to; they are given time for it.
    private func endLeftovers() async throws {
        guard let state = LocalState.read(self.directory) else { return }
        let left = state.processes.compactMap { process in process.pid.map { (process.name, $0) } }
            .filter { self.isOurs($0.1, named: $0.0) }
        for (_, pid) in left { kill(pid, SIGTERM) }
        let deadline = ContinuousClock.now + .seconds(15)
        while left.contains(where: { self.isOurs($0.1, named: $0.0) }), ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(100))
        }
        for (name, pid) in left where self.isOurs(pid, named: name) { kill(-pid, SIGKILL) }
    }

    /// Whether a process id is still the process that was written down: ids are used again.
    private func isOurs(_ pid: Int32, named name: String) -> Bool {
        guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe") else {
            return false
        }
        let program = name == "broker" ? "lantern" : name
        return URL(fileURLWithPath: target).lastPathComponent.hasPrefix(program)
    }

    private func checkPorts() throws {
        for (name, port) in self.ports.all where LocalPort.isInUse(port) {
            throw LocalError("port \(port) (\(name)) is in use: stop what uses it, or choose others with --port-base")
        }
    }

    // MARK: - Start

    private func start(
        _ supervisor: Supervisor, _ cluster: PostgresCluster, _ environment: LocalEnvironment
    ) async throws {
        self.progress("PostgreSQL", "port \(self.ports.postgres)")
        try await cluster.initialize()
        try await self.startPostgres(supervisor, cluster)
        self.progress("broker", "port \(self.ports.broker)")
        let broker = self.ports.broker
        try await supervisor.start(
            Supervisor.Part(
                name: "broker", url: "127.0.0.1:\(broker)",
                command: .init(
                    "\(self.binaries)/lantern", ["broker", "--port", "\(broker)"],
                    environment: ["PATH": "/usr/bin:/bin"],
                    logFile: "\(self.directory)/log/broker.log"
                )
            ) { process in
                try await waitUntil("the broker listens on port \(broker)", within: .seconds(20)) {
                    if let code = process.exitCode { throw LocalError("the broker ended with \(code)") }
                    return LocalPort.isInUse(broker)
                }
            }
        )
        for (name, port) in [("auth", self.ports.auth), ("order", self.ports.order), ("activity", self.ports.activity)]
        {
            self.progress(name, "port \(port)")
            try await supervisor.start(self.service(name, port: port, environment))
        }
        self.progress("Prometheus", "port \(self.ports.prometheus)")
        try await supervisor.start(try self.prometheus())
    }

    /// After a `kill -9` the old server's sessions, and its entry in the process table, are there for a moment more.
    private func startPostgres(_ supervisor: Supervisor, _ cluster: PostgresCluster) async throws {
        let deadline = ContinuousClock.now + .seconds(20)
        while true {
            do {
                return try await supervisor.start(
                    Supervisor.Part(
                        name: "postgres", url: "postgresql://127.0.0.1:\(self.ports.postgres)",
                        command: try cluster.command()
                    ) { try await cluster.prepare(databases: ["auth", "order", "activity"], process: $0) }
                )
            } catch let error as LocalError
                where ["postmaster.pid", "shared memory"].contains(where: error.description.contains)
                && ContinuousClock.now < deadline
            {
                try await Task.sleep(for: .milliseconds(300))
            }
        }
    }

    private func service(_ name: String, port: Int, _ environment: LocalEnvironment) -> Supervisor.Part {
        let log = "\(self.directory)/log/\(name).log"
        return Supervisor.Part(
            name: name, url: "http://127.0.0.1:\(port)",
            command: .init(
                "\(self.binaries)/\(name)", environment: environment.variables(of: name, port: port),
                directory: self.directory, logFile: log
            )
        ) { process in
            try await waitUntil("\(name) is ready (see \(log))", within: .seconds(60)) {
                if let code = process.exitCode { throw LocalError("\(name) ended with \(code): see \(log)") }
                return await HTTP.status("http://127.0.0.1:\(port)/readyz") == 200
            }
        }
    }

    private func prometheus() throws -> Supervisor.Part {
        let rules = URL(fileURLWithPath: "dashboards/prometheus/rules.yml").standardizedFileURL.path
        let port = self.ports.prometheus
        let server = PrometheusServer(
            directory: "\(self.directory)/prometheus", port: port,
            targets: [("auth", self.ports.auth), ("order", self.ports.order), ("activity", self.ports.activity)],
            rules: FileManager.default.fileExists(atPath: rules) ? rules : nil,
            logFile: "\(self.directory)/log/prometheus.log"
        )
        return Supervisor.Part(name: "prometheus", url: "http://127.0.0.1:\(port)", command: try server.command()) {
            process in
            try await waitUntil("Prometheus is ready", within: .seconds(60)) {
                if let code = process.exitCode { throw LocalError("Prometheus ended with \(code): see its log") }
                return await HTTP.status("http://127.0.0.1:\(port)/-/ready") == 200
            }
        }
    }

    // MARK: - Showing

    private func progress(_ name: String, _ detail: String) {
        Terminal.line("  starting \(name) (\(detail))")
    }

    static func show(_ processes: [ProcessStatus]) {
        Terminal.table(
            ["SERVICE", "URL", "STATE", "PID", "RESTARTS"],
            processes.map { [$0.name, $0.url, $0.state, $0.pid.map { "\($0)" } ?? "-", "\($0.restarts)"] }
        )
    }

    private func showCredentials(_ secrets: LocalSecrets, took: Duration) {
        Terminal.line()
        Terminal.line("admin     \(secrets.adminEmail)")
        Terminal.line("password  \(secrets.adminPassword)")
        Terminal.line("logs      \(self.directory)/log/")
        Terminal.line()
        let seconds = Double(took.components.seconds) + Double(took.components.attoseconds) / 1e18
        Terminal.line("ready after \(String(format: "%.1f", seconds)) s; Ctrl-C stops everything")
    }

    private func write(_ statuses: [ProcessStatus]) {
        let state = LocalState(pid: getpid(), ports: self.ports, processes: statuses)
        guard let data = try? JSONEncoder().encode(state) else { return }
        try? data.write(to: URL(fileURLWithPath: "\(self.directory)/state.json"), options: .atomic)
    }
}

/// `lantern up --detach`: the same run, in a process of its own.
enum Detached {
    static func start(state: String, portBase: Int?) async throws {
        let directory = URL(fileURLWithPath: state).standardizedFileURL.path
        try FileManager.default.createDirectory(atPath: "\(directory)/log", withIntermediateDirectories: true)
        // The log of a platform that runs is not begun anew.
        close(try await LocalRun.lock(directory))
        let process = Process()
        process.executableURL = URL(
            fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        process.arguments = ["up", "--state", directory] + (portBase.map { ["--port-base", "\($0)"] } ?? [])
        let log = "\(directory)/log/lantern.log"
        guard FileManager.default.createFile(atPath: log, contents: nil) else {
            throw LocalError("cannot write \(log)")
        }
        process.standardOutput = FileHandle(forWritingAtPath: log)
        process.standardError = process.standardOutput
        process.standardInput = FileHandle.nullDevice
        try process.run()
        try await waitUntil("the platform runs", within: .seconds(180), every: .milliseconds(200)) {
            guard process.isRunning else {
                let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
                throw LocalError(text.split(separator: "\n").last.map { String($0) } ?? "see \(log)")
            }
            // What an earlier run left says nothing of this one.
            guard let state = LocalState.read(directory), state.pid == process.processIdentifier else { return false }
            let processes = state.processes
            return processes.contains { $0.name == "prometheus" } && processes.allSatisfy { $0.state == "running" }
        }
        LocalRun.show(LocalState.read(directory)?.processes ?? [])
    }
}
