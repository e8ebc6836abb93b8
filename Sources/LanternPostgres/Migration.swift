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

extension PostgresClient {
    /// Brings the schema of a component up to date, under an advisory lock, so that replicas may start at once.
    ///
    /// - Parameter component: Whose history this is (`order`, `events`); several live in one database.
    /// - Throws: ``PostgresError`` with code `migration` where the database holds steps that this program does not know,
    ///   or a step whose text has changed since; the statement's error where a step fails, and nothing is changed then.
    public func migrate(_ component: String, _ migrations: [Migration], logger: Logger) async throws {
        for (index, migration) in migrations.enumerated() where migration.version != index + 1 {
            throw PostgresError(
                code: .migration,
                message:
                    "\(component): migration \"\(migration.name)\" has version \(migration.version), expected \(index + 1)"
            )
        }
        try await self.transaction { tx in
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
            let applied = try await tx.query(
                "SELECT version, name, checksum FROM lantern_migration WHERE component = \(component) ORDER BY version"
            )
            guard applied.count <= migrations.count else {
                throw PostgresError(
                    code: .migration,
                    message:
                        "\(component): the database is at version \(applied.count), this program knows \(migrations.count)"
                )
            }
            for (migration, row) in zip(migrations, applied) {
                let checksum = try await Self.checksum(of: migration, in: tx)
                guard try row("checksum", as: String.self) == checksum else {
                    throw PostgresError(
                        code: .migration,
                        message:
                            "\(component): migration \(migration.version) \"\(migration.name)\" has changed since it was applied"
                    )
                }
            }
            for migration in migrations.dropFirst(applied.count) {
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

    private static func checksum(of migration: Migration, in tx: PostgresTransaction) async throws -> String {
        let text = migration.statements.joined(separator: "\u{1F}")
        let result = try await tx.query("SELECT encode(sha256(convert_to(\(text), 'UTF8')), 'hex')")
        guard let row = result.first else { throw PostgresError(code: .migration, message: "no checksum") }
        return try row.decode(String.self)
    }
}
