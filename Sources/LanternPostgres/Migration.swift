public import Logging

/// One step of a schema, applied once and never changed afterwards.
public struct Migration: Sendable {
    public var version: Int
    public var name: String
    public var statements: [String]

    /// - Parameters:
    ///   - version: 1, 2, 3 … without gaps within its component.
    ///   - statements: Run in order, in one transaction.
    public init(_ version: Int, _ name: String, _ statements: String...) {
        self.version = version
        self.name = name
        self.statements = statements
    }
}

/// How far a component of a database is.
public struct MigrationStatus: Sendable, Equatable {
    public struct Step: Sendable, Equatable {
        public var version: Int
        public var name: String
        /// `nil` where it is still to be applied.
        public var appliedAt: Timestamp?
    }

    public var component: String
    public var steps: [Step]
    /// Why the program and the database do not go together; nothing is applied then.
    public var conflict: String?

    public var pending: Int { self.steps.count { $0.appliedAt == nil } }
}

extension PostgresClient {
    /// Brings the schema of a component up to date, under an advisory lock, so that replicas may start at once.
    ///
    /// Runs on a session of its own, for which no statement's time is limited.
    /// - Parameter component: Whose history this is (`order`, `events`); several live in one database.
    /// - Throws: ``PostgresError`` with code `migration` where the database holds steps that this program does not know,
    ///   or a step whose text has changed since; `pooled` where the connection leads through a transaction pooler; the
    ///   statement's error where a step fails, and nothing is changed then.
    public func migrate(_ component: String, _ migrations: [Migration], logger: Logger) async throws {
        try Self.check(component, migrations)
        try await self.withMigrationSession { tx in
            // One lock for all components: they share the history table, which the first one makes.
            try await tx.query("SELECT pg_advisory_xact_lock(hashtextextended('lantern-migrations', 0))")
            try await tx.query(
                """
                CREATE TABLE IF NOT EXISTS lantern_migration (
                  component  text NOT NULL,
                  version    bigint NOT NULL,
                  name       text NOT NULL,
                  checksum   text NOT NULL,
                  applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
                  PRIMARY KEY (component, version)
                )
                """
            )
            let status = try await Self.status(component, migrations, in: tx)
            if let conflict = status.conflict { throw PostgresError(code: .migration, message: conflict) }
            for migration in migrations.suffix(status.pending) {
                for statement in migration.statements { try await tx.query(SQL(unchecked: statement)) }
                let checksum = try await Self.checksum(of: migration, in: tx)
                try await tx.query(
                    """
                    INSERT INTO lantern_migration (component, version, name, checksum)
                    VALUES (\(component), \(migration.version), \(migration.name), \(checksum))
                    """
                )
                logger.info(
                    "migration applied",
                    metadata: [
                        "component": "\(component)", "version": .stringConvertible(migration.version),
                        "migration": "\(migration.name)",
                    ]
                )
            }
        }
    }

    /// What has been applied and what has not; changes nothing.
    /// - Throws: ``PostgresError``.
    public func migrationStatus(_ component: String, _ migrations: [Migration]) async throws -> MigrationStatus {
        try Self.check(component, migrations)
        return try await self.transaction { tx in
            let table = try await tx.query("SELECT FROM pg_class WHERE oid = to_regclass('lantern_migration')")
            guard !table.isEmpty else {
                return MigrationStatus(
                    component: component, steps: migrations.map { .init(version: $0.version, name: $0.name) })
            }
            return try await Self.status(component, migrations, in: tx)
        }
    }

    private static func check(_ component: String, _ migrations: [Migration]) throws {
        for (index, migration) in migrations.enumerated() where migration.version != index + 1 {
            throw PostgresError(
                code: .migration,
                message:
                    "\(component): migration \"\(migration.name)\" has version \(migration.version), expected \(index + 1)"
            )
        }
    }

    private static func status(
        _ component: String, _ migrations: [Migration], in tx: PostgresTransaction
    ) async throws -> MigrationStatus {
        let applied = try await tx.query(
            "SELECT version, name, checksum, applied_at FROM lantern_migration WHERE component = \(component) ORDER BY version"
        )
        var status = MigrationStatus(
            component: component, steps: migrations.map { .init(version: $0.version, name: $0.name) })
        if applied.count > migrations.count {
            status.conflict =
                "\(component): the database is at version \(applied.count), this program knows \(migrations.count)"
        }
        for (index, row) in applied.enumerated() where index < migrations.count {
            status.steps[index].appliedAt = try row("applied_at")
            let migration = migrations[index]
            let checksum = try await Self.checksum(of: migration, in: tx)
            if try row("version", as: Int.self) != migration.version {
                status.conflict =
                    status.conflict ?? "\(component): step \(migration.version) is missing in the database"
            } else if try row("checksum", as: String.self) != checksum {
                status.conflict =
                    status.conflict
                    ?? "\(component): migration \(migration.version) \"\(migration.name)\" has changed since it was applied"
            }
        }
        return status
    }

    /// A transaction on a session of its own, whose statements may take as long as they need.
    private func withMigrationSession(_ body: (PostgresTransaction) async throws -> Void) async throws {
        var configuration = self.configuration
        // A day: long enough for any index, and an end for a server that does not answer any more.
        configuration.statementTimeout = .seconds(86_400)
        configuration.statementCacheSize = 0
        let driver = try await Driver.connect(configuration)
        defer { driver.close() }
        try await driver.refusePooler()
        let tx = PostgresTransaction(driver: driver, isolation: .readCommitted, telemetry: self.telemetry)
        do {
            try await body(tx)
            try await tx.commit()
        } catch {
            await tx.rollBack()
            throw error
        }
    }

    private static func checksum(of migration: Migration, in tx: PostgresTransaction) async throws -> String {
        let text = migration.statements.joined(separator: "\u{1F}")
        let result = try await tx.query("SELECT encode(sha256(convert_to(\(text), 'UTF8')), 'hex')")
        guard let row = result.first else { throw PostgresError(code: .migration, message: "no checksum") }
        return try row.decode(String.self)
    }
}
