import ActivityService
import AuthService
import LanternLogging
import LanternTracing
import OrderService
import Synchronization

@testable import Lantern

/// A route of a service.
struct ServiceRoute: Hashable, Sendable, CustomStringConvertible {
    var service: String
    var method: String
    /// With its parameters in braces.
    var path: String

    var description: String { "\(self.method) \(self.path) of \(self.service)" }

    /// All routes of all services, as their own code registers them.
    ///
    /// The router of a running service cannot be had. So each service is assembled once more, which runs nothing, and what it
    /// registers goes to a router of our own, beside what the host registers on every service.
    static func registered() async throws -> Set<ServiceRoute> {
        try await self.registered(by: Auth.self).union(self.registered(by: Ordering.self))
            .union(self.registered(by: Activity.self))
    }

    private static func registered<S: LanternService>(by service: S.Type) async throws -> Set<ServiceRoute> {
        let settings = Settings(environment: [
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "AUTH_ISSUER": "http://127.0.0.1:1", "AUTH_AUDIENCE": "lantern", "AUTH_PASSWORD_COST": "10",
            "AUTH_KEY_ENCRYPTION_KEY": String(repeating: "A", count: 43) + "=",
        ])
        let telemetry = try Telemetry(
            service: S.name, version: "test", settings: settings,
            overrides: .init(logSink: MemorySink(), spanProcessor: DiscardingSpanProcessor())
        )
        let platform = Platform(name: S.name, settings: settings, logger: telemetry.logger)
        try await S.assemble(platform)
        let router = Router(context: PlatformContext.self)
        AdminRoutes(readiness: platform.readiness, registry: telemetry.registry).register(on: router)
        LogLevelRoutes(levels: telemetry.levels, logger: telemetry.logger).register(on: router)
        let (routes, letters, audit) = platform.parts.withLock { ($0.routes, $0.deadLetters, $0.deadLetterAudit) }
        if let letters {
            DeadLetterRoutes(store: letters.store, replays: letters.replays, audit: audit, logger: telemetry.logger)
                .register(on: router)
        }
        for register in routes { register(router) }
        return Set(
            router.routes.map { ServiceRoute(service: S.name, method: "\($0.method)", path: $0.path.description) })
    }
}
