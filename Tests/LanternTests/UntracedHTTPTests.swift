import Hummingbird
import HummingbirdTesting
import Logging
import Testing

@testable import Lantern

@Suite("The HTTP client of the platform's own errands")
struct UntracedHTTPTests {
    @Test("keys are taken from where they are configured, not from where a redirect points", .timeLimit(.minutes(1)))
    func redirect() async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let quiet = logger
        let router = Router()
        router.get("/keys") { _, _ in #"{"keys":[]}"# }
        router.get("/old-keys") { _, _ in Response.redirect(to: "/keys", type: .temporary) }
        try await Application(router: router, logger: quiet).test(.live) { server in
            let port = try #require(server.port)
            func fetched(_ path: String) async -> Bool {
                await RemoteKeySet(
                    url: "http://localhost:\(port)\(path)", client: UntracedHTTP.client, logger: quiet
                ).refresh()
            }
            #expect(await fetched("/keys"))
            #expect(await !fetched("/old-keys"))
        }
    }
}
