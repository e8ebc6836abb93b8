import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import LanternEvents
import LanternHTTP
import LanternIdentity
import LanternPostgres
import LanternTracing
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import UnixSignals

/// Runs one service: its telemetry, its HTTP server, and everything it assembled, started in order and shut down in the
/// reverse order. Several hosts live in one process without knowing of each other.
public final class ServiceHost: Sendable {
    public let name: String
    public let telemetry: Telemetry
    private let settings: Settings
    private let platform: Platform
    private let address: AddressBox
    private let group = Mutex<ServiceGroup?>(nil)

    /// Assembles the service.
    /// - Throws: ``ConfigurationError``, naming the variable.
    public init<S: LanternService>(
        _ service: S.Type, environment: [String: String], overrides: Telemetry.Overrides = .init(),
        transport: (any EventTransport)? = nil
    ) async throws {
        self.name = S.name
        self.settings = Settings(environment: environment)
        self.telemetry = try Telemetry(
            service: S.name, version: LanternVersion.current, settings: self.settings, overrides: overrides
        )
        let platform = Platform(
            name: S.name, settings: self.settings, logger: self.telemetry.logger, transport: transport)
        self.platform = platform
        self.address = AddressBox()
        try await self.telemetry.bind { try await S.assemble(platform) }
    }

    /// The port that the server listens on, once it does.
    public var port: Int {
        get async throws { try await self.address.value() }
    }

    /// Whether migrations are done and required dependencies are there.
    public var isReady: Bool {
        get async { await self.platform.readiness.report().ready }
    }

    /// Runs until ``shutDown()``, a signal, or a failure.
    public func run(handlingSignals: Bool = false) async throws {
        defer { self.telemetry.flushLog() }
        try await self.telemetry.bind {
            let group = try self.assembleGroup(handlingSignals: handlingSignals)
            self.group.withLock { $0 = group }
            try await group.run()
        }
        self.telemetry.logger.info("stopped")
    }

    /// Begins the orderly shutdown; ``run(handlingSignals:)`` returns when it is done.
    public func shutDown() async {
        await self.group.withLock { $0 }?.triggerGracefulShutdown()
    }

    private func assembleGroup(handlingSignals: Bool) throws -> ServiceGroup {
        let parts = self.platform.parts.withLock { parts in
            (parts.databases, parts.relays, parts.consumers, parts.timers)
        }
        let delay = try self.settings.duration("SHUTDOWN_DELAY", default: .zero)
        let grace = try self.settings.duration("SHUTDOWN_GRACE", default: .seconds(20))
        let host = self.settings.string("HTTP_HOST") ?? "127.0.0.1"
        let admin = AdminRoutes(readiness: self.platform.readiness, registry: self.telemetry.registry)

        // Shut down from the end: stop serving, then timers, consumers and relay, then what they all need.
        var services: [any Service] = []
        if let exporter = self.telemetry.exporter { services.append(exporter) }
        services.append(RuntimeMonitor(eventLoops: MultiThreadedEventLoopGroup.singleton))
        services += parts.0
        if self.settings.string("ADMIN_PORT") != nil {
            let router = Router(context: PlatformContext.self)
            router.add(middleware: ProblemMiddleware(routes: RouteTable(), logger: self.telemetry.logger))
            admin.register(on: router)
            services.append(
                Application(
                    router: router,
                    configuration: .init(
                        address: .hostname(host, port: try self.settings.port("ADMIN_PORT", default: 9_090))),
                    logger: self.telemetry.frameworkLogger
                )
            )
        }
        services.append(StartService(platform: self.platform))
        services += parts.1
        services += parts.2
        services += parts.3
        services.append(
            DrainingServer(
                server: try self.application(
                    host: host, admin: self.settings.string("ADMIN_PORT") == nil ? admin : nil),
                readiness: self.platform.readiness, delay: delay, telemetry: self.telemetry
            )
        )
        var configuration = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) },
            gracefulShutdownSignals: handlingSignals ? [.sigterm, .sigint] : [],
            logger: self.telemetry.frameworkLogger
        )
        configuration.maximumGracefulShutdownDuration = delay + grace
        configuration.maximumCancellationDuration = .seconds(5)
        return ServiceGroup(configuration: configuration)
    }

    private func application(host: String, admin: AdminRoutes?) throws -> some Service {
        let logger = self.telemetry.logger
        let quiet = QuietPaths(AdminRoutes.paths)
        let routes = RouteTable()
        let router = Router(context: PlatformContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: TelemetryMiddleware(quiet: quiet, logger: logger, tracer: self.telemetry.tracer))
        router.add(middleware: ProblemMiddleware(routes: routes, logger: logger))
        router.add(middleware: StartedMiddleware(readiness: self.platform.readiness, quiet: quiet))
        router.add(middleware: BodyLimitMiddleware())
        router.add(middleware: try self.authentication())
        let (registrations, idempotency, deadLetters, audit) = self.platform.parts.withLock { parts in
            (parts.routes, parts.idempotency, parts.deadLetters, parts.deadLetterAudit)
        }
        if let idempotency {
            router.add(
                middleware: IdempotencyMiddleware(store: idempotency) { body in
                    SHA256.hash(data: body.readableBytesView).hexadecimal
                }
            )
        }
        admin?.register(on: router)
        LogLevelRoutes(levels: self.telemetry.levels, logger: logger).register(on: router)
        if let deadLetters {
            DeadLetterRoutes(store: deadLetters.store, replays: deadLetters.replays, audit: audit, logger: logger)
                .register(on: router)
        }
        for register in registrations { register(router) }
        routes.fill(
            router.routes.flatMap { route -> [(method: HTTPRequest.Method, path: String)] in
                let path = route.path.description
                return route.method == .get ? [(.get, path), (.head, path)] : [(route.method, path)]
            }
        )
        let address = self.address
        let port = try self.settings.port("HTTP_PORT", default: 8_080)
        return Application(
            router: router,
            configuration: .init(address: .hostname(host, port: port), backlog: 1_024),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? 0
                address.set(port)
                logger.info("listening", metadata: ["port": "\(port)"])
            },
            logger: self.telemetry.frameworkLogger
        )
    }

    private func authentication() throws -> AuthenticationMiddleware {
        let verifier: TokenVerifier?
        let keys: (any KeySource)? =
            self.platform.parts.withLock { $0.keys }
            ?? self.settings.string("AUTH_JWKS_URL").map {
                RemoteKeySet(url: $0, client: UntracedHTTP.client, logger: self.telemetry.logger)
            }
        if let keys {
            verifier = TokenVerifier(
                issuer: try self.settings.required("AUTH_ISSUER", "the issuer's URL"),
                audience: try self.settings.required("AUTH_AUDIENCE", "the audience of access tokens"),
                keys: keys
            )
        } else {
            verifier = nil
        }
        return AuthenticationMiddleware(
            verify: { token in
                guard let verifier else {
                    throw Problem.unauthorized("This service verifies no tokens.", error: "invalid_token")
                }
                do {
                    return Principal(try await verifier.verify(token))
                } catch let error as TokenError where error.code == .keysUnavailable {
                    throw Problem(
                        .serviceUnavailable, "keys_unavailable", "Tokens cannot be verified now. Try again.",
                        headers: [.retryAfter: "1"]
                    )
                } catch let error as TokenError {
                    throw Problem.unauthorized(error.message, error: "invalid_token")
                }
            },
            enter: { principal, ip, context in
                context.eventActor =
                    principal.map { EventActor(id: $0.subject, type: $0.isClient ? "client" : "user", ip: ip) }
                    ?? EventActor(id: "unknown", type: "unknown", ip: ip)
            }
        )
    }
}

extension Principal {
    init(_ token: AccessToken) {
        self.init(
            subject: token.subject,
            // A client that acts for itself is its own subject (RFC 9068, section 2.2).
            isClient: token.subject == token.clientID,
            roles: Set(token.roles.compactMap(Role.init(rawValue:))),
            scopes: Set(token.scope.split(separator: " ").map { String($0) }),
            sessionID: token.sessionID
        )
    }
}

/// Runs the start steps, then waits for the end.
private struct StartService: Service {
    let platform: Platform

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await self.platform.start() }
        } catch is CancellationError {
            return
        }
        try? await gracefulShutdown()
    }
}

/// The HTTP server with its drain: not ready first, still serving for the delay, then no new connections.
private struct DrainingServer<Server: Service>: Service {
    let server: Server
    let readiness: Readiness
    let delay: Duration
    let telemetry: Telemetry

    func run() async throws {
        let inner = ServiceGroup(
            configuration: .init(services: [.init(service: self.server)], logger: self.telemetry.frameworkLogger)
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // Detached, because the outer shutdown must not reach the server before the delay is over; and bound
                // again, because a detached task inherits nothing.
                let running = Task.detached { try await self.telemetry.bind { try await inner.run() } }
                try await withTaskCancellationHandler {
                    try await running.value
                } onCancel: {
                    running.cancel()
                }
            }
            group.addTask {
                try await gracefulShutdown()
                self.telemetry.logger.info("draining")
                self.readiness.draining()
                try await Task.sleep(for: self.delay)
                await inner.triggerGracefulShutdown()
                // The server's end is the end: until then its requests are being finished.
                while !Task.isCancelled { try await Task.sleep(for: .seconds(3_600)) }
            }
            try await group.next()
            group.cancelAll()
            // The waiting half ends by its cancellation.
            while let result = await group.nextResult() { _ = result }
        }
    }
}

/// Refuses work until migrations are done.
private struct StartedMiddleware: RouterMiddleware {
    let readiness: Readiness
    let quiet: QuietPaths

    func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        if self.readiness.phase == .starting, !self.quiet.contains(request) {
            throw Problem(
                .serviceUnavailable, "starting", "The service is starting. Try again.", headers: [.retryAfter: "1"]
            )
        }
        return try await next(request, context)
    }
}

/// The port of a server that may not listen yet.
private final class AddressBox: Sendable {
    private struct State {
        var port: Int?
        var waiters: [CheckedContinuation<Int, any Error>] = []
    }

    private let state = Mutex(State())

    func set(_ port: Int) {
        let waiters = self.state.withLock { state in
            state.port = port
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: port) }
    }

    func value() async throws -> Int {
        try await withCheckedThrowingContinuation { continuation in
            let port = self.state.withLock { state -> Int? in
                if state.port == nil { state.waiters.append(continuation) }
                return state.port
            }
            if let port { continuation.resume(returning: port) }
        }
    }
}
