import HTTPTypes
import Lantern

/// The routes of auth.
struct AuthController: Sendable {
    let users: UserStore
    let outbox: Outbox
    let keys: SigningKeys
    let passwords: PasswordWork
    let logIn: LogIn

    func register(on router: Router<PlatformContext>) {
        router.post("/v1/users", use: self.registerUser)
        router.get("/v1/users/me", use: self.me)
        router.post("/v1/sessions", use: self.startSession)
        router.put("/v1/users/{id}/roles", use: self.setRoles)
        router.post("/v1/users/{id}/disable") { try await self.setDisabled(true, $1) }
        router.post("/v1/users/{id}/enable") { try await self.setDisabled(false, $1) }
        router.get("/.well-known/jwks.json", use: self.keySet)
    }

    @Sendable private func registerUser(_ request: Request, _ context: PlatformContext) async throws -> Response {
        var fields = try await request.fields(context)
        let email = fields.parsed("email", "an e-mail address", EmailAddress.parse)
        let name = fields.string("name", length: 1...200)
        let password = fields.string("password", length: PasswordRules.length)
        if let password, let fault = PasswordRules.fault(of: password, email: email) { fields.fault("password", fault) }
        let (validEmail, validName, validPassword) = try fields.valid(email, name, password)

        let hash = try await self.passwords.hash(validPassword)
        do {
            let user = try await self.users.database.transaction { tx in
                let user = try await self.users.insert(
                    id: UserID(), email: validEmail, name: validName, hash: hash, roles: [Role.customer.rawValue],
                    in: tx
                )
                try await self.outbox.append(
                    UserRegistered(userID: user.id, email: user.email, name: user.name, roles: user.roles), in: tx
                )
                return user
            }
            return try JSON.response(user, status: .created, headers: [.location: "/v1/users/\(user.id)"])
        } catch let error as PostgresError where error.code == .uniqueViolation {
            throw Problem(.conflict, "email_taken", "There is an account with this e-mail address already.")
        }
    }

    @Sendable private func startSession(_ request: Request, _ context: PlatformContext) async throws -> Response {
        var fields = try await request.fields(context)
        // No rule is told here but presence: whether an account could exist is not this route's to say.
        let email = fields.string("email", length: 1...254)
        let password = fields.string("password", length: 1...1_024)
        let (validEmail, validPassword) = try fields.valid(email, password)
        let tokens = try await self.logIn(email: validEmail, password: validPassword)
        return try JSON.response(tokens, status: .created, headers: [.cacheControl: "no-store"])
    }

    @Sendable private func me(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.requirePrincipal()
        guard let id = UserID(principal.subject), let user = try await self.users.find(id) else {
            throw Problem.notFound("user")
        }
        return try JSON.response(user)
    }

    @Sendable private func setRoles(_ request: Request, _ context: PlatformContext) async throws -> Response {
        _ = try context.require(.admin)
        let id = try context.parameter("id", of: "user", UserID.init)
        var fields = try await request.fields(context)
        let names = Role.allCases.map(\.rawValue)
        let named = fields.strings("roles", count: 1...names.count, oneOf: names)
        let roles: [String] = try fields.valid(named)
        let user = try await self.users.database.transaction { tx in
            guard let before = try await self.users.lock(id, in: tx) else { throw Problem.notFound("user") }
            let after = try await self.users.setRoles(Array(Set(roles)).sorted(), of: id, in: tx)
            try await self.outbox.append(
                UserRolesChanged(userID: id, version: after.version, before: before.roles, after: after.roles), in: tx
            )
            return after
        }
        return try JSON.response(user)
    }

    private func setDisabled(_ disabled: Bool, _ context: PlatformContext) async throws -> Response {
        _ = try context.require(.admin)
        let id = try context.parameter("id", of: "user", UserID.init)
        let user = try await self.users.database.transaction { tx in
            guard let before = try await self.users.lock(id, in: tx) else { throw Problem.notFound("user") }
            // Asked for twice it is done once, and recorded once.
            guard before.disabled != disabled else { return before }
            let after = try await self.users.setDisabled(disabled, of: id, in: tx)
            if disabled {
                try await self.outbox.append(UserDisabled(userID: id, version: after.version), in: tx)
            } else {
                try await self.outbox.append(UserEnabled(userID: id, version: after.version), in: tx)
            }
            return after
        }
        return try JSON.response(user)
    }

    @Sendable private func keySet(_ request: Request, _ context: PlatformContext) async throws -> Response {
        try JSON.response(self.keys.set, headers: [.cacheControl: "public, max-age=300"])
    }
}
