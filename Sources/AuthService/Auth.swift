public import Lantern

/// The auth service: users, sessions, tokens and the keys that sign them.
public struct Auth: LanternService {
    public static let name = "auth"

    /// The events that the service records.
    public static func catalogue() throws -> EventCatalogue {
        try EventCatalogue(
            service: Self.name,
            [
                UserRegistered.self, UserDisabled.self, UserEnabled.self,
                UserRolesChanged.self, SessionStarted.self, SessionRefused.self,
                KeyRotated.self,
            ]
        )
    }

    public static func assemble(_ platform: Platform) async throws {
        let settings = platform.settings
        let expectedKey = "base64 of 32 bytes"
        guard
            let encryptionKey = KeyEncryptionKey(base64: try settings.required("AUTH_KEY_ENCRYPTION_KEY", expectedKey))
        else {
            throw ConfigurationError(name: "AUTH_KEY_ENCRYPTION_KEY", value: "***", expected: expectedKey)
        }
        let logN = try settings.value("AUTH_PASSWORD_COST", default: 15, "log2 of scrypt's N, from 10 to 20") {
            Int($0).flatMap { (10...20).contains($0) ? $0 : nil }
        }
        let parameters = PasswordHash.Parameters(logN: logN, r: 8, p: 3)

        let database = try platform.postgres(migrations: AuthSchema.migrations)
        let outbox = try platform.outbox(in: database, catalogue: Self.catalogue())
        let users = UserStore(database: database)
        let keys = SigningKeys(database: database, encryptionKey: encryptionKey)
        let passwords = PasswordWork(parameters: parameters)
        let logIn = LogIn(
            users: users, outbox: outbox, keys: keys, passwords: passwords,
            issuer: try settings.required("AUTH_ISSUER", "the issuer's URL"),
            audience: try settings.required("AUTH_AUDIENCE", "the audience of access tokens"),
            decoy: try PasswordHash("decoy of no account", parameters: parameters)
        )
        let admin = try FirstAdmin(settings)

        platform.verifyTokens(with: keys)
        platform.onStart {
            try await keys.load(outbox: outbox)
            try await admin?.ensure(users: users, outbox: outbox, passwords: passwords)
        }
        // Keys that another replica made.
        platform.every(.seconds(30), "reload-signing-keys") { try await keys.load(outbox: outbox) }
        platform.routes { router in
            AuthController(users: users, outbox: outbox, keys: keys, passwords: passwords, logIn: logIn)
                .register(on: router)
        }
    }
}

/// The first admin, made once from the environment.
struct FirstAdmin: Sendable {
    private let email: String
    private let password: String

    /// `nil` where the environment names none.
    init?(_ settings: Settings) throws {
        guard let email = settings.string("AUTH_BOOTSTRAP_ADMIN_EMAIL") else { return nil }
        guard EmailAddress.parse(email) != nil else {
            throw ConfigurationError(name: "AUTH_BOOTSTRAP_ADMIN_EMAIL", value: email, expected: "an e-mail address")
        }
        let expected = "a password of at least \(PasswordRules.length.lowerBound) characters that is not a common one"
        let password = try settings.required("AUTH_BOOTSTRAP_ADMIN_PASSWORD", expected)
        guard PasswordRules.length.contains(password.count), PasswordRules.fault(of: password, email: email) == nil
        else {
            throw ConfigurationError(name: "AUTH_BOOTSTRAP_ADMIN_PASSWORD", value: "***", expected: expected)
        }
        self.email = email
        self.password = password
    }

    func ensure(users: UserStore, outbox: Outbox, passwords: PasswordWork) async throws {
        guard try await users.credentials(of: self.email) == nil else { return }
        let hash = try await passwords.hash(self.password)
        do {
            try await users.database.transaction { tx in
                let user = try await users.insert(
                    id: UserID(), email: self.email, name: "Administrator", hash: hash,
                    roles: [Role.admin.rawValue, Role.auditor.rawValue], in: tx
                )
                try await outbox.append(
                    UserRegistered(userID: user.id, email: user.email, name: user.name, roles: user.roles), in: tx
                )
            }
        } catch let error as PostgresError where error.code == .uniqueViolation {
            // Another replica was faster.
        }
    }
}
