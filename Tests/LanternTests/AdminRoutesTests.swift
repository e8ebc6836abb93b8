import LanternMetrics
import Testing

@testable import Lantern

@Suite("Accept-Encoding (RFC 9110, section 12.5.3)")
struct AcceptsGzipTests {
    @Test(
        "gzip is accepted where it is named with a weight above zero, or all codings are",
        arguments: [
            (nil, false),
            ("", false),
            ("gzip", true),
            ("GZip", true),
            ("x-gzip", true),
            ("gzip;q=1.0", true),
            ("gzip;q=0.001", true),
            ("gzip ; q=0.5", true),
            ("gzip;Q=0.5", true),
            ("deflate, gzip;q=0.5, br", true),
            ("br,gzip", true),
            ("*", true),
            ("*;q=0.1", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("gzip; q=0", false),
            ("*;q=0", false),
            ("identity", false),
            ("identity;q=1, *;q=0", false),
            ("deflate, br", false),
            ("gzipped", false),
            ("not-gzip", false),
            // What is named outweighs the asterisk, wherever it stands.
            ("gzip;q=0, *", false),
            ("*, gzip;q=0", false),
            ("*;q=0, gzip", true),
            ("gzip;q=0.5, *;q=0", true),
            (",,gzip", true),
        ] as [(String?, Bool)]
    )
    func table(header: String?, accepted: Bool) {
        #expect(ContentCoding.acceptsGzip(header) == accepted)
    }
}

@Suite("Settings from the environment")
struct SettingsTests {
    private func settings(_ value: String) -> Settings { Settings(environment: ["TEST_VALUE": value]) }

    /// The one line that stops the start.
    private func refusal(_ read: () throws -> Void) throws -> String {
        let error = try #require(throws: ConfigurationError.self) { try read() }
        return error.description
    }

    @Test("a variable is read by its name, and an empty one is as good as missing")
    func text() {
        let settings = Settings(environment: ["OTEL_SERVICE_NAME": "order", "EMPTY_VALUE": "", "HTTP_HOST": " a = b "])
        #expect(settings.string("OTEL_SERVICE_NAME") == "order")
        #expect(settings.string("HTTP_HOST") == " a = b ")
        #expect(settings.string("EMPTY_VALUE") == nil)
        #expect(settings.string("ABSENT_VALUE") == nil)
    }

    @Test(
        "a duration has a unit, or is in seconds",
        arguments: [
            ("250ms", .milliseconds(250)), ("5s", .seconds(5)), ("15m", .seconds(900)), ("2h", .seconds(7_200)),
            ("7", .seconds(7)), ("0", .zero), ("0ms", .zero), ("1.5s", .milliseconds(1_500)), ("0.25h", .seconds(900)),
            ("24h", .seconds(86_400)),
        ] as [(String, Duration)]
    )
    func durations(text: String, expected: Duration) throws {
        #expect(try self.settings(text).duration("TEST_VALUE", default: .seconds(99)) == expected)
    }

    @Test("milliseconds are exact, however they are written")
    func exactDurations() {
        let wrong = (0...10_000).filter { number in
            let fraction = String(number % 1_000 + 1_000).dropFirst()
            let expected = Duration.milliseconds(number)
            return Settings.duration("\(number)ms") != expected
                || Settings.duration("\(number / 1_000).\(fraction)s") != expected
        }
        #expect(wrong.isEmpty)
    }

    @Test(
        "what is no duration is refused",
        arguments: [
            "s", "ms", "h", "-1s", "-5", "five", "1d", "5S", "5 s", " 5s", "5s ", "1h30m", "nan", "inf", "infs", "nans",
            "1e300h", "1e10s", "5,5s",
        ]
    )
    func badDurations(text: String) throws {
        let refusal = try self.refusal { _ = try self.settings(text).duration("TEST_VALUE", default: .zero) }
        #expect(refusal == "TEST_VALUE=\(text) is not valid: expected a duration such as 250ms, 5s, 15m or 2h")
    }

    @Test(
        "milliseconds of OpenTelemetry's variables",
        arguments: [("0", .zero), ("5000", .seconds(5))] as [(String, Duration)])
    func milliseconds(text: String, expected: Duration) throws {
        #expect(try self.settings(text).milliseconds("TEST_VALUE", default: .seconds(99)) == expected)
    }

    @Test("what is no number of milliseconds is refused", arguments: ["-1", "5s", "1.5", "5 "])
    func badMilliseconds(text: String) throws {
        let refusal = try self.refusal { _ = try self.settings(text).milliseconds("TEST_VALUE", default: .zero) }
        #expect(refusal == "TEST_VALUE=\(text) is not valid: expected a number of milliseconds")
    }

    @Test("ports", arguments: [("0", 0), ("80", 80), ("8081", 8_081), ("65535", 65_535)])
    func ports(text: String, expected: Int) throws {
        #expect(try self.settings(text).port("TEST_VALUE", default: 1) == expected)
    }

    @Test(
        "what is no port is refused",
        arguments: ["65536", "-1", "80a", "8.0", "0x50", " 80", "99999999999999999999", "http"])
    func badPorts(text: String) throws {
        let refusal = try self.refusal { _ = try self.settings(text).port("TEST_VALUE", default: 1) }
        #expect(refusal == "TEST_VALUE=\(text) is not valid: expected a port from 0 to 65535")
    }

    @Test(
        "booleans",
        arguments: [
            ("true", true), ("TRUE", true), ("1", true), ("yes", true), ("on", true), ("false", false),
            ("False", false),
            ("0", false), ("no", false), ("off", false),
        ]
    )
    func booleans(text: String, expected: Bool) throws {
        #expect(try self.settings(text).boolean("TEST_VALUE", default: !expected) == expected)
    }

    @Test("what is neither true nor false is refused", arguments: ["2", "maybe", "t", "true ", "enabled"])
    func badBooleans(text: String) throws {
        let refusal = try self.refusal { _ = try self.settings(text).boolean("TEST_VALUE", default: true) }
        #expect(refusal == "TEST_VALUE=\(text) is not valid: expected true or false")
    }

    @Test(
        "a variable that is missing or empty has its default",
        arguments: [[:], ["TEST_VALUE": ""]] as [[String: String]])
    func defaults(environment: [String: String]) throws {
        let settings = Settings(environment: environment)
        #expect(try settings.duration("TEST_VALUE", default: .seconds(3)) == .seconds(3))
        #expect(try settings.milliseconds("TEST_VALUE", default: .seconds(3)) == .seconds(3))
        #expect(try settings.port("TEST_VALUE", default: 3) == 3)
        #expect(try settings.boolean("TEST_VALUE", default: true))
    }

    @Test(
        "a required variable is given, or named with what was expected",
        arguments: [[:], ["TEST_VALUE": ""]] as [[String: String]]
    )
    func required(environment: [String: String]) throws {
        #expect(try self.settings("x").required("TEST_VALUE", "a URI") == "x")
        let refusal = try self.refusal { _ = try Settings(environment: environment).required("TEST_VALUE", "a URI") }
        #expect(refusal == "TEST_VALUE is not set: expected a URI")
    }

    @Test("the text of an error names the variable, its value and what was expected")
    func errorText() throws {
        let error = try #require(throws: ConfigurationError.self) {
            try self.settings("blue").value("TEST_VALUE", default: 0, "a whole number") { Int($0) }
        }
        #expect(error.name == "TEST_VALUE")
        #expect(error.value == "blue")
        #expect(error.expected == "a whole number")
        #expect(error.description == "TEST_VALUE=blue is not valid: expected a whole number")
    }

    @Test("a secret is masked in the error, in its text and in its value")
    func secret() throws {
        let error = try #require(throws: ConfigurationError.self) {
            try self.settings("hunter2").value("TEST_VALUE", default: 0, "a whole number", secret: true) { Int($0) }
        }
        #expect(error.description == "TEST_VALUE=*** is not valid: expected a whole number")
        #expect(error.value == "***")
    }

    @Test("the text of an error is one line, whatever the value", arguments: ["5s\n6s", "5s\r\n", "5s\u{2028}"])
    func oneLine(text: String) throws {
        let refusal = try self.refusal { _ = try self.settings(text).duration("TEST_VALUE", default: .zero) }
        #expect(!refusal.contains { $0.isNewline })
    }

    @Test("KAFKA_ variables become librdkafka properties, but for the brokers and the empty ones")
    func kafkaProperties() {
        let settings = Settings(environment: [
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:19092", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_PASSWORD": "a_b=C",
            "KAFKA_SSL_CA_LOCATION": "", "KAFKAESQUE": "no", "HTTP_PORT": "80", "MY_KAFKA_DEBUG": "all",
        ])
        #expect(settings.kafkaProperties == ["security.protocol": "SASL_SSL", "sasl.password": "a_b=C"])
    }

    @Test("without KAFKA_ variables there are no properties")
    func noKafkaProperties() {
        #expect(Settings(environment: [:]).kafkaProperties.isEmpty)
    }
}
