import Foundation
import Lantern
import LanternMetricsTesting
import LanternTracing
import LanternTracingTesting
import TestSupport
import Testing
import Tracing

extension PlatformTests {
    /// What a trace looks like, from the request to the timeline, also where something fails on the way.
    @Suite("Traces across the platform")
    struct TraceCasesTests {
        private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        private static let traceparent = "00-\(trace)-00f067aa0ba902b7-01"

        @Test(
            "an order is one trace of its statements, its event and what is made of that; sending it is beside, and linked",
            .timeLimit(.minutes(3)))
        func request() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let product = try await platform.product(stock: 5, admin: admin)
                let placed = try await platform.place(
                    product, token: try await platform.customer().token, headers: ["traceparent": Self.traceparent]
                )
                #expect(placed.status == 201)
                try await platform.expectTrace {
                    server("POST /v1/orders") {
                        client("SELECT product").with("db.system.name", "postgresql").with("db.query.text", "SELECT …")
                        client("UPDATE product")
                        client("INSERT customer_order")
                        client("INSERT order_line")
                        client("INSERT order_history")
                        producer("create order.events.v1") {
                            client("INSERT outbox")
                            consumer("process order.events.v1") { span("store timeline entry") }
                                .with("messaging.consumer.group.name", "activity").failed(false)
                                .linked(to: "create order.events.v1")
                        }
                        client("COMMIT")
                    }
                    .with("http.route", "/v1/orders").with("http.response.status_code", 201).failed(false)
                    client("send order.events.v1").linked(to: "create order.events.v1")
                }
                // Among those of the trace alone are all but the sending: that is of a trace of its own.
                let ofTrace = platform.services.flatMap { $0.spans(of: Self.trace) }
                #expect(!ofTrace.contains { $0.name.hasPrefix("send ") })
                #expect(ofTrace.count { $0.name == "process order.events.v1" } == 1)
            }
        }

        @Test("a batch is one span that links to the creation of each of its records", .timeLimit(.minutes(3)))
        func batch() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let token = try await platform.customer().token
                let product = try await platform.product(stock: 100, admin: admin)
                _ = try await platform.timeline("action=order.product.created", atLeast: 1, token: admin)
                let count = 12
                // Activity waits for its offsets while the orders come; what it takes then is a batch.
                try await platform.withDatabase(of: platform.activity) { database in
                    try await database.transaction { tx in
                        try await tx.query(
                            "SELECT next FROM consumer_offset WHERE topic = 'order.events.v1' ORDER BY partition FOR UPDATE"
                        )
                        for _ in 0..<count {
                            #expect(try await platform.place(product, token: token).status == 201)
                        }
                        try await self.waitUntilPublished(platform)
                    }
                }
                _ = try await platform.timeline("action=order.order.placed", atLeast: count, token: admin)
                try await platform.expectTrace {
                    consumer("ingest batch") {
                        client("INSERT event_key")
                        client("INSERT entry")
                        client("INSERT unsealed")
                    }
                    .linked(to: "create order.events.v1")
                }
                let placed = Set(
                    platform.order.spans.spans.filter {
                        $0.attributes.get("cloudevents.event_type") == .string("order.order.placed.v1")
                    }.map(\.context.spanID)
                )
                #expect(placed.count == count)
                let batches = platform.activity.spans.spans.filter { $0.name == "ingest batch" }
                let links = batches.map { $0.linkedContexts.map(\.spanID).filter(placed.contains) }
                #expect(links.contains { $0.count > 1 }, "no batch had two orders: \(links.map(\.count))")
                #expect(links.flatMap { $0 }.count == count, "each order is linked once")
                #expect(Set(links.flatMap { $0 }) == placed)
                for batch in batches {
                    #expect(
                        batch.attributes.get("messaging.batch.message_count")
                            == .int64(Int64(batch.linkedContexts.count)))
                }
            }
        }

        private func waitUntilPublished(_ platform: TestPlatform) async throws {
            let isPublished: Bool? = try await platform.withDatabase(of: platform.order) { database in
                try await eventually {
                    let rows = try await database.query(
                        """
                        SELECT published_through = (SELECT max(sequence) FROM outbox)
                          AND NOT EXISTS (SELECT FROM outbox WHERE sequence IS NULL) AS done
                        FROM outbox_head
                        """
                    )
                    return try rows.first?("done", as: Bool.self) == true ? true : nil
                }
            }
            try #require(isPublished == true)
        }

        @Test(
            "an order's expiry is one trace, from the timer to the timeline; a timer that finds nothing leaves none",
            .timeLimit(.minutes(3)))
        func timer() async throws {
            try await TestPlatform.run(environment: ["ORDER_RESERVATION_TTL": "1s"]) { platform in
                func runs() async throws -> Double {
                    try await platform.order.snapshot().samples(
                        "db_client_operation_duration_seconds_count",
                        ["db_operation_name": "SELECT", "db_collection_name": "customer_order"]
                    ).map(\.value).reduce(0, +)
                }
                let before = try await runs()
                let looked: Bool? = try await eventually { try await runs() >= before + 2 ? true : nil }
                #expect(looked == true, "the timer did not look for orders twice")
                #expect(self.exportedInVain(platform).isEmpty)

                let admin = try await platform.admin()
                let product = try await platform.product(stock: 2, admin: admin)
                let order = try await platform.place(product, token: try await platform.customer().token).string("id")
                let entries = try await platform.timeline(
                    "action=order.order.expired&target=\(order)", atLeast: 1, token: admin)
                try await platform.expectTrace {
                    span("timer expire-reservations") {
                        client("SELECT customer_order")
                        client("UPDATE customer_order")
                        producer("create order.events.v1") {
                            consumer("process order.events.v1") { span("store timeline entry") }
                        }
                        client("COMMIT")
                    }
                    .failed(false)
                }
                let expiry = try #require(platform.order.spans.spans.first { $0.name == "timer expire-reservations" })
                #expect(entries.first?["trace_id"] as? String == expiry.context.traceID.description)
                let after = try await runs()
                _ = try await eventually { try await runs() >= after + 2 ? true : nil }
                #expect(self.exportedInVain(platform).isEmpty)
            }
        }

        /// Traces of timers that sent nothing, were quick, and did not fail.
        private func exportedInVain(_ platform: TestPlatform) -> [String] {
            let spans = platform.services.flatMap(\.spans.spans)
            return spans.filter { timer in
                guard timer.name.hasPrefix("timer "), timer.end - timer.start < 1_000_000_000 else { return false }
                return !spans.contains {
                    $0.context.traceID == timer.context.traceID && ($0.kind == .producer || $0.status?.code == .error)
                }
            }.map(\.name)
        }
    }
}
