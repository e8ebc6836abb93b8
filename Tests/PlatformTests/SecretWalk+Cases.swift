import Foundation
import Lantern

extension SecretWalk {
    /// What clients put into bodies, known to the route or not.
    private static let members = [
        "new_password", "current_password", "access_token", "refresh_token", "client_secret", "code_verifier", "code",
        "secret", "reference",
    ].map { "\"\($0)\":\"[\($0)]\"" }.joined(separator: ",")

    /// The title of the request whose answer says which methods the path takes.
    static let unknownMethod = "with an unknown method"

    /// Asks a route as it is meant to be asked, and in all ways in which a request can be wrong.
    func walk(_ item: SecretCase, _ world: SecretWorld) async throws {
        let route = item.route
        let path = item.path(world)
        let bearer = item.token(world).map { "Bearer \($0)" }
        func intended() -> Body { item.body.map { .json("{\(world.filled($0)),\(Self.members)}") } ?? .none }
        func send(_ title: String, path other: String? = nil, authorization: String?, body: Body? = nil) async throws {
            try await self.send(
                route, title, path: other ?? path, authorization: authorization, body: body ?? intended())
        }

        try await send("as intended", authorization: bearer)
        try await send("by nobody", authorization: nil)
        try await send("by somebody else", authorization: "Bearer \(world.stranger)")
        for (title, header) in self.forgeries(of: world.customer, route) {
            try await send(title, authorization: header)
        }
        if route.path.contains("{id}") {
            let secret = self.canaries.plant("an id in the path of \(route)", .path)
            try await send(
                "with a secret for an id", path: route.path.replacing("{id}", with: secret), authorization: bearer)
            try await send(
                "with the id of nothing",
                path: route.path.replacing("{id}", with: "01890a5d-ac96-774b-bcce-b302099a8057"), authorization: bearer
            )
        }
        let wrong: [(String, Body)] = [
            ("with malformed JSON", .json(#"{"password":"[password]","token":[token]"#)),
            ("with an unescaped secret", .json("{\"password\":\"[password]\n\"}")),
            ("with secrets of wrong types", .json(#"{"password":{"[name]":["[password]"]},"email":["[email]"]}"#)),
            ("with a secret for a body", .json(#""[password]""#)),
            (
                "with a form",
                .other(
                    "grant_type=password&password=[password]&client_secret=[client_secret]&code=[code]"
                        + "&code_verifier=[code_verifier]&refresh_token=[refresh_token]",
                    type: "application/x-www-form-urlencoded")
            ),
            ("with bytes", .other("[password]", type: "application/octet-stream; token=[token]")),
        ]
        for (title, body) in wrong { try await send(title, authorization: bearer, body: body) }
        // More than is taken: it says so, and is not waited for.
        try await self.sendRaw(
            route, "with too large a body",
            "\(route.method) \(path)?password=[password] HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
                + (bearer.map { "authorization: \($0)\r\n" } ?? "")
                + "content-type: application/json\r\ncontent-length: 2000000\r\n\r\n{\"password\":\"[password]\""
        )
        try await self.send(
            route, Self.unknownMethod, path: path, method: "PROPFIND", authorization: bearer, body: intended())
    }

    /// Credentials that are none, each with a secret in it.
    private func forgeries(of token: String, _ route: ServiceRoute) -> [(String, String)] {
        func secret(_ name: String) -> String { self.canaries.plant("\(name) of \(route)") }
        func encoded(_ text: String) -> String { Base64URL.encode(Data(text.utf8)) }
        let header = token.split(separator: ".").first.map { String($0) } ?? ""
        let subject = secret("the subject of a forged token")
        let claims = #"{"iss":"x","sub":"\#(subject)","aud":["lantern"],"exp":1,"iat":1}"#
        let basic = Data("user:\(secret("a basic password"))".utf8).base64EncodedString()
        let unknown = #"{"alg":"ES256","typ":"at+jwt","kid":"\#(secret("the key id of a forged token"))"}"#
        return [
            ("with a garbage bearer", "Bearer \(secret("a garbage bearer"))"),
            ("with basic credentials", "Basic \(basic)"),
            ("with a credential without a scheme", secret("a credential without a scheme")),
            (
                "with a forged token",
                "Bearer \(header).\(encoded(claims)).\(encoded(secret("the signature of a forged token")))"
            ),
            (
                "with a token of an unknown key",
                "Bearer \(encoded(unknown)).\(encoded(claims)).\(encoded(secret("the signature of an unknown key")))"
            ),
        ]
    }

    /// What is wrong in the way of one route only.
    func walkSpecialCases(_ world: SecretWorld) async throws {
        func route(_ service: String, _ text: String) -> ServiceRoute {
            SecretCase(text, of: service, .anyone, []).route
        }
        let admin = "Bearer \(world.admin)"
        let customer = "Bearer \(world.customer)"
        let taken = #"{"email":"\#(world.email)","password":"[password]","name":"Again"}"#
        try await self.send(route("auth", "POST /v1/users"), "with an address that is taken", body: .json(taken))
        let sessions = route("auth", "POST /v1/sessions")
        for (title, email) in [("with a wrong password", world.email), ("of nobody", "nobody@example.com")] {
            try await self.send(sessions, title, body: .json(#"{"email":"\#(email)","password":"[password]"}"#))
        }
        // Somebody who types the password into the wrong field.
        let mixedUp = #"{"email":"[password]","password":"[password]"}"#
        try await self.send(sessions, "with the password for an address", body: .json(mixedUp))

        let orders = route("order", "POST /v1/orders")
        let line = { (quantity: Int) in #"{"lines":[{"product_id":"\#(world.product)","quantity":\#(quantity)}]}"# }
        try await self.send(orders, "of too much", authorization: customer, body: .json(line(1_000_000)))
        try await self.send(orders, "by an administrator", authorization: admin, body: .json(line(1)))
        let key = [("idempotency-key", self.canaries.plant("a reused Idempotency-Key of \(orders)"))]
        for quantity in [1, 1, 2] {
            try await self.send(
                orders, "with a used key, \(quantity)", authorization: customer, fields: key,
                body: .json(line(quantity))
            )
        }
        try await self.send(
            route("order", "POST /v1/orders/{id}/cancel"), "again", path: "/v1/orders/\(world.order)/cancel",
            authorization: customer
        )
        try await self.send(
            route("order", "POST /v1/products/{id}/stock"), "with a secret for an entity tag",
            path: "/v1/products/\(world.product)/stock", authorization: admin,
            fields: [("if-match", "\"\(self.canaries.plant("If-Match"))\"")], body: .json(#"{"delta":1}"#)
        )
        for (service, list) in [("order", "/v1/products"), ("order", "/v1/orders"), ("activity", "/v1/timeline")] {
            for name in ["limit", "cursor", "q", "actor", "from", "trace_id", "category"] {
                let secret = self.canaries.plant("\(name) in the query of \(list)")
                try await self.send(
                    route(service, "GET \(list)"), "with a secret for \(name)", query: "\(name)=\(secret)",
                    authorization: customer
                )
            }
        }
        for service in ["order", "activity"] {
            for name in ["limit", "cursor", "state", "reason", "consumer", "topic"] {
                let secret = self.canaries.plant("\(name) in the query of the dead letters of \(service)")
                try await self.send(
                    route(service, "GET /v1/dead-letters"), "with a secret for \(name)", query: "\(name)=\(secret)",
                    authorization: admin
                )
            }
        }
        try await self.send(
            route("order", "PUT /admin/log-levels"), "with a secret for a level", authorization: admin,
            body: .json(#"{"default":"[default]","levels":{"order":"[level]"}}"#)
        )
        let long = self.canaries.plant("a body in chunks") + String(repeating: "x", count: 1 << 20)
        try await self.sendRaw(
            route("auth", "POST /v1/users"), "with too large a chunk",
            "POST /v1/users HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
                + "transfer-encoding: chunked\r\n\r\n\(String(long.utf8.count, radix: 16))\r\n\(long)\r\n0\r\n\r\n"
        )
    }

    /// Routes of the contract that are not there yet, and some that never will be.
    func walkUnknownRoutes(_ world: SecretWorld) async throws {
        let secrets = "{\(Self.members),\"password\":\"[password]\",\"token\":\"[token]\"}"
        let routes: [(service: String, route: String)] = [
            ("auth", "POST /oauth2/token"), ("auth", "POST /oauth2/revoke"), ("auth", "POST /oauth2/introspect"),
            ("auth", "GET /oauth2/authorize"), ("auth", "GET /oauth2/userinfo"), ("auth", "POST /v1/sessions/refresh"),
            ("auth", "DELETE /v1/sessions/current"), ("auth", "PATCH /v1/users/me"),
            ("auth", "POST /v1/users/me/password"), ("auth", "POST /v1/clients"),
            ("auth", "GET /v1/login/any/callback"),
            ("order", "POST /v1/orders/\(world.order)/payments"), ("order", "POST /v1/orders/\(world.order)/refund"),
            ("activity", "GET /v1/timeline/stream"), ("activity", "POST /v1/subjects/any/erase"),
            ("activity", "GET /v1/dead-letters"),
        ]
        for (service, text) in routes {
            let route = SecretCase(text, of: service, .anyone, []).route
            for authorization in ["Bearer \(world.admin)", "Bearer \(self.canaries.plant("a bearer of \(route)"))"] {
                try await self.send(route, "not there", authorization: authorization, body: .json(secrets))
                try await self.send(
                    route, "not there, with a form", authorization: authorization,
                    body: .other(
                        "client_secret=[client_secret]&code=[code]&code_verifier=[code_verifier]&token=[token]",
                        type: "application/x-www-form-urlencoded")
                )
            }
            let path = "/nothing/\(self.canaries.plant("a segment of an unknown path", .path))"
            try await self.send(route, "elsewhere", path: path, authorization: "Bearer \(world.customer)")
        }
    }
}
