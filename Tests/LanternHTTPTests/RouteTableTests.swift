import HTTPTypes
import Testing

@testable import LanternHTTP

@Suite("The table of routes, for 405 and Allow")
struct RouteTableTests {
    private func table() -> RouteTable {
        let table = RouteTable()
        table.fill([
            (method: .post, path: "/v1/users"),
            (method: .get, path: "/v1/users"),
            (method: .get, path: "/v1/users/me"),
            (method: .patch, path: "/v1/users/me"),
            (method: .get, path: "/v1/users/{id}"),
            (method: .put, path: "/v1/users/{id}/roles"),
            (method: .get, path: "/v1/orders/:id"),
            (method: .delete, path: "/v1/*/cache"),
            (method: .get, path: "/static/**"),
            (method: .get, path: "/"),
        ])
        return table
    }

    @Test(
        "a path has the methods of every route that it matches, sorted",
        arguments: [
            ("/v1/users", [.get, .post]),
            ("/v1/users/", [.get, .post]),
            ("/v1/users/me", [.get, .patch]),
            ("/v1/users/7", [.get]),
            ("/v1/users/7/roles", [.put]),
            ("/v1/orders/7", [.get]),
            ("/v1/users/cache", [.delete, .get]),
            ("/v1/anything/cache", [.delete]),
            ("/static/a", [.get]),
            ("/static/a/b/c.css", [.get]),
            ("/", [.get]),
        ] as [(String, [HTTPRequest.Method])]
    )
    func known(path: String, methods: [HTTPRequest.Method]) {
        #expect(self.table().methods(for: path) == methods)
    }

    @Test(
        "an unknown path has none",
        arguments: [
            "/v1", "/v2/users", "/v1/users/7/roles/8", "/v1/users/7/rules", "/v1/orders", "/V1/users", "/v1/user",
            "/{id}",
        ]
    )
    func unknown(path: String) {
        #expect(self.table().methods(for: path).isEmpty)
    }

    @Test("a table that is not filled knows nothing")
    func empty() {
        #expect(RouteTable().methods(for: "/").isEmpty)
    }

    @Test("filling replaces what was there")
    func refill() {
        let table = self.table()
        table.fill([(method: .get, path: "/livez")])
        #expect(table.methods(for: "/v1/users").isEmpty)
        #expect(table.methods(for: "/livez") == [.get])
    }
}
