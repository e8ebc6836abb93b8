import Foundation
import Glibc

/// Where everything listens.
public struct LocalPorts: Codable, Sendable, Equatable {
    public var auth = 8_081
    public var order = 8_082
    public var activity = 8_083
    public var postgres = 15_432
    public var broker = 19_092
    public var prometheus = 19_090
    public var traces = 14_318

    public init() {}

    /// All in a row from `base`.
    public init(base: Int) {
        self.auth = base + 1
        self.order = base + 2
        self.activity = base + 3
        self.postgres = base + 4
        self.broker = base + 5
        self.prometheus = base + 6
        self.traces = base + 7
    }

    public var all: [(name: String, port: Int)] {
        [
            ("postgres", self.postgres), ("broker", self.broker), ("auth", self.auth), ("order", self.order),
            ("activity", self.activity), ("prometheus", self.prometheus), ("traces", self.traces),
        ]
    }
}

/// One process of the platform, as `lantern status` shows it.
public struct ProcessStatus: Codable, Sendable, Equatable {
    public var name: String
    public var url: String
    public var pid: Int32?
    /// `starting`, `running`, `restarting` or `stopped`.
    public var state: String
    public var restarts: Int

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(self.name, forKey: .name)
        try container.encode(self.url, forKey: .url)
        // Present and null where nothing runs.
        try container.encode(self.pid, forKey: .pid)
        try container.encode(self.state, forKey: .state)
        try container.encode(self.restarts, forKey: .restarts)
    }
}

/// What a running platform leaves in `.lantern/state.json`.
public struct LocalState: Codable, Sendable {
    public var pid: Int32
    public var ports: LocalPorts
    public var processes: [ProcessStatus]

    public init(pid: Int32, ports: LocalPorts, processes: [ProcessStatus]) {
        self.pid = pid
        self.ports = ports
        self.processes = processes
    }

    /// The state of a platform that runs from this folder; `nil` where none does.
    public static func read(_ directory: String) -> LocalState? {
        guard let data = FileManager.default.contents(atPath: "\(directory)/state.json") else { return nil }
        return try? JSONDecoder().decode(LocalState.self, from: data)
    }

    /// Whether the process that wrote it is alive.
    public var isAlive: Bool {
        // Not by a signal: a process that was killed and that nobody has waited for yet still takes one.
        let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(self.pid)/exe")
        return program.map { URL(fileURLWithPath: $0).lastPathComponent.hasPrefix("lantern") } ?? false
    }
}

/// Secrets of a development platform, made once for each folder. Nothing else has a default secret.
public struct LocalSecrets: Codable, Sendable {
    public var adminEmail = "admin@lantern.test"
    public var adminPassword: String
    public var databasePassword: String
    public var keyEncryptionKey: String

    /// Reads them, or makes them; the file is readable by its owner only.
    public static func load(_ directory: String) throws -> LocalSecrets {
        let path = "\(directory)/secrets.json"
        if let data = FileManager.default.contents(atPath: path) {
            guard let secrets = try? JSONDecoder().decode(LocalSecrets.self, from: data) else {
                throw LocalError("\(path) is damaged: remove \(directory) to start anew")
            }
            return secrets
        }
        func random(_ count: Int) -> [UInt8] {
            var generator = SystemRandomNumberGenerator()
            return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
        }
        func word(_ count: Int) -> String {
            Data(random(count)).base64EncodedString().filter { $0.isLetter || $0.isNumber }
        }
        let secrets = LocalSecrets(
            adminPassword: "lt-\(word(24))", databasePassword: word(32),
            keyEncryptionKey: Data(random(32)).base64EncodedString()
        )
        let created = FileManager.default.createFile(
            atPath: path, contents: try JSONEncoder().encode(secrets), attributes: [.posixPermissions: 0o600]
        )
        guard created else { throw LocalError("cannot write \(path): \(String(cString: strerror(errno)))") }
        return secrets
    }
}

/// The environment of each service of a local platform.
public struct LocalEnvironment: Sendable {
    public var ports: LocalPorts
    public var secrets: LocalSecrets
    public var databaseURL: @Sendable (String) -> String

    public init(ports: LocalPorts, secrets: LocalSecrets, databaseURL: @escaping @Sendable (String) -> String) {
        self.ports = ports
        self.secrets = secrets
        self.databaseURL = databaseURL
    }

    public func variables(of service: String, port: Int) -> [String: String] {
        var variables = [
            "PATH": "/usr/bin:/bin",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": "\(port)",
            "DATABASE_URL": self.databaseURL(service),
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:\(self.ports.broker)",
            // The embedded broker never answers a fetch early, and forgets a member late.
            "KAFKA_FETCH_WAIT_MAX_MS": "10",
            "KAFKA_SESSION_TIMEOUT_MS": "6000",
            "KAFKA_RECONNECT_BACKOFF_MAX_MS": "1000",
            "AUTH_ISSUER": "http://127.0.0.1:\(self.ports.auth)",
            "AUTH_AUDIENCE": "lantern",
            "AUTH_JWKS_URL": "http://127.0.0.1:\(self.ports.auth)/.well-known/jwks.json",
            "LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:\(self.ports.traces)",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=development",
        ]
        if service == "auth" {
            variables["AUTH_KEY_ENCRYPTION_KEY"] = self.secrets.keyEncryptionKey
            variables["AUTH_BOOTSTRAP_ADMIN_EMAIL"] = self.secrets.adminEmail
            variables["AUTH_BOOTSTRAP_ADMIN_PASSWORD"] = self.secrets.adminPassword
        }
        for name in [
            "LOG_LEVEL", "AUTH_PASSWORD_COST", "ORDER_RESERVATION_TTL", "OTEL_TRACES_SAMPLER",
            "OTEL_TRACES_SAMPLER_ARG",
        ] {
            if let value = ProcessInfo.processInfo.environment[name] { variables[name] = value }
        }
        return variables
    }
}
