import Foundation
import Lantern
import LanternLogging
import LanternTracing
import NIOHTTP1
import Testing
import Tracing

extension PlatformTests {
    /// What was said in confidence is said to nobody else.
    @Suite("Secrets")
    struct SecretsTests {
        @Test("the walk knows every route that a service registers")
        func routes() async throws {
            let walked = Set(SecretCase.all.map(\.route))
            let registered = try await ServiceRoute.registered()
            #expect(registered.subtracting(walked).map(\.description).sorted() == [], "routes that nobody walks")
            #expect(walked.subtracting(registered).map(\.description).sorted() == [], "routes that are not there")
            #expect(walked.count == SecretCase.all.count, "a route that is walked twice")
        }

        /// Configuration that holds secrets; Kafka and the collector take those that they have no use for.
        private func environment(_ canaries: Canaries) -> [String: String] {
            [
                "LOG_LEVEL": "trace", "KAFKA_SASL_PASSWORD": canaries.plant("KAFKA_SASL_PASSWORD"),
                "OTEL_EXPORTER_OTLP_HEADERS": "authorization=\(canaries.plant("OTEL_EXPORTER_OTLP_HEADERS"))",
            ]
        }

        private func watchConfiguration(_ platform: TestPlatform, _ canaries: Canaries) throws {
            canaries.watch(TestPlatform.adminPassword, "AUTH_BOOTSTRAP_ADMIN_PASSWORD")
            canaries.watch(Data(repeating: 7, count: 32).base64EncodedString(), "AUTH_KEY_ENCRYPTION_KEY")
            canaries.watch("$scrypt$", "the hash of a password")
            for service in platform.services {
                canaries.watch(
                    try #require(URLComponents(string: service.database)?.password), "the password of DATABASE_URL")
            }
        }

        @Test(
            "no secret is in a log line, a span, a metric, an event, or an answer to somebody else",
            .timeLimit(.minutes(5)))
        func walk() async throws {
            let canaries = Canaries()
            try await TestPlatform.run(environment: self.environment(canaries)) { platform in
                try self.watchConfiguration(platform, canaries)
                let walk = SecretWalk(platform, canaries)
                let admin = try await platform.admin()
                canaries.watch(token: admin, "an administrator's access token")
                for service in platform.services {
                    // Everything is said, also by the frameworks.
                    let answer = try await platform.send(
                        .PUT, "\(service.url)/admin/log-levels", token: admin, json: #"{"default":"trace","levels":{}}"#
                    )
                    #expect(answer.status == 200)
                }
                let world = try await SecretWorld(walk)
                for item in SecretCase.all { try await walk.walk(item, world) }
                try await walk.walkSpecialCases(world)
                try await walk.walkUnknownRoutes(world)
                try await self.expectCoverage(walk)

                let entries = try await SecretPlaces.timeline(platform, token: world.admin)
                var places = walk.answers.flatMap(\.places) + SecretPlaces.entries(entries)
                var events = 0
                for service in [platform.auth, platform.order] {
                    let rows = try await SecretPlaces.outbox(of: service, platform)
                    events += rows.count / 2
                    places += rows
                }
                #expect(events > 20)
                #expect(entries.count == events, "events that are not on the timeline were not looked at")
                places += try await self.readings(walk, world)
                for service in platform.services {
                    let name = service.host.name
                    places += SecretPlaces.log(of: name, service.logs.lines, canaries)
                    places += SecretPlaces.spans(of: name, service.spans.spans, canaries)
                }
                for finding in Set(places.flatMap { $0.findings(canaries) }).sorted() {
                    Issue.record("\(finding)")
                }
                // What may be shown is shown: the search does find what is there.
                for service in platform.services {
                    let paths = service.logs.lines.count { !canaries.found(in: $0).isEmpty }
                    #expect(paths > 0, "\(service.host.name) logged no path with a secret in it")
                }
                // The one that the walk is about.
                #expect(try await platform.deadLetterReasons() == ["not_a_cloudevent"])
            }
        }

        /// Says that each route succeeded, and failed in each way in which it can; and that it takes the methods of the table.
        private func expectCoverage(_ walk: SecretWalk) async throws {
            for item in SecretCase.all {
                let answers = walk.answers.filter { $0.route == item.route }
                let missing = item.answers.subtracting(answers.map(\.status))
                #expect(missing.isEmpty, "\(item.route) never answered \(missing.sorted())")
                #expect(!answers.contains { $0.status >= 500 }, "\(item.route) failed")

                // The running service has no other methods for the path than the table.
                let answer = try #require(answers.first { $0.title == SecretWalk.unknownMethod })
                #expect(answer.status == 405, "\(item.route)")
                let methods = SecretCase.all.map(\.route)
                    .filter { $0.service == item.route.service && $0.path == item.route.path }
                    .flatMap { $0.method == "GET" ? ["GET", "HEAD"] : [$0.method] }
                #expect(answer.header("allow") == Set(methods).sorted().joined(separator: ", "), "\(item.route)")
            }
        }

        /// What others get to see afterwards: every list, every thing, every probe, the metrics in each format.
        private func readings(_ walk: SecretWalk, _ world: SecretWorld) async throws -> [Place] {
            var places: [Place] = []
            let readers = [
                ("an administrator", world.admin), ("a stranger", world.stranger), ("nobody", nil as String?),
            ]
            for item in SecretCase.all where item.route.method == "GET" {
                let url = try walk.service(item.route.service).url + item.path(world)
                for (name, token) in readers { places += try await walk.read(url, as: name, token: token) }
            }
            let formats = [
                "text/plain", "application/openmetrics-text; version=1.0.0",
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            ]
            for service in walk.platform.services {
                for format in formats {
                    places += try await walk.read(
                        "\(service.url)/metrics", as: "a scraper", token: nil, accept: format)
                }
            }
            return places
        }

        @Test("a log-in is never answered from memory, however its path is written", .timeLimit(.minutes(3)))
        func replay() async throws {
            try await TestPlatform.run { platform in
                let token = try await platform.customer().token
                let json = #"{"email":"\#(TestPlatform.adminEmail)","password":"\#(TestPlatform.adminPassword)"}"#
                for path in ["/v1/sessions", "/v1/sessions/", "//v1/sessions", "/v1//sessions"] {
                    let headers = ["idempotency-key": path]
                    let first = try await platform.send(
                        .POST, platform.auth.url + path, token: token, headers: headers, json: json)
                    let second = try await platform.send(
                        .POST, platform.auth.url + path, token: token, headers: headers, json: json)
                    // A path that is not there is an answer, too.
                    if first.status == 404, path.contains("//") { continue }
                    #expect(first.status == 201)
                    #expect(
                        try first.string("refresh_token") != second.string("refresh_token"),
                        "the answer to \(path) was kept, tokens and all")
                    #expect(first.headers["cache-control"] == ["no-store"], "\(path)")
                }
            }
        }

        @Test("of a request's target nothing but the path is recorded as the path", .timeLimit(.minutes(3)))
        func target() async throws {
            let canaries = Canaries()
            try await TestPlatform.run { platform in
                let targets = [
                    "GET http://user:\(canaries.plant("a password in an absolute target"))@localhost/v1/products",
                    "GET http://localhost/v1/products?token=\(canaries.plant("the query of an absolute target"))",
                    "GET /v1/products#access_token=\(canaries.plant("a fragment"))",
                    "CONNECT user:\(canaries.plant("a password in an authority"))@localhost:443",
                ]
                for target in targets {
                    let request = "\(target) HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
                    _ = try await RawExchange.send(request, port: platform.order.port)
                }
                // The last of them was logged, so all were.
                let places =
                    SecretPlaces.log(of: "order", platform.order.logs.lines, canaries)
                    + SecretPlaces.spans(of: "order", platform.order.spans.spans, canaries)
                for finding in Set(places.flatMap { $0.findings(canaries) }).sorted() { Issue.record("\(finding)") }
                #expect(platform.order.logs.lines.contains { $0.contains("\"CONNECT\"") })
            }
        }
    }
}
