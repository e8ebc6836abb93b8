import LanternMetricsTesting
import Foundation
import Lantern
import LanternKafkaTesting
import LanternLogging
import LanternPostgres
import LanternTracing
import Logging
import NIOHTTP1
import Testing
import TestSupport
import Tracing

@Suite("The whole platform in one process", .serialized)
struct PlatformTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    private func database(_ url: String) -> PostgresClient {
        PostgresClient(
            configuration: PostgresConfiguration(url: url, applicationName: "test"), logger: Logger(label: "test"))
    }

    @Test(
        "one trace runs from the request to the timeline, and each service's telemetry is its own",
        .timeLimit(.minutes(3)))
    func oneTrace() async throws {
        try await TestPlatform.run { platform in
            let admin = try await platform.admin()
            let customer = try await platform.customer()
            let product = try await platform.product(stock: 5, admin: admin)
            let placed = try await platform.place(
                product, token: customer.token, headers: ["traceparent": "00-\(Self.trace)-00f067aa0ba902b7-01"]
            )
            #expect(placed.status == 201)
            let response = try #require(placed.headers.first(name: "traceresponse"))
            #expect(response.hasPrefix("00-\(Self.trace)-"))
            let order = try placed.string("id")

            // The timeline entry.
            let entries = try await platform.timeline("trace_id=\(Self.trace)", atLeast: 1, token: admin)
            let entry = try #require(entries.first)
            #expect(entry["action"] as? String == "order.order.placed")
            #expect((entry["target"] as? [String: Any])?["id"] as? String == order)
            #expect((entry["actor"] as? [String: Any])?["id"] as? String == customer.id)
            #expect(entry["service"] as? String == "order")

            // The access log line, in order only.
            let lines = platform.order.lines(of: Self.trace)
            let access = try #require(lines.first { $0["message"] as? String == "request" })
            #expect(access["http.route"] as? String == "/v1/orders")
            #expect(access["http.response.status_code"] as? Int == 201)
            #expect(access["service"] as? String == "order")
            #expect(platform.auth.lines(of: Self.trace).isEmpty)

            // The outbox row.
            let database = self.database(platform.order.database)
            let rows = try await database.query("SELECT traceparent, sequence FROM outbox WHERE key = \(order)")
            let row = try #require(rows.first)
            let traceparent = try row("traceparent", as: String.self)
            #expect(traceparent.hasPrefix("00-\(Self.trace)-"))
            #expect(try row("sequence", as: Int64?.self) != nil)
            database.close()

            // The spans, by service.
            let create = try #require(
                platform.order.spans(of: Self.trace).first { $0.name == "create order.events.v1" })
            #expect(traceparent.contains(create.context.spanID.description))
            let server = try #require(platform.order.spans(of: Self.trace).first { $0.kind == .server })
            #expect(server.name == "POST /v1/orders")
            #expect(server.parent?.spanID.description == "00f067aa0ba902b7")
            #expect(create.parent?.spanID == server.context.spanID)
            let process = try #require(
                try await eventually {
                    platform.activity.spans(of: Self.trace).first { $0.name == "process order.events.v1" }
                }
            )
            #expect(process.parent?.spanID == create.context.spanID)
            #expect(process.linkedContexts.contains { $0.spanID == create.context.spanID })
            let send = try await eventually {
                platform.order.spans.spans.first { span in
                    span.name == "send order.events.v1"
                        && span.linkedContexts.contains { $0.spanID == create.context.spanID }
                }
            }
            #expect(send != nil)
            #expect(platform.auth.spans(of: Self.trace).isEmpty)

            // The metrics, by service.
            let duration = "http_server_request_duration_seconds"
            try await platform.order.snapshot().expectHistogram(
                duration,
                [
                    "http_request_method": "POST", "http_response_status_code": "201", "http_route": "/v1/orders",
                    "url_scheme": "http",
                ],
                count: 1
            )
            try await platform.auth.snapshot().expectNone(duration + "_count", ["http_route": "/v1/orders"])
            let visible = "lantern_event_visible_seconds_count"
            try await #expect(!platform.activity.snapshot().samples(visible).isEmpty)
            try await platform.order.snapshot().expectNone(visible)
        }
    }

    @Test("sources are complete: what was announced is what is held", .timeLimit(.minutes(3)))
    func completeness() async throws {
        try await TestPlatform.run { platform in
            let admin = try await platform.admin()
            let customer = try await platform.customer()
            let product = try await platform.product(stock: 100, admin: admin)
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<30 { group.addTask { try await platform.place(product, token: customer.token).status } }
                for try await status in group { #expect(status == 201) }
            }
            _ = try await platform.timeline("action=order.order.placed&limit=200", atLeast: 30, token: admin)
            let complete = try await eventually { () -> Bool? in
                let sources = try await platform.send(.GET, "\(platform.activity.url)/v1/sources", token: admin).list
                let order = sources.first { $0["source"] as? String == "/services/order" }
                // One product and thirty orders.
                return order?["head_announced"] as? Int == 31 && order?["head_contiguous"] as? Int == 31
                    && order?["gaps"] as? Int == 0 ? true : nil
            }
            #expect(complete == true)
        }
    }

    @Test("a relay that forgets what it published sends again, and nothing is doubled", .timeLimit(.minutes(3)))
    func resend() async throws {
        try await TestPlatform.run { platform in
            let admin = try await platform.admin()
            let product = try await platform.product(stock: 100, admin: admin)
            let customer = try await platform.customer()
            for _ in 0..<5 { _ = try await platform.place(product, token: customer.token) }
            _ = try await platform.timeline("action=order.order.placed", atLeast: 5, token: admin)
            // As if the relay had died between publishing and marking: the watermark is behind, and another one leads.
            let database = self.database(platform.order.database)
            try await database.query("UPDATE outbox_head SET published_through = 1, leader_term = leader_term + 1")
            let dropped = try await eventually { () -> Int? in
                let sources = try await platform.send(.GET, "\(platform.activity.url)/v1/sources", token: admin).list
                let order = sources.first { $0["source"] as? String == "/services/order" }
                let count = order?["duplicates_dropped"] as? Int ?? 0
                return count >= 5 ? count : nil
            }
            #expect(dropped == 5)
            let entries = try await platform.timeline("action=order.order.placed&limit=200", atLeast: 5, token: admin)
            #expect(entries.count == 5)
            database.close()
        }
    }

    @Test("the reservations of a user who is disabled are released, once", .timeLimit(.minutes(3)))
    func disabledUser() async throws {
        try await TestPlatform.run { platform in
            let admin = try await platform.admin()
            let customer = try await platform.customer()
            let product = try await platform.product(stock: 5, admin: admin)
            let order = try await platform.place(product, quantity: 3, token: customer.token).string("id")
            let disabled = try await platform.send(
                .POST, "\(platform.auth.url)/v1/users/\(customer.id)/disable", token: admin)
            #expect(disabled.status == 200)
            let status = try await eventually { () -> String? in
                let answer = try await platform.send(.GET, "\(platform.order.url)/v1/orders/\(order)", token: admin)
                let status = answer.json["status"] as? String
                return status == "reserved" ? nil : status
            }
            #expect(status == "cancelled")
            let stock =
                try await platform.send(.GET, "\(platform.order.url)/v1/products/\(product)").json["stock"] as? Int
            #expect(stock == 5)
            // The release is on the timeline, done by the service, in the trace of the request that caused it.
            let entries = try await platform.timeline(
                "action=order.order.cancelled&target=\(order)", atLeast: 1, token: admin)
            #expect((entries.first?["actor"] as? [String: Any])?["id"] as? String == "order")
            let cause = try await platform.timeline(
                "action=auth.user.disabled&target=\(customer.id)", atLeast: 1, token: admin)
            #expect(cause.first?["trace_id"] as? String == entries.first?["trace_id"] as? String)
        }
    }

    @Test("a reservation expires, and its stock comes back", .timeLimit(.minutes(3)))
    func expiry() async throws {
        try await TestPlatform.run(environment: ["ORDER_RESERVATION_TTL": "1s"]) { platform in
            let admin = try await platform.admin()
            let customer = try await platform.customer()
            let product = try await platform.product(stock: 2, admin: admin)
            let order = try await platform.place(product, quantity: 2, token: customer.token).string("id")
            let entries = try await platform.timeline(
                "action=order.order.expired&target=\(order)", atLeast: 1, token: admin)
            #expect(entries.count == 1)
            let stock =
                try await platform.send(.GET, "\(platform.order.url)/v1/products/\(product)").json["stock"] as? Int
            #expect(stock == 2)
        }
    }

    @Test(
        "foreign events are on the timeline, and what cannot be understood is put aside while the rest goes on",
        .timeLimit(.minutes(3)))
    func foreignEvents() async throws {
        try await TestPlatform.run { platform in
            let admin = try await platform.admin()
            let producer = try KafkaProducer(
                configuration: KafkaConfiguration(
                    bootstrapServers: platform.broker.bootstrapServers, clientID: "foreign"),
                logger: Logger(label: "test")
            )
            func record(
                _ headers: [(String, String)], value: String = #"{"n":1}"#, topic: String = "foreign.events.v1"
            ) -> KafkaRecord {
                KafkaRecord(
                    topic: topic, partition: 0, key: Array("k".utf8), value: Array(value.utf8),
                    headers: headers.map { KafkaHeader($0.0, $0.1) }
                )
            }
            let good = [
                ("ce_specversion", "1.0"), ("ce_id", "f-1"), ("ce_source", "https://example.com/billing"),
                ("ce_type", "com.example.paid"),
            ]
            try await producer.send([
                record(good),
                record([]),
                record([("ce_specversion", "0.3"), ("ce_id", "f-2"), ("ce_source", "x"), ("ce_type", "y")]),
                record([
                    ("ce_specversion", "1.0"), ("ce_id", "f-3"), ("ce_source", "/services/order"),
                    ("ce_type", "order.order.placed.v1"),
                ]),
                record(good),
                record(good, value: #"{"n":2}"#),
                record(
                    [
                        ("ce_specversion", "1.0"), ("ce_id", "f-4"), ("ce_source", "https://example.com/billing"),
                        ("ce_type", "com.example.last"),
                    ], value: "not json"),
            ])
            let entries = try await platform.timeline("service=billing&order=log", atLeast: 2, token: admin)
            #expect(entries.map { $0["action"] as? String } == ["com.example.paid", "com.example.last"])
            #expect((entries[0]["data"] as? [String: Any])?["n"] as? Int == 1)
            #expect((entries[0]["actor"] as? [String: Any])?["type"] as? String == "unknown")
            #expect(entries[1]["data"] as? String == Data("not json".utf8).base64EncodedString())

            let database = self.database(platform.activity.database)
            let rows = try await database.query("SELECT reason, record_offset FROM dead_letter ORDER BY record_offset")
            #expect(
                try rows.map { try $0("reason", as: String.self) }
                    == ["not_a_cloudevent", "unsupported_version", "source_mismatch", "id_conflict"]
            )
            let offset = try await database.query(
                "SELECT next FROM consumer_offset WHERE topic = 'foreign.events.v1' AND partition = 0"
            )
            #expect(try offset.first?("next", as: Int64.self) == 7)
            try await platform.activity.snapshot().expectCounter(
                "lantern_dead_letters_total", ["reason": "id_conflict"], 1
            )
            database.close()
            await producer.close(deadline: .seconds(5))
        }
    }

    @Test("orders that race for the last pieces never oversell", .timeLimit(.minutes(3)))
    func race() async throws {
        try await TestPlatform.run { platform in
            let admin = try await platform.admin()
            let customer = try await platform.customer()
            let product = try await platform.product(stock: 7, admin: admin)
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<40 { group.addTask { try await platform.place(product, token: customer.token).status } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.count { $0 == 201 } == 7)
            #expect(statuses.count { $0 == 409 } == 33)
            let stock =
                try await platform.send(.GET, "\(platform.order.url)/v1/products/\(product)").json["stock"] as? Int
            #expect(stock == 0)
        }
    }
}
