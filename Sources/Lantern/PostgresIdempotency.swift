import Foundation
import LanternHTTP
import LanternPostgres

/// Keeps answers by idempotency key in the service's database, for 24 hours.
struct PostgresIdempotency: IdempotencyStore {
    static let component = "idempotency"

    static let migrations: [Migration] = [
        Migration(
            1, "idempotency keys",
            """
            CREATE TABLE idempotency_key (
              subject      text NOT NULL,
              method       text NOT NULL,
              route        text NOT NULL,
              key          text NOT NULL,
              fingerprint  text NOT NULL,
              created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
              status       integer,
              content_type text,
              location     text,
              body         bytea,
              PRIMARY KEY (subject, method, route, key)
            )
            """,
            "CREATE INDEX idempotency_key_created ON idempotency_key (created_at)"
        )
    ]

    let database: PostgresClient

    func begin(_ key: IdempotencyKey, fingerprint: String) async throws -> IdempotencyState {
        let claimed = try await self.database.query(
            """
            INSERT INTO idempotency_key (subject, method, route, key, fingerprint)
            VALUES (\(key.subject), \(key.method), \(key.route), \(key.key), \(fingerprint))
            ON CONFLICT (subject, method, route, key) DO UPDATE
              SET fingerprint = excluded.fingerprint, created_at = clock_timestamp(),
                  status = NULL, content_type = NULL, location = NULL, body = NULL
              WHERE idempotency_key.created_at < clock_timestamp() - interval '24 hours'
            RETURNING 1 AS claimed
            """
        )
        if !claimed.isEmpty { return .claimed }
        let rows = try await self.database.query(
            """
            SELECT fingerprint, status, content_type, location, body FROM idempotency_key
            WHERE subject = \(key.subject) AND method = \(key.method) AND route = \(key.route) AND key = \(key.key)
            """
        )
        // Given back between the two statements: as good as under way.
        guard let row = rows.first else { return .inFlight }
        guard try row("fingerprint", as: String.self) == fingerprint else { return .mismatch }
        guard let status = try row("status", as: Int?.self) else { return .inFlight }
        return .answered(
            StoredAnswer(
                status: status, contentType: try row("content_type"), location: try row("location"),
                body: try row("body", as: PostgresBytes.self).bytes
            )
        )
    }

    func complete(_ key: IdempotencyKey, _ answer: StoredAnswer) async throws {
        try await self.database.query(
            """
            UPDATE idempotency_key
            SET status = \(answer.status)::bigint::integer, content_type = \(answer.contentType),
                location = \(answer.location), body = \(PostgresBytes(answer.body))
            WHERE subject = \(key.subject) AND method = \(key.method) AND route = \(key.route) AND key = \(key.key)
            """
        )
    }

    func abandon(_ key: IdempotencyKey) async throws {
        try await self.database.query(
            """
            DELETE FROM idempotency_key
            WHERE subject = \(key.subject) AND method = \(key.method) AND route = \(key.route) AND key = \(key.key)
              AND status IS NULL
            """
        )
    }

    /// Forgets keys older than a day. Relies on `idempotency_key_created`.
    func expire() async throws {
        try await self.database.query(
            "DELETE FROM idempotency_key WHERE created_at < clock_timestamp() - interval '24 hours'"
        )
    }
}
