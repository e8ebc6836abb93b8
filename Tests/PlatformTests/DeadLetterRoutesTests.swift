import Foundation
import Lantern
import LanternTracing
import LanternTracingTesting
import NIOHTTP1
import TestSupport
import Testing
import Tracing

extension PlatformTests {
    /// `/v1/dead-letters` of activity, over HTTP, and what the timeline says of it.
    @Suite("Dead letters over HTTP")
    struct DeadLetterRoutesTests {
        private static let eventTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
        private static let eventSpan = "00f067aa0ba902b7"
        private static let requestTrace = "0af7651916cd43dd8448eb211c80319c"

        private func record(
            _ id: String, data: String = #"{"n":1}"#, version: String = "1.0", type: String = "com.example.paid"
        ) -> KafkaRecord {
            KafkaRecord(
                topic: "foreign.events.v1", partition: 0, key: Array("k".utf8), value: Array(data.utf8),
                headers: [
                    KafkaHeader("ce_specversion", version), KafkaHeader("ce_id", id),
                    KafkaHeader("ce_source", "https://example.com/billing"), KafkaHeader("ce_type", type),
                    KafkaHeader("traceparent", "00-\(Self.eventTrace)-\(Self.eventSpan)-01"),
                ]
            )
        }

        /// Puts three records aside: one whose id is another's, one of another version, one that is no event.
        private func putAside(_ platform: TestPlatform) async throws {
            var bytes = self.record("f-3")
            bytes.headers = [KafkaHeader("n", [0xFF])]
            bytes.key = [0x00, 0xFF]
            try await platform.produce([
                self.record("f-1"), self.record("f-1", data: #"{"n":2}"#), self.record("f-2", version: "0.3"), bytes,
            ])
            let reasons = try await eventually { () -> [String]? in
                let reasons = try await platform.deadLetterReasons()
                return reasons.count == 3 ? reasons : nil
            }
            try #require(reasons?.sorted() == ["id_conflict", "not_a_cloudevent", "unsupported_version"])
        }

        private func url(_ platform: TestPlatform, _ path: String = "") -> String {
            "\(platform.activity.url)/v1/dead-letters\(path)"
        }

        private func letters(_ platform: TestPlatform, _ query: String, _ token: String) async throws -> [[String: Any]]
        {
            try await platform.send(.GET, self.url(platform, query), token: token).list
        }

        private func id(_ platform: TestPlatform, _ reason: String, _ token: String) async throws -> String {
            let letters = try await self.letters(platform, "?reason=\(reason)", token)
            return try #require(letters.first?["id"] as? String)
        }

        /// What is wrong with the conflicting letter is mended: the other event is forgotten.
        private func mend(_ platform: TestPlatform) async throws {
            try await platform.withDatabase(of: platform.activity) { database in
                _ = try await database.execute("DELETE FROM event_key WHERE event_id = 'f-1'")
            }
        }

        // MARK: - Who may, and what is there

        @Test("only administrators see dead letters, or do anything about them", .timeLimit(.minutes(3)))
        func access() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let customer = try await platform.customer().token
                try await self.putAside(platform)
                let letter = try await self.id(platform, "id_conflict", admin)
                for (method, path) in [
                    (HTTPMethod.GET, ""), (.GET, "/\(letter)"), (.POST, "/\(letter)/replay"),
                    (.POST, "/\(letter)/discard"), (.GET, "/\(UUID().uuidString.lowercased())"),
                ] {
                    let url = self.url(platform, path)
                    #expect(try await platform.send(method, url).status == 401, "\(method) \(path)")
                    #expect(try await platform.send(method, url, token: "x.y.z").status == 401, "\(method) \(path)")
                    let refused = try await platform.send(method, url, token: customer)
                    #expect(refused.status == 403, "\(method) \(path)")
                    #expect(refused.json["code"] as? String == "forbidden")
                }
                let states = try await self.letters(platform, "", admin).map { $0["state"] as? String }
                #expect(states == ["new", "new", "new"])
            }
        }

        @Test("the list is filtered, given from the newest on, and walked by its cursor", .timeLimit(.minutes(3)))
        func list() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                try await self.putAside(platform)
                let all = try await self.letters(platform, "", admin)
                let ids = all.compactMap { $0["id"] as? String }
                #expect(ids.count == 3 && ids == ids.sorted(by: >), "ids grow with time")
                // Without the record itself.
                #expect(all.allSatisfy { $0["value"] == nil && $0["headers"] == nil && $0["key"] == nil })

                var walked: [String] = []
                var cursor: String? = ""
                while let next = cursor {
                    let query = next.isEmpty ? "?limit=1" : "?limit=1&cursor=\(next)"
                    let answer = try await platform.send(.GET, self.url(platform, query), token: admin)
                    try #require(answer.status == 200)
                    walked += answer.list.compactMap { $0["id"] as? String }
                    cursor = (answer.json["page"] as? [String: Any])?["next_cursor"] as? String
                    try #require(walked.count <= 3, "it ends")
                }
                #expect(walked == ids)

                for (query, count) in [
                    ("?state=new", 3), ("?state=parked", 0), ("?reason=id_conflict", 1), ("?reason=other", 0),
                    ("?consumer=activity", 3), ("?consumer=other", 0), ("?topic=foreign.events.v1", 3),
                    ("?topic=other", 0), ("?state=new&reason=id_conflict&consumer=activity", 1), ("?limit=2", 2),
                ] {
                    #expect(try await self.letters(platform, query, admin).count == count, "\(query)")
                }
                for (query, status) in [
                    ("?state=old", 422), ("?limit=0", 422), ("?limit=201", 422), ("?cursor=x", 400),
                    ("?cursor=eyJpZCI6IngifQ", 400),
                ] {
                    let answer = try await platform.send(.GET, self.url(platform, query), token: admin)
                    #expect(answer.status == status, "\(query)")
                }
            }
        }

        @Test("one is shown whole, also where it is no text; what is not there is not found", .timeLimit(.minutes(3)))
        func show() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                try await self.putAside(platform)
                let conflict = try await self.id(platform, "id_conflict", admin)
                let shown = try await platform.send(.GET, self.url(platform, "/\(conflict)"), token: admin)
                #expect(shown.status == 200)
                #expect(shown.json["event_id"] as? String == "f-1" && shown.json["replays"] as? Int == 0)
                #expect(shown.json["source"] as? String == "https://example.com/billing")
                #expect(shown.json["topic"] as? String == "foreign.events.v1" && shown.json["offset"] as? Int == 1)
                #expect(shown.json["key"] as? String == "k" && shown.json["value"] as? String == #"{"n":2}"#)
                #expect(shown.json["type"] as? String == "com.example.paid")
                let headers = shown.json["headers"] as? [[String: Any]] ?? []
                #expect(headers.compactMap { $0["name"] as? String }.contains("ce_specversion"))

                let bytes = try await self.id(platform, "not_a_cloudevent", admin)
                let raw = try await platform.send(.GET, self.url(platform, "/\(bytes)"), token: admin)
                #expect(raw.json["key"] == nil && raw.json["key_base64"] as? String == "AP8=")
                let header = (raw.json["headers"] as? [[String: Any]])?.first ?? [:]
                #expect(header["name"] as? String == "n" && header["value_base64"] as? String == "/w==")

                for path in ["/\(UUID().uuidString.lowercased())", "/nothing", "/\(conflict)x"] {
                    for (method, end) in [(HTTPMethod.GET, ""), (.POST, "/replay"), (.POST, "/discard")] {
                        let answer = try await platform.send(method, self.url(platform, path + end), token: admin)
                        #expect(answer.status == 404, "\(method) \(path)\(end)")
                    }
                }
            }
        }

        // MARK: - What is done about them

        @Test(
            "one that fails again says why and stays; mended, it is handled, once, and the timeline says by whom",
            .timeLimit(.minutes(3)))
        func replay() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                try await self.putAside(platform)
                let id = try await self.id(platform, "id_conflict", admin)
                func replay(_ json: String?) async throws -> TestPlatform.Answer {
                    try await platform.send(.POST, self.url(platform, "/\(id)/replay"), token: admin, json: json)
                }
                func letter() async throws -> [String: Any] {
                    let answer = try await platform.send(.GET, self.url(platform, "/\(id)"), token: admin)
                    return answer.json
                }
                #expect(try await replay(#"{"dry_run":"yes"}"#).status == 422)
                for (json, isDry, replays) in [(#"{"dry_run":true}"#, true, 0), (nil, false, 1)]
                    as [(String?, Bool, Int)]
                {
                    let failed = try await replay(json)
                    #expect(failed.status == 200)
                    #expect(failed.json["outcome"] as? String == "failed" && failed.json["dry_run"] as? Bool == isDry)
                    #expect(failed.json["reason"] as? String == "id_conflict")
                    #expect(try await letter()["replays"] as? Int == replays)
                    #expect(try await letter()["state"] as? String == "new")
                }

                try await self.mend(platform)
                let dry = try await replay(#"{"dry_run":true}"#)
                #expect(dry.json["outcome"] as? String == "replayed" && dry.json["dry_run"] as? Bool == true)
                #expect(try await letter()["state"] as? String == "new")
                let done = try await replay(nil)
                #expect(done.json["outcome"] as? String == "replayed" && done.json["released"] as? Int == 0)
                let settled = try await letter()
                #expect(settled["state"] as? String == "replayed" && settled["replays"] as? Int == 2)
                #expect(settled["settled_at"] is String)

                let again = try await replay(nil)
                #expect(again.status == 409 && again.json["code"] as? String == "settled")
                let entries = try await platform.timeline("service=billing&order=log", atLeast: 2, token: admin)
                #expect(entries.compactMap { ($0["data"] as? [String: Any])?["n"] as? Int } == [1, 2])
                let audit = try await platform.timeline(
                    "action=activity.dead_letter.replayed&target=\(id)", atLeast: 1, token: admin)
                #expect(audit.count == 1, "the dry run, and those that failed, left nothing")
                let actor = audit.first?["actor"] as? [String: Any]
                #expect(actor?["type"] as? String == "user")
                #expect(actor?["id"] as? String == settled["settled_by"] as? String)
                let data = audit.first?["data"] as? [String: Any]
                #expect(data?["event_id"] as? String == "f-1" && data?["offset"] as? Int == 1)
            }
        }

        @Test("one that is discarded keeps its note, and the timeline says by whom", .timeLimit(.minutes(3)))
        func discard() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                try await self.putAside(platform)
                let id = try await self.id(platform, "unsupported_version", admin)
                func discard(_ json: String?) async throws -> TestPlatform.Answer {
                    try await platform.send(.POST, self.url(platform, "/\(id)/discard"), token: admin, json: json)
                }
                #expect(try await discard(#"{"note":""}"#).status == 422)
                let done = try await discard(#"{"note":"nobody sends this any more"}"#)
                #expect(done.status == 200)
                #expect(done.json["state"] as? String == "discarded")
                #expect(done.json["note"] as? String == "nobody sends this any more")
                for end in ["discard", "replay"] {
                    let again = try await platform.send(.POST, self.url(platform, "/\(id)/\(end)"), token: admin)
                    #expect(again.status == 409 && again.json["code"] as? String == "settled", "\(end)")
                }
                let audit = try await platform.timeline(
                    "action=activity.dead_letter.discarded&target=\(id)", atLeast: 1, token: admin)
                #expect(audit.count == 1)
                let actor = audit.first?["actor"] as? [String: Any]
                #expect(actor?["id"] as? String == done.json["settled_by"] as? String)
                #expect(try await self.letters(platform, "?state=new", admin).count == 2, "the others are as they were")
            }
        }

        // MARK: - The trace

        @Test(
            "handling a dead letter again is part of the request's trace, and links to the event's own",
            .timeLimit(.minutes(3)))
        func trace() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                try await self.putAside(platform)
                let id = try await self.id(platform, "id_conflict", admin)
                try await self.mend(platform)
                let answer = try await platform.send(
                    .POST, self.url(platform, "/\(id)/replay"), token: admin,
                    headers: ["traceparent": "00-\(Self.requestTrace)-b7ad6b7169203331-01"])
                #expect(answer.json["outcome"] as? String == "replayed")
                try await platform.expectTrace {
                    server("POST /v1/dead-letters/{id}/replay") {
                        client("SELECT dead_letter")
                        client("UPDATE dead_letter")
                        consumer("replay foreign.events.v1")
                            .with("messaging.operation.name", "replay")
                            .with("messaging.consumer.group.name", "activity")
                            .with("messaging.kafka.offset", 1).with("lantern.dead_letter.id", id).failed(false)
                        producer("create activity.events.v1") {
                            client("INSERT outbox")
                            consumer("process activity.events.v1") { span("store timeline entry") }
                        }
                        client("COMMIT")
                    }
                    .with("http.response.status_code", 200).failed(false)
                }
                let spans = platform.activity.spans(of: Self.requestTrace)
                let replay = try #require(spans.first { $0.name == "replay foreign.events.v1" })
                #expect(replay.linkedContexts.map(\.traceID.description) == [Self.eventTrace])
                #expect(replay.linkedContexts.map(\.spanID.description) == [Self.eventSpan])
                // What it is stored by is in the event's own trace, as at the first time.
                let stored: FinishedSpan? = try await eventually {
                    platform.activity.spans(of: Self.eventTrace).first {
                        $0.name == "process foreign.events.v1" && $0.start >= replay.start
                    }
                }
                #expect(stored?.parent?.spanID.description == Self.eventSpan)
                let entries = try await platform.timeline("service=billing&order=log", atLeast: 2, token: admin)
                #expect(entries.allSatisfy { $0["trace_id"] as? String == Self.eventTrace })
                let audit = try await platform.timeline(
                    "action=activity.dead_letter.replayed", atLeast: 1, token: admin)
                #expect(audit.first?["trace_id"] as? String == Self.requestTrace)
            }
        }
    }
}
