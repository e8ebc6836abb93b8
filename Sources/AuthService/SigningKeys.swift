import Foundation
import JWTKit
import Lantern
import Synchronization

/// The service's signing keys: kept sealed in the database, held in memory, shared by all replicas.
final class SigningKeys: KeySource {
    private let database: PostgresClient
    private let encryptionKey: KeyEncryptionKey
    private let keys = Mutex<[SigningKey]>([])

    init(database: PostgresClient, encryptionKey: KeyEncryptionKey) {
        self.database = database
        self.encryptionKey = encryptionKey
    }

    /// Reads the keys, newest first, and makes the first one if there is none.
    func load(outbox: Outbox) async throws {
        let keys = try await self.database.transaction { tx in
            try await tx.query("SELECT pg_advisory_xact_lock(hashtextextended('lantern-signing-keys', 0))")
            let rows = try await tx.query(
                "SELECT id, sealed FROM signing_key WHERE retired_at IS NULL ORDER BY created_at DESC, id"
            )
            if !rows.isEmpty {
                return try rows.map { row in
                    do {
                        return try SigningKey(
                            sealed: Data(try row("sealed", as: PostgresBytes.self).bytes), id: try row("id"),
                            with: self.encryptionKey
                        )
                    } catch is PostgresError {
                        throw ConfigurationError(name: "signing_key", value: nil, expected: "readable rows")
                    } catch {
                        throw ConfigurationError(
                            name: "AUTH_KEY_ENCRYPTION_KEY", value: "***",
                            expected: "the key that the stored signing keys were sealed with"
                        )
                    }
                }
            }
            let key = SigningKey()
            try await tx.query(
                """
                INSERT INTO signing_key (id, algorithm, sealed)
                VALUES (\(key.id), \("ES256"), \(PostgresBytes(try key.sealed(with: self.encryptionKey))))
                """
            )
            try await outbox.append(KeyRotated(keyID: key.id), in: tx)
            return [key]
        }
        self.keys.withLock { $0 = keys }
    }

    /// The one that signs.
    func current() throws -> SigningKey {
        guard let key = self.keys.withLock({ $0.first }) else {
            throw Problem(.serviceUnavailable, "starting", "The service is starting. Try again.")
        }
        return key
    }

    /// What the JWKS endpoint answers (RFC 7517, section 5).
    var set: [String: [[String: String]]] {
        ["keys": self.keys.withLock { $0.map(\.publicJWK) }]
    }

    func key(_ id: String) async throws(TokenError) -> JWK? {
        guard let found = self.keys.withLock({ $0.first { $0.id == id } }),
            let data = try? JSONEncoder().encode(found.publicJWK)
        else { return nil }
        return try? JSONDecoder().decode(JWK.self, from: data)
    }
}
