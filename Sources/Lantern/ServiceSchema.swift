import Foundation
public import LanternPostgres
import Logging
import Synchronization

/// The database of a service as its program wants it, for those who bring it up to date before the service starts.
public struct ServiceSchema: Sendable {
    struct Component: Sendable {
        var name: String
        var migrations: [Migration]
    }

    public let service: String
    let components: [Component]
    private let database: PostgresClient
    private let logger: Logger

    /// Assembles the service without running it.
    /// - Parameter environment: `DATABASE_DIRECT_URL` or `DATABASE_URL`, and what the service needs to be assembled; the platform's
    ///   own variables may be missing.
    /// - Throws: ``ConfigurationError``.
    public init<S: LanternService>(of service: S.Type, environment: [String: String]) async throws {
        var quiet = Logger(label: "schema") { _ in SwiftLogNoOpLogHandler() }
        quiet.logLevel = .critical
        // Nothing is called by what stands here: it is only read while the service is assembled.
        let unused = [
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "AUTH_ISSUER": "http://127.0.0.1:1", "AUTH_AUDIENCE": "unused",
            "AUTH_KEY_ENCRYPTION_KEY": Data(repeating: 0, count: 32).base64EncodedString(),
        ]
        let settings = Settings(environment: unused.merging(environment) { $1 })
        let platform = Platform(name: S.name, settings: settings, logger: quiet)
        try await S.assemble(platform)
        self.service = S.name
        self.components = platform.parts.withLock { $0.schema }
        self.logger = quiet
        let url = try settings.string("DATABASE_DIRECT_URL") ?? platform.databaseURL()
        self.database = PostgresClient(
            configuration: PostgresConfiguration(url: url, applicationName: "\(S.name)-migrate"), logger: quiet)
    }

    /// How far each component is.
    /// - Throws: ``PostgresError``.
    public func status() async throws -> [MigrationStatus] {
        var all: [MigrationStatus] = []
        for component in self.components {
            all.append(try await self.database.migrationStatus(component.name, component.migrations))
        }
        return all
    }

    /// Applies what is missing.
    /// - Throws: ``PostgresError``; code `migration` where program and database do not go together.
    public func migrate() async throws {
        for component in self.components {
            try await self.database.migrate(component.name, component.migrations, logger: self.logger)
        }
    }

    public func close() { self.database.close() }
}
