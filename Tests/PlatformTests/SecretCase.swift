import Foundation
import Lantern
import NIOHTTP1
import TestSupport
import Testing

/// How a route is asked as it is meant to be; all that can be wrong with a request is made from it.
struct SecretCase: Sendable {
    enum Caller: Sendable { case anyone, customer, admin }

    var route: ServiceRoute
    var caller: Caller
    /// Members of the body that the route reads, without braces; `nil` where it reads none.
    var body: String?
    /// Answers without which the route was not walked.
    var answers: Set<Int>

    init(_ route: String, of service: String, _ caller: Caller, _ answers: Set<Int>, body: String? = nil) {
        let words = route.split(separator: " ").map { String($0) }
        self.route = ServiceRoute(service: service, method: words[0], path: words[1])
        self.caller = caller
        self.body = body
        self.answers = answers
    }

    /// One for each route. That no route lacks one is a test of its own.
    static let all = Self.own + Self.common + Self.deadLetters

    private static let own: [SecretCase] = [
        SecretCase(
            "POST /v1/users", of: "auth", .anyone, [201, 400, 409, 413, 415, 422],
            body: #""email":"{unique}@example.com","password":"[password]","name":"Customer""#),
        SecretCase("GET /v1/users/me", of: "auth", .customer, [200, 401, 413]),
        SecretCase(
            "POST /v1/sessions", of: "auth", .anyone, [201, 400, 401, 413, 415, 422],
            body: #""email":"{email}","password":"{password}""#),
        SecretCase(
            "PUT /v1/users/{id}/roles", of: "auth", .admin, [200, 400, 401, 403, 404, 413, 415, 422],
            body: #""roles":["customer"]"#),
        SecretCase("POST /v1/users/{id}/disable", of: "auth", .admin, [200, 401, 403, 404, 413]),
        SecretCase("POST /v1/users/{id}/enable", of: "auth", .admin, [200, 401, 403, 404, 413]),
        SecretCase("GET /.well-known/jwks.json", of: "auth", .anyone, [200, 413]),
        SecretCase("GET /v1/products", of: "order", .anyone, [200, 400, 413, 422]),
        SecretCase(
            "POST /v1/products", of: "order", .admin, [201, 400, 401, 403, 413, 415, 422],
            body: #""name":"Lamp","price":{"amount":100,"currency":"EUR"},"stock":5"#),
        SecretCase("GET /v1/products/{id}", of: "order", .anyone, [200, 404, 413]),
        SecretCase(
            "POST /v1/products/{id}/stock", of: "order", .admin, [200, 400, 401, 403, 404, 412, 413, 415, 422],
            body: #""delta":1"#),
        SecretCase("GET /v1/orders", of: "order", .customer, [200, 400, 401, 413, 422]),
        SecretCase(
            "POST /v1/orders", of: "order", .customer, [201, 400, 401, 403, 409, 413, 415, 422],
            body: #""lines":[{"product_id":"{product}","quantity":1}]"#),
        SecretCase("GET /v1/orders/{id}", of: "order", .customer, [200, 401, 404, 413]),
        SecretCase("POST /v1/orders/{id}/cancel", of: "order", .customer, [200, 401, 404, 409, 413]),
        SecretCase("GET /v1/timeline", of: "activity", .customer, [200, 400, 401, 413, 422]),
        SecretCase("GET /v1/timeline/{id}", of: "activity", .admin, [200, 401, 404, 413]),
        SecretCase("GET /v1/sources", of: "activity", .admin, [200, 401, 403, 413]),
    ]

    private static let common = ["auth", "order", "activity"].flatMap { service -> [SecretCase] in
        ["/livez", "/readyz", "/startupz", "/metrics"].map {
            SecretCase("GET \($0)", of: service, .anyone, [200, 413])
        } + [
            SecretCase("GET /admin/log-levels", of: service, .admin, [200, 401, 403, 413]),
            SecretCase(
                "PUT /admin/log-levels", of: service, .admin, [200, 400, 401, 403, 413, 415, 422],
                body: #""default":"trace","levels":{}"#),
        ]
    }

    /// Of services with consumers. There is a letter of activity, and none of order.
    private static let deadLetters = [("activity", 200), ("order", 404)].flatMap { service, found -> [SecretCase] in
        [
            SecretCase("GET /v1/dead-letters", of: service, .admin, [200, 400, 401, 403, 413, 422]),
            SecretCase("GET /v1/dead-letters/{id}", of: service, .admin, [found, 401, 403, 404, 413]),
            SecretCase(
                "POST /v1/dead-letters/{id}/replay", of: service, .admin,
                [found, 400, 401, 403, 404, 413, 415, 422], body: #""dry_run":true"#),
            SecretCase(
                "POST /v1/dead-letters/{id}/discard", of: service, .admin,
                [found, 400, 401, 403, 404, 413, 415, 422], body: #""note":"not an event""#),
        ]
    }

    /// The path, with the id of something that is there.
    func path(_ world: SecretWorld) -> String {
        let ids = [
            "/v1/users/": world.victim, "/v1/products/": world.product, "/v1/orders/": world.order,
            "/v1/dead-letters/": world.letter,
        ]
        let id = ids.first { self.route.path.hasPrefix($0.key) }?.value ?? world.entry
        return self.route.path.replacing("{id}", with: id)
    }

    func token(_ world: SecretWorld) -> String? {
        switch self.caller {
        case .anyone: nil
        case .customer: world.customer
        case .admin: world.admin
        }
    }
}

/// Who and what the walk is about.
struct SecretWorld: Sendable {
    var admin: String
    /// The token of the customer whose password and e-mail address these are.
    var customer: String
    var email: String
    var password: String
    /// The token of somebody else.
    var stranger: String
    /// A user to be disabled and enabled.
    var victim: String
    var product: String
    /// The customer's order.
    var order: String
    /// The entry of that order.
    var entry: String
    /// A dead letter of activity.
    var letter: String

    init(_ walk: SecretWalk) async throws {
        let platform = walk.platform
        self.admin = try await platform.admin()
        walk.canaries.watch(token: self.admin, "the administrator's access token")
        self.stranger = try await platform.customer().token
        walk.canaries.watch(token: self.stranger, "the stranger's access token")
        self.victim = try await platform.customer().id
        self.email = "customer-\(UUID().uuidString.lowercased())@example.com"
        self.password = walk.canaries.plant("the customer's password")
        let credentials = #""email":"\#(self.email)","password":"\#(self.password)""#
        try await walk.send(
            ServiceRoute(service: "auth", method: "POST", path: "/v1/users"), "the customer",
            body: .json(#"{\#(credentials),"name":"Customer"}"#)
        )
        let session = try await walk.send(
            ServiceRoute(service: "auth", method: "POST", path: "/v1/sessions"), "the customer's session",
            body: .json("{\(credentials)}")
        )
        self.customer = try #require(session.json["access_token"] as? String)
        self.product = try await platform.product(stock: 10_000, admin: self.admin)
        self.order = try await platform.place(self.product, token: self.customer).string("id")
        let entries = try await platform.timeline("target=\(self.order)", atLeast: 1, token: self.admin)
        self.entry = try #require(entries.first?["id"] as? String)
        try await platform.produce([KafkaRecord(topic: "foreign.events.v1", value: Array("no event".utf8))])
        let letters = "\(platform.activity.url)/v1/dead-letters"
        let admin = self.admin
        let letter = try await eventually {
            try await platform.send(.GET, letters, token: admin).list.first?["id"] as? String
        }
        self.letter = try #require(letter)
    }

    /// A body with what it speaks of.
    func filled(_ text: String) -> String {
        text.replacing("{unique}", with: UUID().uuidString.lowercased()).replacing("{email}", with: self.email)
            .replacing("{password}", with: self.password).replacing("{product}", with: self.product)
    }
}
