import Foundation
import Lantern
import LanternTracing
import TestSupport
import Testing
import Tracing

extension PlatformTests {
    /// Contexts of others: what is taken over, and what is passed on.
    @Suite("Trace context that comes from elsewhere")
    struct CarriedTraceTests {
        private func foreign(_ name: String, _ headers: [(String, String)]) -> KafkaRecord {
            let own = [
                ("ce_specversion", "1.0"), ("ce_id", name), ("ce_source", "https://example.com/billing"),
                ("ce_type", "com.example.\(name)"),
            ]
            return KafkaRecord(
                topic: "foreign.events.v1", partition: 0, key: Array("k".utf8), value: Array(#"{"n":1}"#.utf8),
                headers: (own + headers).map { KafkaHeader($0.0, $0.1) }
            )
        }

        /// A context of another language's tracer: ids and header.
        private static func context() -> (trace: String, span: String, traceparent: String) {
            let hexadecimal = UUID().uuidString.lowercased().replacing("-", with: "")
            return (hexadecimal, String(hexadecimal.prefix(16)), "00-\(hexadecimal)-\(hexadecimal.prefix(16))-01")
        }

        @Test(
            "a producer of another language continues its trace with either header, and needs none to be on the timeline",
            .timeLimit(.minutes(3)))
        func otherLanguage() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let bare = Self.context()
                let extended = Self.context()
                try await platform.produce([
                    self.foreign("bare", [("traceparent", bare.traceparent)]),
                    self.foreign("extended", [("ce_traceparent", extended.traceparent)]),
                    self.foreign("none", []),
                ])
                let entries = try await platform.timeline("service=billing&order=log", atLeast: 3, token: admin)
                #expect(
                    entries.map { $0["action"] as? String }
                        == ["com.example.bare", "com.example.extended", "com.example.none"])
                #expect(entries.map { $0["trace_id"] as? String } == [bare.trace, extended.trace, nil])
                #expect(entries.map { $0["span_id"] as? String } == [bare.span, extended.span, nil])
                #expect(try await platform.deadLetterReasons().isEmpty)
                for context in [bare, extended] {
                    let process = try #require(
                        try await eventually {
                            platform.activity.spans(of: context.trace).first { $0.name == "process foreign.events.v1" }
                        }
                    )
                    #expect(process.parent?.spanID.description == context.span)
                    #expect(process.linkedContexts.map(\.spanID.description) == [context.span])
                }
            }
        }

        @Test("where both headers are there and differ, entry and span agree on one of them", .timeLimit(.minutes(3)))
        func bothHeaders() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let bare = Self.context()
                let extended = Self.context()
                try await platform.produce([
                    self.foreign(
                        "both", [("ce_traceparent", extended.traceparent), ("traceparent", bare.traceparent)])
                ])
                let entries = try await platform.timeline("service=billing", atLeast: 1, token: admin)
                let process = try #require(
                    try await eventually {
                        platform.activity.spans.spans.first { $0.name == "process foreign.events.v1" }
                    }
                )
                #expect(entries.first?["trace_id"] as? String == process.context.traceID.description)
            }
        }

        /// What an order carries as baggage of a request's `tenant=acme,secret=…`: its row in the outbox, and its record.
        private func carriedBaggage(_ platform: TestPlatform) async throws -> (row: String?, record: KafkaRecord) {
            let product = try await platform.product(stock: 5, admin: try await platform.admin())
            let order = try await platform.place(
                product, token: try await platform.customer().token,
                headers: ["baggage": "tenant=acme,secret=x-not-to-leave"]
            ).string("id")
            let row = try await platform.withDatabase(of: platform.order) { database in
                let rows = try await database.query("SELECT baggage FROM outbox WHERE key = \(order)")
                let row = try #require(rows.first)
                return try row("baggage", as: String?.self)
            }
            let key = Array(order.utf8)
            return (row, try #require(try await platform.record(on: "order.events.v1") { $0.key == key }))
        }

        /// All headers of a record, to be searched.
        private func text(_ record: KafkaRecord) -> String {
            record.headers.map { "\($0.name): \(String(decoding: $0.value ?? [], as: UTF8.self))" }
                .joined(separator: "\n")
        }

        @Test(
            "of a request's baggage the allowed key leaves, by row and by record, and no other",
            .timeLimit(.minutes(3)))
        func allowedBaggage() async throws {
            try await TestPlatform.run(environment: ["LANTERN_BAGGAGE_ALLOW": "tenant"]) { platform in
                let (row, record) = try await self.carriedBaggage(platform)
                #expect(row == "tenant=acme")
                let headers = record.headers.filter { $0.name == "baggage" }
                #expect(headers == [KafkaHeader("baggage", "tenant=acme")])
                #expect(!self.text(record).contains("x-not-to-leave"))
            }
        }

        @Test("where no key is allowed, no baggage leaves", .timeLimit(.minutes(3)))
        func noBaggage() async throws {
            try await TestPlatform.run { platform in
                let (row, record) = try await self.carriedBaggage(platform)
                #expect(row == nil)
                #expect(!record.headers.contains { $0.name == "baggage" })
                let text = self.text(record)
                #expect(!text.contains("acme"))
                #expect(!text.contains("x-not-to-leave"))
                #expect(text.contains("ce_traceparent: 00-"), "the trace itself goes along")
            }
        }

        @Test("a tracestate of 32 long members comes through, and does not cost the entry", .timeLimit(.minutes(3)))
        func longTracestate() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let product = try await platform.product(stock: 5, admin: admin)
                let context = Self.context()
                // A key of 43 characters, a value of 256, which is the most.
                let tracestate = (10..<42).map { number in
                    "vendor\(number)" + String(repeating: "x", count: 35) + "=" + String(repeating: "v", count: 256)
                }.joined(separator: ",")
                #expect(tracestate.utf8.count == 32 * 300 + 31)
                let placed = try await platform.place(
                    product, token: try await platform.customer().token,
                    headers: ["traceparent": context.traceparent, "tracestate": tracestate]
                )
                #expect(placed.status == 201)
                let order = try placed.string("id")
                let entries = try await platform.timeline("trace_id=\(context.trace)", atLeast: 1, token: admin)
                #expect(entries.first?["action"] as? String == "order.order.placed")
                #expect((entries.first?["target"] as? [String: Any])?["id"] as? String == order)
                #expect(try await platform.deadLetterReasons().isEmpty)
                // What handled it had it whole, so it was whole on all the way there.
                let process = try #require(
                    try await eventually {
                        platform.activity.spans(of: context.trace).first { $0.name == "process order.events.v1" }
                    }
                )
                #expect(process.context.traceState == tracestate)
                let key = Array(order.utf8)
                let record = try #require(try await platform.record(on: "order.events.v1") { $0.key == key })
                #expect(record.header("ce_tracestate") == tracestate)
                #expect(record.header("tracestate") == tracestate)
            }
        }
    }
}
