import Testing

@testable import LanternHTTP

@Suite("What telemetry shows of a URL")
struct HTTPTargetTests {
    @Test(
        "host and port are shown; query, user and password are not",
        arguments: [
            ("http://127.0.0.1:8082/v1/orders?token=s3cret", "127.0.0.1", 8_082, "http://127.0.0.1:8082/v1/orders"),
            ("https://ada:s3cret@shop.example/a/b", "shop.example", 443, "https://shop.example/a/b"),
            ("http://shop.example", "shop.example", 80, "http://shop.example"),
            ("http://shop.example?x=s3cret", "shop.example", 80, "http://shop.example"),
        ]
    )
    func parts(url: String, host: String, port: Int, withoutQuery: String) {
        let target = HTTPTarget(url)
        #expect(target.host == host)
        #expect(target.port == port)
        #expect(target.withoutQuery == withoutQuery)
    }
}
