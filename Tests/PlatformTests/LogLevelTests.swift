import Foundation
import Lantern
import LanternLogging
import NIOHTTP1
import Testing

extension PlatformTests {
    /// `GET` and `PUT /admin/log-levels`.
    @Suite("Log levels, changed while a service runs")
    struct LogLevelTests {
        private typealias Running = TestPlatform.Running

        private func levels(
            _ platform: TestPlatform, of service: Running, token: String?
        ) async throws -> TestPlatform.Answer {
            try await platform.send(.GET, "\(service.url)/admin/log-levels", token: token)
        }

        @discardableResult
        private func set(
            _ json: String, _ platform: TestPlatform, of service: Running, token: String?
        ) async throws -> TestPlatform.Answer {
            try await platform.send(.PUT, "\(service.url)/admin/log-levels", token: token, json: json)
        }

        /// The members of all lines that a service wrote about requests for a path.
        private func lines(of service: Running, path: String) -> [[String: Any]] {
            service.logs.lines.compactMap { line in
                (try? JSONSerialization.jsonObject(with: Data(line.utf8))) as? [String: Any]
            }.filter { $0["url.path"] as? String == path }
        }

        @Test("administrators see and change them, and nobody else", .timeLimit(.minutes(3)))
        func administrators() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let customer = try await platform.customer().token
                let change = #"{"default":"debug","levels":{}}"#
                for service in platform.services {
                    for token in [nil, "no-token-at-all"] {
                        for answer in [
                            try await self.levels(platform, of: service, token: token),
                            try await self.set(change, platform, of: service, token: token),
                        ] {
                            #expect(answer.status == 401)
                            #expect(answer.headers.first(name: "www-authenticate")?.hasPrefix("Bearer") == true)
                            #expect(answer.json["default"] == nil)
                        }
                    }
                    for answer in [
                        try await self.levels(platform, of: service, token: customer),
                        try await self.set(change, platform, of: service, token: customer),
                    ] {
                        #expect(answer.status == 403)
                        #expect(answer.json["code"] as? String == "forbidden")
                    }
                    let answer = try await self.levels(platform, of: service, token: admin)
                    #expect(answer.status == 200)
                    #expect(answer.json["default"] as? String == "info", "somebody else has changed it")
                }
            }
        }

        @Test("they are shown with the loggers that there are", .timeLimit(.minutes(3)))
        func shown() async throws {
            try await TestPlatform.run(environment: ["LOG_LEVEL": "notice"]) { platform in
                let admin = try await platform.admin()
                for service in platform.services {
                    let answer = try await self.levels(platform, of: service, token: admin)
                    #expect(answer.json["default"] as? String == "notice")
                    // What frameworks say at info is no news.
                    #expect(answer.json["levels"] as? [String: String] == ["frameworks": "warning"])
                    let loggers = try #require(answer.json["loggers"] as? [String])
                    #expect(loggers.contains(service.host.name))
                    #expect(loggers.contains("frameworks"))
                    #expect(loggers == loggers.sorted())
                    #expect(answer.headers["cache-control"] == ["no-store"])
                }
            }
        }

        @Test("at debug a service says more from then on, and the others do not", .timeLimit(.minutes(3)))
        func debug() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                // A probe is logged at debug.
                func probe() async throws {
                    for service in platform.services { _ = try await platform.send(.GET, "\(service.url)/livez") }
                }
                func probes() -> [Int] { platform.services.map { self.lines(of: $0, path: "/livez").count } }
                try await probe()
                #expect(probes() == [0, 0, 0])

                let changed = try await self.set(
                    #"{"default":"debug","levels":{}}"#, platform, of: platform.order, token: admin)
                #expect(changed.status == 200)
                #expect(changed.json["default"] as? String == "debug")
                #expect((changed.json["levels"] as? [String: String])?.isEmpty == true)
                try await probe()
                #expect(probes() == [0, 1, 0])
                #expect(self.lines(of: platform.order, path: "/livez").first?["level"] as? String == "debug")

                try await self.set(#"{"default":"info","levels":{}}"#, platform, of: platform.order, token: admin)
                try await probe()
                #expect(probes() == [0, 1, 0])
            }
        }

        @Test("one label can have a level of its own, above or below the others", .timeLimit(.minutes(3)))
        func label() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                func said(_ path: String, with levels: String) async throws -> Int {
                    try await self.set(levels, platform, of: platform.order, token: admin)
                    let before = self.lines(of: platform.order, path: path).count
                    _ = try await platform.send(.GET, platform.order.url + path)
                    return self.lines(of: platform.order, path: path).count - before
                }
                #expect(try await said("/v1/products", with: #"{"default":"info","levels":{"order":"warning"}}"#) == 0)
                #expect(try await said("/v1/products", with: #"{"default":"info","levels":{"auth":"warning"}}"#) == 1)
                #expect(try await said("/livez", with: #"{"default":"error","levels":{"order":"debug"}}"#) == 1)
                let shown = try await self.levels(platform, of: platform.order, token: admin)
                #expect(shown.json["default"] as? String == "error")
                #expect(shown.json["levels"] as? [String: String] == ["order": "debug"])
                // What is not named again has no level of its own any more.
                #expect(try await said("/livez", with: #"{"default":"info","levels":{}}"#) == 0)
                #expect(try await said("/v1/products", with: #"{"default":"info","levels":{}}"#) == 1)
            }
        }

        @Test(
            "what is no level, or has the wrong shape, is refused by its name and changes nothing",
            .timeLimit(.minutes(3)))
        func invalid() async throws {
            let many = (0...LogLevels.limit).map { #""l\#($0)":"info""# }.joined(separator: ",")
            let cases: [(json: String, status: Int, fields: [String])] = [
                (#"{"default":"loud","levels":{}}"#, 422, ["default"]),
                (#"{"default":"DEBUG","levels":{}}"#, 422, ["default"]),
                (#"{"default":"","levels":{}}"#, 422, ["default"]),
                (#"{"default":"debug","levels":{"order":"loud"}}"#, 422, ["levels.order"]),
                (#"{"default":"debug","levels":{"a":"loud","b":"info","c":7}}"#, 422, ["levels.a", "levels.c"]),
                (#"{"default":5,"levels":[]}"#, 422, ["default", "levels"]),
                (#"{"default":["debug"],"levels":"debug"}"#, 422, ["default", "levels"]),
                (#"{"default":null,"levels":null}"#, 422, ["default", "levels"]),
                (#"{"default":"debug","levels":{"order":null}}"#, 422, ["levels.order"]),
                (#"{"default":"debug"}"#, 422, ["levels"]),
                (#"{"levels":{}}"#, 422, ["default"]),
                (#"{"default":"debug","levels":{\#(many)}}"#, 422, ["levels"]),
                (#"["debug"]"#, 422, [""]),
                (#"{"default":"debug","levels":{}"#, 400, []),
                ("", 400, []),
            ]
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                for (json, status, fields) in cases {
                    let answer = try await self.set(json, platform, of: platform.order, token: admin)
                    #expect(answer.status == status, "\(json.prefix(80))")
                    let errors = answer.json["errors"] as? [[String: String]] ?? []
                    #expect(errors.map { $0["field"] } == fields, "\(json.prefix(80))")
                    let now = try await self.levels(platform, of: platform.order, token: admin)
                    #expect(now.json["default"] as? String == "info", "\(json.prefix(80))")
                    #expect(
                        now.json["levels"] as? [String: String] == ["frameworks": "warning"], "\(json.prefix(80))")
                }
            }
        }

        @Test("a member that is not known is ignored, as in every other body", .timeLimit(.minutes(3)))
        func unknownMember() async throws {
            try await TestPlatform.run { platform in
                let answer = try await self.set(
                    #"{"default":"notice","levels":{},"until":"tomorrow"}"#, platform, of: platform.order,
                    token: try await platform.admin()
                )
                #expect(answer.status == 200)
                #expect(answer.json["default"] as? String == "notice")
                #expect(Set(answer.json.keys) == ["default", "levels", "loggers"])
            }
        }

        /// What was logged of changes.
        private func changes(in service: Running) -> [[String: Any]] {
            service.logs.lines.compactMap { line in
                (try? JSONSerialization.jsonObject(with: Data(line.utf8))) as? [String: Any]
            }.filter { $0["message"] as? String == "log levels changed" }
        }

        @Test("a change is logged with who made it, in its trace, and without the token", .timeLimit(.minutes(3)))
        func logged() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let id = try await platform.send(.GET, "\(platform.auth.url)/v1/users/me", token: admin).string("id")
                let answer = try await self.set(
                    #"{"default":"debug","levels":{"order":"info"}}"#, platform, of: platform.order, token: admin)
                let line = try #require(self.changes(in: platform.order).first)
                #expect(self.changes(in: platform.order).count == 1)
                #expect(line["level"] as? String == "notice")
                #expect(line["by"] as? String == id)
                #expect(line["default"] as? String == "debug")
                #expect(line["levels"] as? [String: String] == ["order": "info"])
                let trace = try #require(line["trace_id"] as? String)
                #expect(answer.headers.first(name: "traceresponse")?.contains(trace) == true)
                let signature = try #require(admin.split(separator: ".").last)
                #expect(!platform.order.logs.lines.contains { $0.contains(signature) })

                // Neither what is read nor what is refused is a change.
                _ = try await self.levels(platform, of: platform.order, token: admin)
                try await self.set(#"{"default":"loud","levels":{}}"#, platform, of: platform.order, token: admin)
                #expect(self.changes(in: platform.order).count == 1)
            }
        }

        @Test("a change that silences the service is logged as well", .timeLimit(.minutes(3)))
        func silenced() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let silencing = [
                    #"{"default":"critical","levels":{}}"#, #"{"default":"info","levels":{"order":"error"}}"#,
                ]
                for json in silencing {
                    try await self.set(#"{"default":"info","levels":{}}"#, platform, of: platform.order, token: admin)
                    let before = self.changes(in: platform.order).count
                    #expect(try await self.set(json, platform, of: platform.order, token: admin).status == 200)
                    #expect(self.changes(in: platform.order).count == before + 1, "\(json) left no trace")
                }
            }
        }
    }
}
