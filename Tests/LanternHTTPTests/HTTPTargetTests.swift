import Testing

@testable import LanternHTTP

@Suite("What telemetry shows of a URL")
struct HTTPTargetTests {
    @Test(
        "host and port are shown; query, user and password are not",
        arguments: [
            ("http://127.0.0.1:8082/v1/orders?token=s3cret", "127.0.0.1", 8_082, "http://127.0.0.1:8082/v1/orders"),
            ("https://ada:s3cret@shop.example/a/b", "shop.example", 443, "https://shop.example/a/b"),
            ("http://ada:s3cret@shop.example:8082/a", "shop.example", 8_082, "http://shop.example:8082/a"),
            ("http://ada:s3@cret@shop.example/a", "shop.example", 80, "http://shop.example/a"),
            ("http://shop.example", "shop.example", 80, "http://shop.example"),
            ("http://shop.example?x=s3cret", "shop.example", 80, "http://shop.example"),
            ("http://shop.example/a#s3cret", "shop.example", 80, "http://shop.example/a"),
            // A combining mark makes one character with the question mark.
            ("http://shop.example/a?\u{301}x=s3cret", "shop.example", 80, "http://shop.example/a"),
            ("HTTPS://shop.example/a", "shop.example", 443, "HTTPS://shop.example/a"),
            ("shop.example:8082/a", "shop.example", 8_082, "shop.example:8082/a"),
            ("ada:s3cret@shop.example/http://a", "shop.example", 80, "shop.example/http://a"),
        ] as [(String, String, Int, String)]
    )
    func parts(url: String, host: String, port: Int, withoutQuery: String) {
        let target = HTTPTarget(url)
        #expect(target.host == host)
        #expect(target.port == port)
        #expect(target.withoutQuery == withoutQuery)
    }

    @Test(
        "an IPv6 address is shown as host without its brackets",
        arguments: [
            ("http://[::1]/x", "::1", 80, "http://[::1]/x"),
            ("http://[::1]:8080/x", "::1", 8_080, "http://[::1]:8080/x"),
            ("https://[fd00::1]", "fd00::1", 443, "https://[fd00::1]"),
            ("http://ada:s3cret@[::1]:8080/x", "::1", 8_080, "http://[::1]:8080/x"),
        ] as [(String, String, Int, String)]
    )
    func addresses(url: String, host: String, port: Int, withoutQuery: String) {
        self.parts(url: url, host: host, port: port, withoutQuery: withoutQuery)
    }

    @Test(
        "an @ that is no sign of a password does not hide the URL",
        arguments: [
            ("http://shop.example/users/@me", "shop.example", 80, "http://shop.example/users/@me"),
            ("http://shop.example:8082/users/@me", "shop.example", 8_082, "http://shop.example:8082/users/@me"),
            ("http://[::1]:8080/users/@me", "::1", 8_080, "http://[::1]:8080/users/@me"),
            ("http://shop.example/users?mail=ada@example", "shop.example", 80, "http://shop.example/users"),
        ] as [(String, String, Int, String)]
    )
    func harmless(url: String, host: String, port: Int, withoutQuery: String) {
        self.parts(url: url, host: host, port: port, withoutQuery: withoutQuery)
    }

    @Test(
        "where a password may have been cut, or the parts are none, only the scheme is shown",
        arguments: [
            ("http://ada:s3/cret@shop.example/x", 80, "http://"),
            ("http://ada:s3?cret@shop.example/x", 80, "http://"),
            ("http://ada:s3#cret@shop.example/x", 80, "http://"),
            ("https://ada:/s3cret@shop.example/x", 443, "https://"),
            ("http://ada:+80/s3cret@shop.example/x", 80, "http://"),
            ("http://ada:8080801/s3cret@shop.example/x", 80, "http://"),
            ("http://ada:p@s3/cret@shop.example/x", 80, "http://"),
            ("http://ada:s3cret@shop.example/users/@me", 80, "http://"),
            ("http://:s3/cret@shop.example/x", 80, "http://"),
            ("ada:s3/cret@shop.example/x", 80, ""),
            ("http://shop.example:port/x", 80, "http://"),
            ("http://::1/x", 80, "http://"),
            ("http://[::1/x", 80, "http://"),
            ("http://[::1]8080/x", 80, "http://"),
        ] as [(String, Int, String)]
    )
    func unclear(url: String, port: Int, withoutQuery: String) {
        self.parts(url: url, host: "", port: port, withoutQuery: withoutQuery)
    }
}
