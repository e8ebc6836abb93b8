import Lantern

/// Tables of the auth service.
enum AuthSchema {
    static let migrations: [Migration] = [
        Migration(
            1, "users, sessions, signing keys",
            """
            CREATE TABLE account (
              id            uuid PRIMARY KEY,
              email         text NOT NULL,
              name          text NOT NULL,
              password_hash text NOT NULL,
              roles         text[] NOT NULL,
              disabled      boolean NOT NULL DEFAULT false,
              version       bigint NOT NULL DEFAULT 1,
              created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
              updated_at    timestamptz NOT NULL DEFAULT clock_timestamp()
            )
            """,
            // One account for an address, however it is written.
            "CREATE UNIQUE INDEX account_email ON account (lower(email))",
            """
            CREATE TABLE session (
              id                 uuid PRIMARY KEY,
              account_id         uuid NOT NULL REFERENCES account (id),
              refresh_token_hash bytea NOT NULL,
              created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
              expires_at         timestamptz NOT NULL,
              ended_at           timestamptz
            )
            """,
            "CREATE UNIQUE INDEX session_refresh_token ON session (refresh_token_hash)",
            "CREATE INDEX session_account ON session (account_id)",
            """
            CREATE TABLE signing_key (
              id         text PRIMARY KEY,
              algorithm  text NOT NULL,
              sealed     bytea NOT NULL,
              created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
              retired_at timestamptz
            )
            """
        )
    ]
}
