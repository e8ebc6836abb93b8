import Foundation
import Lantern
import LanternLogging
import LanternTracing
import LanternTracingTesting
import TestSupport
import Testing
import Tracing

extension PlatformTests {
    /// Records that are tried again, and those that are put aside.
    @Suite("Traces of records that fail")
    struct FailedRecordTests {
        private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        private static let traceparent = "00-\(trace)-00f067aa0ba902b7-01"

        /// An attempt of the flaky service to handle an order.
        private func attempt() -> ExpectedSpan {
            consumer("process order.events.v1").with("messaging.consumer.group.name", FlakyService.group)
                .linked(to: "create order.events.v1")
        }

        @Test(
            "each attempt to handle a record is a span of its trace, and those that failed say so",
            .timeLimit(.minutes(3)))
        func retries() async throws {
            try await TestPlatform.run { platform in
                try await FlakyService.run(beside: platform, failing: 2) { flaky in
                    let product = try await platform.product(stock: 5, admin: try await platform.admin())
                    let placed = try await platform.place(
                        product, token: try await platform.customer().token,
                        headers: ["traceparent": Self.traceparent]
                    )
                    #expect(placed.status == 201)
                    try await platform.expectTrace(and: flaky) {
                        server("POST /v1/orders") {
                            producer("create order.events.v1") {
                                self.attempt().failed()
                                self.attempt().failed()
                                self.attempt().failed(false)
                            }
                        }
                    }
                    let attempts = FlakyService.attempts(in: flaky)
                    #expect(attempts.map { $0.context.traceID.description } == Array(repeating: Self.trace, count: 3))
                    #expect(!flaky.spans.contains { $0.name.hasPrefix("dead_letter") })
                }
            }
        }

        @Test(
            "a batch that cannot be stored is told in the trace of each of its records, as often as it is tried",
            .timeLimit(.minutes(3)))
        func batchFails() async throws {
            try await TestPlatform.run { platform in
                _ = try await platform.withDatabase(of: platform.activity) { database in
                    try await database.query("ALTER TABLE unsealed RENAME TO unsealed_away")
                }
                let product = try await platform.product(stock: 5, admin: try await platform.admin())
                let token = try await platform.customer().token
                let placed = try await platform.place(product, token: token, headers: ["traceparent": Self.traceparent])
                #expect(placed.status == 201)
                func attempt() -> ExpectedSpan {
                    consumer("process order.events.v1") { span("store timeline entry").failed() }
                        .with("messaging.consumer.group.name", "activity").with("error.type", "server")
                        .failed()
                }
                try await platform.expectTrace {
                    server("POST /v1/orders") {
                        producer("create order.events.v1") {
                            attempt(); attempt()
                        }
                    }
                }
                _ = try await platform.withDatabase(of: platform.activity) { database in
                    try await database.query("ALTER TABLE unsealed_away RENAME TO unsealed")
                }
                try await platform.expectTrace {
                    server("POST /v1/orders") {
                        producer("create order.events.v1") {
                            attempt()
                            consumer("process order.events.v1") { span("store timeline entry").failed(false) }
                                .failed(false)
                        }
                    }
                }
            }
        }

        @Test("a record that is never handled ends in its trace, with the reason", .timeLimit(.minutes(3)))
        func handlerFails() async throws {
            try await TestPlatform.run { platform in
                try await FlakyService.run(beside: platform, failing: .max) { flaky in
                    let product = try await platform.product(stock: 5, admin: try await platform.admin())
                    let placed = try await platform.place(
                        product, token: try await platform.customer().token,
                        headers: ["traceparent": Self.traceparent]
                    )
                    #expect(placed.status == 201)
                    try await platform.expectTrace(and: flaky) {
                        server("POST /v1/orders") {
                            producer("create order.events.v1") {
                                for _ in 1...5 { self.attempt().failed() }
                                consumer("dead_letter order.events.v1") { client("INSERT dead_letter") }
                                    .with("error.type", "handler_failed")
                                    .with("messaging.consumer.group.name", FlakyService.group).failed()
                                    .linked(to: "create order.events.v1")
                            }
                        }
                    }
                    let last = try #require(flaky.spans.first { $0.name == "dead_letter order.events.v1" })
                    #expect(FlakyService.attempts(in: flaky).allSatisfy { $0.end <= last.start })
                }
            }
        }

        @Test(
            "a record that no handler can read ends as a dead letter in the trace that it brought",
            .timeLimit(.minutes(3)))
        func poison() async throws {
            try await TestPlatform.run { platform in
                try await platform.produce([Self.undecodable])
                try await platform.expectTrace {
                    consumer("process auth.events.v1").with("messaging.consumer.group.name", "order.auth.user.disabled")
                        .failed()
                    consumer("dead_letter auth.events.v1") { client("INSERT dead_letter") }
                        .with("error.type", "undecodable").failed()
                }
                let last = try #require(
                    platform.order.spans.spans.first { $0.name == "dead_letter auth.events.v1" })
                #expect(last.context.traceID.description == Self.trace)
                #expect(last.parent?.spanID.description == "00f067aa0ba902b7")
            }
        }

        @Test("what is logged of a dead letter bears the trace of its record", .timeLimit(.minutes(3)))
        func poisonLine() async throws {
            try await TestPlatform.run { platform in
                try await platform.produce([Self.undecodable])
                let line = try #require(
                    try await eventually {
                        platform.order.logs.lines.first { $0.contains("put aside as dead letter") }
                    }
                )
                #expect(line.contains(Self.trace), "\(line)")
            }
        }

        /// An event that order listens to, with data that are not its.
        private static let undecodable = KafkaRecord(
            topic: "auth.events.v1", partition: 0, key: Array("k".utf8), value: Array("not json".utf8),
            headers: [
                KafkaHeader("ce_specversion", "1.0"), KafkaHeader("ce_id", "poison-1"),
                KafkaHeader("ce_source", "/services/auth"), KafkaHeader("ce_type", "auth.user.disabled.v1"),
                KafkaHeader("traceparent", traceparent),
            ]
        )

        @Test(
            "a record that activity puts aside ends as a dead letter in its trace, and not as a stored entry",
            .timeLimit(.minutes(3)))
        func poisonedTimeline() async throws {
            try await TestPlatform.run { platform in
                try await platform.produce([
                    KafkaRecord(
                        topic: "foreign.events.v1", partition: 0, value: Array("{}".utf8),
                        headers: [
                            KafkaHeader("ce_specversion", "0.3"), KafkaHeader("ce_id", "poison-2"),
                            KafkaHeader("ce_source", "x"), KafkaHeader("ce_type", "y"),
                            KafkaHeader("traceparent", Self.traceparent),
                        ]
                    )
                ])
                let reasons = try await eventually { () -> [String]? in
                    let reasons = try await platform.deadLetterReasons()
                    return reasons.isEmpty ? nil : reasons
                }
                #expect(reasons == ["unsupported_version"])
                try await platform.expectTrace {
                    // It ends after what was stored of it.
                    consumer("process foreign.events.v1")
                    consumer("dead_letter foreign.events.v1").with("error.type", "unsupported_version").failed()
                }
                let names = platform.activity.spans(of: Self.trace).map(\.name)
                #expect(names.contains("dead_letter foreign.events.v1"))
                #expect(!names.contains("store timeline entry"), "it is shown as stored")
            }
        }
    }
}
