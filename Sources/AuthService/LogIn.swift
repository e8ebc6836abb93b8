import Crypto
import Foundation
import Lantern

/// Logging in: checks a password and starts a session.
struct LogIn: Sendable {
    let users: UserStore
    let outbox: Outbox
    let keys: SigningKeys
    let passwords: PasswordWork
    let issuer: String
    let audience: String
    /// Compared with where there is no user, so that both answers take the same time.
    let decoy: PasswordHash

    static let accessLifetime: Int64 = 900
    static let refreshLifetime: Duration = .seconds(30 * 86_400)

    struct Tokens: Encodable, Sendable {
        var access_token: String
        var token_type = "Bearer"
        var expires_in = LogIn.accessLifetime
        var refresh_token: String
    }

    func callAsFunction(email: String, password: String) async throws -> Tokens {
        let found = try await self.users.credentials(of: email)
        let hash = found.flatMap { PasswordHash(stored: $0.hash) } ?? self.decoy
        let matches = try await self.passwords.matches(password, hash)
        guard let (user, _) = found else { throw try await self.refuse(nil, .unknownUser) }
        guard matches else { throw try await self.refuse(user.id, .wrongPassword) }
        guard !user.disabled else { throw try await self.refuse(user.id, .disabled) }
        if hash.parameters != self.passwords.parameters {
            try await self.users.setHash(try await self.passwords.hash(password), of: user.id)
        }
        return try await self.start(user)
    }

    private func start(_ user: User) async throws -> Tokens {
        let session = SessionID()
        var generator = SystemRandomNumberGenerator()
        let secret = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let refreshToken = Base64URL.encode(secret)
        try await self.users.database.transaction { tx in
            // Again under the lock: whoever is being disabled now gets no session.
            guard let current = try await self.users.lock(user.id, in: tx), !current.disabled else {
                throw Self.refusal
            }
            try await self.users.startSession(
                session, of: user.id, refreshTokenHash: Array(SHA256.hash(data: Data(refreshToken.utf8))),
                expires: .now + Self.refreshLifetime, in: tx
            )
            try await self.outbox.append(SessionStarted(sessionID: session, userID: user.id), in: tx)
        }
        let now = Int64(Date().timeIntervalSince1970)
        let token = AccessToken(
            issuer: self.issuer, subject: user.id.description, audience: [self.audience],
            expires: now + Self.accessLifetime, issuedAt: now, id: UUID.version7().uuidString.lowercased(),
            clientID: "lantern", scope: "", roles: user.roles, sessionID: session.description
        )
        return Tokens(access_token: try await self.keys.current().sign(token), refresh_token: refreshToken)
    }

    /// Records the refusal; the answer is the same whatever the reason.
    private func refuse(_ user: UserID?, _ reason: SessionRefused.Reason) async throws -> Problem {
        try await self.users.database.transaction { tx in
            try await self.outbox.append(
                SessionRefused(sessionID: SessionID(), userID: user, reason: reason), in: tx
            )
        }
        return Self.refusal
    }

    private static let refusal = Problem(
        .unauthorized, "invalid_credentials", "The e-mail address or the password is wrong.",
        headers: [.wwwAuthenticate: "Bearer"]
    )
}
