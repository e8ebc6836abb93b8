import ActivityService
import AsyncHTTPClient
import AuthService
import Foundation
import Lantern
import LanternKafkaTesting
import LanternLocal
import LanternLogging
import LanternMetrics
import LanternMetricsTesting
import LanternTracing
import NIOCore
import NIOHTTP1
import OrderService
import Testing
import TestSupport

/// The three services in this process, each with telemetry of its own, over a real PostgreSQL and a broker over TCP.
final class TestPlatform: Sendable {
    /// A service and what it said.
    struct Running: Sendable {
        let host: ServiceHost
        let port: Int
        let logs: MemorySink
        let spans: InMemorySpanProcessor
        let database: String

        var url: String { "http://127.0.0.1:\(self.port)" }

        /// The log lines of a trace.
        func lines(of trace: String) -> [[String: Any]] {
            self.logs.lines.compactMap { line in
                (try? JSONSerialization.jsonObject(with: Data(line.utf8))) as? [String: Any]
            }.filter { $0["trace_id"] as? String == trace }
        }

        func spans(of trace: String) -> [FinishedSpan] {
            self.spans.spans.filter { $0.context.traceID.description == trace }
        }

        /// What a scrape of this service shows.
        func snapshot() async throws -> MetricsSnapshot { try await MetricsSnapshot(self.host.telemetry.registry) }

        var metrics: String {
            get async { String(decoding: await self.host.telemetry.registry.exposition(), as: UTF8.self) }
        }
    }

    let broker: EmbeddedBroker
    let auth: Running
    let order: Running
    let activity: Running

    static let adminEmail = "admin@lantern.test"
    static let adminPassword = "lamp oil and 7 wicks"

    private init(broker: EmbeddedBroker, auth: Running, order: Running, activity: Running) {
        self.broker = broker
        self.auth = auth
        self.order = order
        self.activity = activity
    }

    /// Starts the platform, runs `body`, and shuts it down in order.
    static func run(
        environment extra: [String: String] = [:], _ body: @Sendable (TestPlatform) async throws -> Void
    ) async throws {
        let topics = ["auth.events.v1", "order.events.v1", "foreign.events.v1"]
        let broker = try EmbeddedBroker(topics: Dictionary(uniqueKeysWithValues: topics.map { ($0, 3) }))
        let authPort = try LocalPort.free()
        func make<S: LanternService>(
            _ service: S.Type, port: Int
        ) async throws -> (ServiceHost, MemorySink, InMemorySpanProcessor, String) {
            let logs = MemorySink()
            let spans = InMemorySpanProcessor()
            let database = try await TestCluster.shared.database(S.name)
            var environment = [
                "HTTP_PORT": "\(port)", "DATABASE_URL": database, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers,
                "KAFKA_FETCH_WAIT_MAX_MS": "10", "KAFKA_SESSION_TIMEOUT_MS": "6000",
                "AUTH_ISSUER": "http://127.0.0.1:\(authPort)", "AUTH_AUDIENCE": "lantern",
                "AUTH_JWKS_URL": "http://127.0.0.1:\(authPort)/.well-known/jwks.json",
                "AUTH_KEY_ENCRYPTION_KEY": Data(repeating: 7, count: 32).base64EncodedString(),
                "AUTH_BOOTSTRAP_ADMIN_EMAIL": self.adminEmail, "AUTH_BOOTSTRAP_ADMIN_PASSWORD": self.adminPassword,
                "AUTH_PASSWORD_COST": "10", "LOG_FORMAT": "json", "LOG_LEVEL": "info",
            ]
            environment.merge(extra) { $1 }
            let host = try await ServiceHost(
                S.self, environment: environment, overrides: .init(logSink: logs, spanProcessor: spans)
            )
            return (host, logs, spans, database)
        }
        let hosts = [
            try await make(Auth.self, port: authPort), try await make(Ordering.self, port: 0),
            try await make(Activity.self, port: 0),
        ]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for host in hosts { group.addTask { try await host.0.run() } }
            var running: [Running] = []
            for (host, logs, spans, database) in hosts {
                let port = try await host.port
                let ready = try await eventually(within: .seconds(60)) { await host.isReady ? true : nil }
                try #require(ready == true, "\(host.name) did not become ready: \(logs.lines.suffix(5))")
                running.append(Running(host: host, port: port, logs: logs, spans: spans, database: database))
            }
            do {
                try await body(TestPlatform(broker: broker, auth: running[0], order: running[1], activity: running[2]))
            } catch {
                for host in hosts { await host.0.shutDown() }
                throw error
            }
            for host in hosts { await host.0.shutDown() }
            try await group.waitForAll()
        }
    }

    // MARK: - A client

    struct Answer: @unchecked Sendable {
        var status: Int
        var headers: HTTPHeaders
        /// Read only; `@unchecked` for the sake of `Any`.
        var json: [String: Any]

        func string(_ name: String) throws -> String { try #require(self.json[name] as? String) }
        var list: [[String: Any]] { self.json["data"] as? [[String: Any]] ?? [] }
    }

    /// Traces nothing: the shared client would keep the tracer of the first service that uses it.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.tracing.tracer = nil
        return HTTPClient(configuration: configuration)
    }()

    func send(
        _ method: HTTPMethod, _ url: String, token: String? = nil, headers: [String: String] = [:], json: String? = nil
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: url)
        request.method = method
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if let json {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: json))
        }
        let response = try await Self.client.execute(request, timeout: .seconds(30))
        let body = try await response.body.collect(upTo: 4 << 20)
        let value = try? JSONSerialization.jsonObject(with: Data(body.readableBytesView)) as? [String: Any]
        return Answer(status: Int(response.status.code), headers: response.headers, json: value ?? [:])
    }

    func logIn(_ email: String, _ password: String) async throws -> String {
        let answer = try await self.send(
            .POST, "\(self.auth.url)/v1/sessions", json: #"{"email":"\#(email)","password":"\#(password)"}"#
        )
        try #require(answer.status == 201)
        return try answer.string("access_token")
    }

    func admin() async throws -> String { try await self.logIn(Self.adminEmail, Self.adminPassword) }

    /// A new customer: id and token.
    func customer() async throws -> (id: String, token: String) {
        let email = "c-\(UUID().uuidString.lowercased())@example.com"
        let password = "a long enough pass \(UUID().uuidString)"
        let answer = try await self.send(
            .POST, "\(self.auth.url)/v1/users",
            json: #"{"email":"\#(email)","password":"\#(password)","name":"Customer"}"#
        )
        try #require(answer.status == 201)
        return (try answer.string("id"), try await self.logIn(email, password))
    }

    func product(stock: Int, admin: String) async throws -> String {
        let answer = try await self.send(
            .POST, "\(self.order.url)/v1/products", token: admin,
            json: #"{"name":"Lamp","price":{"amount":100,"currency":"EUR"},"stock":\#(stock)}"#
        )
        try #require(answer.status == 201)
        return try answer.string("id")
    }

    func place(
        _ product: String, quantity: Int = 1, token: String, headers: [String: String] = [:]
    ) async throws -> Answer {
        try await self.send(
            .POST, "\(self.order.url)/v1/orders", token: token, headers: headers,
            json: #"{"lines":[{"product_id":"\#(product)","quantity":\#(quantity)}]}"#
        )
    }

    /// Timeline entries that match a query, once there are at least `count`.
    func timeline(_ query: String, atLeast count: Int, token: String) async throws -> [[String: Any]] {
        nonisolated(unsafe) var last: [[String: Any]] = []
        _ = try await eventually { () -> Bool? in
            last = try await self.send(.GET, "\(self.activity.url)/v1/timeline?\(query)", token: token).list
            return last.count >= count ? true : nil
        }
        return last
    }
}
