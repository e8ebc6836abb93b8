import Foundation
import LanternTracing
import NIOHTTP1
import Testing
import Tracing

extension PlatformTests {
    /// Every span of a run beside the attributes that the OpenTelemetry conventions 1.44.0 require of its kind.
    @Suite("Spans and the conventions")
    struct SemanticConventionTests {
        private struct Rule: Sendable {
            var name: String
            var applies: @Sendable (FinishedSpan) -> Bool
            /// Attributes that must be there, each with a text or a number.
            var required: [String]
            /// How the span is called.
            var isNamed: @Sendable (FinishedSpan) -> Bool
        }

        private static func text(_ span: FinishedSpan, _ key: String) -> String? {
            if case .string(let value)? = span.attributes.get(key) { return value }
            return nil
        }

        private static let rules: [Rule] = [
            // HTTP server and client (stable): "HTTP server span", "HTTP client span".
            Rule(
                name: "HTTP server",
                applies: { $0.kind == .server && $0.attributes.get("http.request.method") != nil },
                required: ["http.request.method", "url.path", "url.scheme", "http.response.status_code"],
                isNamed: { span in
                    let method = Self.text(span, "http.request.method") ?? ""
                    let shown = method == "_OTHER" ? "HTTP" : method
                    return span.name == (Self.text(span, "http.route").map { "\(shown) \($0)" } ?? shown)
                }
            ),
            Rule(
                name: "HTTP client",
                applies: { $0.kind == .client && $0.attributes.get("http.request.method") != nil },
                required: ["http.request.method", "server.address", "server.port", "url.full"],
                isNamed: { Self.text($0, "http.request.method") == $0.name }
            ),
            // Database (stable): "PostgreSQL client operations".
            Rule(
                name: "database",
                applies: { $0.attributes.get("db.system.name") != nil },
                required: [
                    "db.system.name", "db.operation.name", "db.namespace", "db.query.text", "server.address",
                    "server.port",
                ],
                isNamed: { $0.kind == .client && Self.text($0, "db.query.summary") == $0.name }
            ),
            // Messaging (development), Kafka.
            Rule(
                name: "messaging",
                applies: { $0.attributes.get("messaging.system") != nil },
                required: [
                    "messaging.system", "messaging.operation.name", "messaging.operation.type",
                    "messaging.destination.name",
                ],
                isNamed: { span in
                    span.name
                        == "\(Self.text(span, "messaging.operation.name") ?? "") \(Self.text(span, "messaging.destination.name") ?? "")"
                }
            ),
        ]

        @Test("whatever a span is, it has what its kind requires, and is called as it should be")
        func required() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                let (_, token) = try await platform.customer()
                let product = try await platform.product(stock: 2, admin: admin)
                _ = try await platform.place(product, token: token)
                // Refused: no stock, no such product, no such route, no method, no token.
                _ = try await platform.send(.GET, "\(platform.order.url)/v1/orders/nonsense", token: token)
                _ = try await platform.send(.GET, "\(platform.order.url)/nowhere")
                _ = try await platform.send(.init(rawValue: "BREW"), "\(platform.order.url)/v1/products")
                _ = try await platform.send(.POST, "\(platform.order.url)/v1/orders", json: "{}")
                _ = try await platform.timeline("type=order.order.placed", atLeast: 1, token: admin)

                let spans = platform.services.flatMap(\.spans.spans)
                var seen: Set<String> = []
                for span in spans {
                    for rule in Self.rules where rule.applies(span) {
                        seen.insert(rule.name)
                        let missing = rule.required.filter { span.attributes.get($0) == nil }
                        #expect(missing.isEmpty, "\(rule.name) \"\(span.name)\" lacks \(missing)")
                        #expect(rule.isNamed(span), "\(rule.name) is called \"\(span.name)\"")
                    }
                    if span.status?.code == .error {
                        #expect(
                            span.attributes.get("error.type") != nil || span.events.contains { $0.name == "exception" },
                            "\"\(span.name)\" failed and does not say how")
                    }
                }
                // All kinds were there, or this was no test of them.
                #expect(seen == Set(Self.rules.map { $0.name }).subtracting(["HTTP client"]))
            }
        }
    }
}
