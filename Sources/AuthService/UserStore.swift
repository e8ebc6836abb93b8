import Lantern

/// The SQL of users and sessions.
struct UserStore: Sendable {
    let database: PostgresClient

    /// - Throws: ``PostgresError`` with code `uniqueViolation` where the address is taken.
    func insert(
        id: UserID, email: String, name: String, hash: PasswordHash, roles: [String], in tx: PostgresTransaction
    ) async throws -> User {
        let rows = try await tx.query(
            """
            INSERT INTO account (id, email, name, password_hash, roles)
            VALUES (\(id), \(email), \(name), \(hash.stored), \(roles))
            RETURNING \(User.columns)
            """
        )
        return try Self.one(rows)
    }

    /// Relies on the primary key.
    func find(_ id: UserID) async throws -> User? {
        try await self.database.query("SELECT \(User.columns) FROM account WHERE id = \(id)").first.map(User.init)
    }

    /// The account of an address, with its password's hash. Relies on `account_email`.
    func credentials(of email: String) async throws -> (user: User, hash: String)? {
        try await self.database
            .query("SELECT \(User.columns), password_hash FROM account WHERE lower(email) = lower(\(email))")
            .first.map { (try User($0), try $0("password_hash")) }
    }

    func setHash(_ hash: PasswordHash, of id: UserID) async throws {
        try await self.database.query("UPDATE account SET password_hash = \(hash.stored) WHERE id = \(id)")
    }

    func startSession(
        _ id: SessionID, of user: UserID, refreshTokenHash: [UInt8], expires: Timestamp, in tx: PostgresTransaction
    ) async throws {
        try await tx.query(
            """
            INSERT INTO session (id, account_id, refresh_token_hash, expires_at)
            VALUES (\(id), \(user), \(PostgresBytes(refreshTokenHash)), \(expires))
            """
        )
    }

    /// Locks the account until the transaction ends.
    func lock(_ id: UserID, in tx: PostgresTransaction) async throws -> User? {
        try await tx.query("SELECT \(User.columns) FROM account WHERE id = \(id) FOR UPDATE").first.map(User.init)
    }

    func setDisabled(_ disabled: Bool, of id: UserID, in tx: PostgresTransaction) async throws -> User {
        if disabled {
            try await tx.query(
                "UPDATE session SET ended_at = clock_timestamp() WHERE account_id = \(id) AND ended_at IS NULL")
        }
        return try Self.one(
            try await tx.query(
                """
                UPDATE account SET disabled = \(disabled), version = version + 1, updated_at = clock_timestamp()
                WHERE id = \(id) RETURNING \(User.columns)
                """
            )
        )
    }

    func setRoles(_ roles: [String], of id: UserID, in tx: PostgresTransaction) async throws -> User {
        try Self.one(
            try await tx.query(
                """
                UPDATE account SET roles = \(roles), version = version + 1, updated_at = clock_timestamp()
                WHERE id = \(id) RETURNING \(User.columns)
                """
            )
        )
    }

    private static func one(_ rows: PostgresResult) throws -> User {
        guard let row = rows.first else { throw Problem.notFound("user") }
        return try User(row)
    }
}
