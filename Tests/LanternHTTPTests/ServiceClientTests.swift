import AsyncHTTPClient
import CoreMetrics
import Glibc
import HTTPTypes
import Hummingbird
import LanternHTTP
import LanternMetrics
import LanternTracing
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization
import Testing
import Tracing

/// What arrived at a server, in order.
private final class Arrivals: Sendable {
    private let heads = Mutex<[HTTPRequest]>([])

    var all: [HTTPRequest] { self.heads.withLock { $0 } }

    func add(_ head: HTTPRequest) {
        self.heads.withLock { $0.append(head) }
    }
}

/// A port on loopback that is taken, and on which nobody listens: whoever connects is refused, and nobody else gets it.
private final class SilentPort: Sendable {
    let number: Int
    private let descriptor: Int32

    /// - Parameter listening: Connections are made then, and nothing on them is ever answered.
    init(listening: Bool = false) throws {
        let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                Glibc.bind(descriptor, generic, length) == 0 && Glibc.getsockname(descriptor, generic, &length) == 0
                    && (!listening || Glibc.listen(descriptor, 16) == 0)
            }
        }
        try #require(bound, "no port on loopback")
        self.descriptor = descriptor
        self.number = Int(UInt16(bigEndian: address.sin_port))
    }

    func close() { Glibc.close(self.descriptor) }
}

@Suite("Calls to other services")
struct ServiceClientTests {
    private let arrivals = Arrivals()
    private let spans = InMemorySpanProcessor()
    private let registry = MetricsRegistry()

    private static let logger = {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }()

    // MARK: - Both ends

    private func withClient(_ body: @Sendable (HTTPClient) async throws -> Void) async throws {
        var configuration = HTTPClient.Configuration()
        configuration.tracing.tracer = nil
        // A refusal is told at once, not tried again until the time is over.
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(configuration: configuration)
        do {
            try await body(client)
        } catch {
            try? await client.shutdown()
            throw error
        }
        try await client.shutdown()
    }

    /// Runs a server on loopback that answers `GET /v1/orders` with 200, everything else with 404.
    private func withServer(_ body: @Sendable (_ port: Int, _ client: HTTPClient) async throws -> Void) async throws {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let arrivals = self.arrivals
        let router = Router()
        router.get("/v1/orders") { request, _ -> HTTPResponse.Status in
            arrivals.add(request.head)
            return .ok
        }
        let server = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in _ = listening.yield(channel.localAddress?.port ?? 0) },
            logger: Self.logger
        )
        let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: Self.logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                // A server that could not start has no port to wait for.
                defer { listening.finish() }
                try await group.run()
            }
            let first = await ports.first { _ in true }
            do {
                let port = try #require(first, "the server did not start")
                try await self.withClient { client in try await body(port, client) }
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// Makes a call as a service does: while it handles a request, with a tracer and metrics of its own.
    /// - Returns: The status, and the span that surrounded the call.
    private func call(
        _ client: HTTPClient, _ request: HTTPClientRequest, timeout: Duration = .seconds(30)
    ) async throws -> (status: Int, surrounding: SpanContext) {
        let tracer = LanternTracer(sampler: .alwaysOn, processor: self.spans)
        let surrounding = tracer.startSpan("handle", context: .topLevel, ofKind: .server)
        defer { surrounding.end() }
        let response = try await InstrumentationContext.withValue(surrounding.context) {
            try await withMetricsFactory(self.registry) {
                try await withTracer(tracer) {
                    try await ServiceClient(client: client).execute(request, timeout: timeout)
                }
            }
        }
        _ = try await response.body.collect(upTo: 1 << 16)
        return (Int(response.status.code), surrounding.spanContext)
    }

    // MARK: - What was said of it

    /// The only client span that ended.
    private func clientSpan() throws -> FinishedSpan {
        let spans = self.spans.spans.filter { $0.kind == .client }
        #expect(spans.count == 1)
        return try #require(spans.first)
    }

    /// The samples of the histogram with this suffix, without their name: `{http_request_method="GET",…} 1`.
    private func samples(_ suffix: String) async -> [String] {
        let name = "http_client_request_duration_seconds_\(suffix)"
        return String(decoding: await self.registry.exposition(), as: UTF8.self).split(separator: "\n")
            .filter { $0.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
    }

    // MARK: - Tests

    @Test("a request carries its trace, and the client span as its parent", .timeLimit(.minutes(1)))
    func propagation() async throws {
        try await self.withServer { port, client in
            let request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/orders")
            let (status, surrounding) = try await self.call(client, request)
            #expect(status == 200)
            let span = try self.clientSpan()
            #expect(span.parent == surrounding)
            #expect(span.context.spanID != surrounding.spanID)
            let name = try #require(HTTPField.Name("traceparent"))
            #expect(self.arrivals.all.count == 1)
            let values = try #require(self.arrivals.all.first).headerFields[values: name]
            #expect(values.count == 1)
            let parts = try #require(values.first).split(separator: "-").map { String($0) }
            try #require(parts.count == 4)
            #expect(parts[1] == surrounding.traceID.description)
            #expect(parts[2] == span.context.spanID.description)
        }
    }

    @Test("a traceparent that the request had already is replaced, not doubled", .timeLimit(.minutes(1)))
    func staleTraceparent() async throws {
        try await self.withServer { port, client in
            var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/orders")
            request.headers.add(
                name: "Traceparent", value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            )
            _ = try await self.call(client, request)
            let name = try #require(HTTPField.Name("traceparent"))
            let values = try #require(self.arrivals.all.first).headerFields[values: name]
            let span = try self.clientSpan()
            #expect(values == [TraceContext.traceparent(span.context)])
        }
    }

    @Test("a call is a client span that shows the target, but no query, user or password", .timeLimit(.minutes(1)))
    func span() async throws {
        try await self.withServer { port, client in
            let request = HTTPClientRequest(url: "http://ada:s3cret@127.0.0.1:\(port)/v1/orders?token=s3cret")
            let (status, _) = try await self.call(client, request)
            #expect(status == 200)
            // It is hidden from telemetry only.
            #expect(self.arrivals.all.first?.path == "/v1/orders?token=s3cret")

            let span = try self.clientSpan()
            #expect(span.name == "GET")
            #expect(span.attributes.get("http.request.method") == SpanAttribute.string("GET"))
            #expect(span.attributes.get("http.request.method_original") == nil)
            #expect(span.attributes.get("server.address") == SpanAttribute.string("127.0.0.1"))
            #expect(span.attributes.get("server.port") == SpanAttribute.int64(Int64(port)))
            #expect(
                span.attributes.get("url.full") == SpanAttribute.string("http://127.0.0.1:\(port)/v1/orders")
            )
            #expect(span.attributes.get("http.response.status_code") == SpanAttribute.int64(200))
            #expect(span.attributes.get("error.type") == nil)
            #expect(span.status == nil)
            var texts: [String] = []
            span.attributes.forEach { _, value in texts.append("\(value)") }
            #expect(!texts.contains { $0.contains("s3cret") || $0.contains("ada") })
        }
    }

    @Test("a status of 404 is an answer, and an error of the span and of the measurement", .timeLimit(.minutes(1)))
    func notFound() async throws {
        try await self.withServer { port, client in
            let request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/nothing")
            let (status, _) = try await self.call(client, request)
            #expect(status == 404)
            let span = try self.clientSpan()
            #expect(span.status == SpanStatus(code: .error))
            #expect(span.attributes.get("error.type") == SpanAttribute.string("404"))
            #expect(span.attributes.get("http.response.status_code") == SpanAttribute.int64(404))
            // Nothing was thrown, so nothing is recorded as an exception.
            #expect(span.events.isEmpty)
            let labels =
                #"{error_type="404",http_request_method="GET","#
                + #"http_response_status_code="404",server_address="127.0.0.1"}"#
            #expect(await self.samples("count") == ["\(labels) 1"])
        }
    }

    /// Expects a client span and a measurement, both failed in this way.
    private func expectFailure(_ type: String, address: String = "127.0.0.1") async throws {
        let span = try self.clientSpan()
        #expect(span.status == SpanStatus(code: .error))
        #expect(span.attributes.get("error.type") == SpanAttribute.string(type))
        #expect(span.attributes.get("http.response.status_code") == nil)
        let labels = #"{error_type="\#(type)",http_request_method="GET",server_address="\#(address)"}"#
        #expect(await self.samples("count") == ["\(labels) 1"])
    }

    // NIO looks up 127.1 as it does a name, and then throws an error of another type.
    @Test(
        "where nobody listens the call throws, and is unreachable", .timeLimit(.minutes(1)),
        arguments: ["127.0.0.1", "127.1"]
    )
    func refused(host: String) async throws {
        let port = try SilentPort()
        defer { port.close() }
        let url = "http://\(host):\(port.number)/v1/orders"
        try await self.withClient { client in
            await #expect(throws: (any Error).self) { try await self.call(client, HTTPClientRequest(url: url)) }
            try await self.expectFailure("unreachable", address: host)
        }
    }

    @Test(
        "where no answer comes in time the call throws, and is a timeout", .timeLimit(.minutes(1)),
        arguments: [.milliseconds(20), .zero, .seconds(-1), .seconds(Int64.min)] as [Duration]
    )
    func timeout(limit: Duration) async throws {
        let port = try SilentPort(listening: true)
        defer { port.close() }
        let url = "http://127.0.0.1:\(port.number)/v1/orders"
        try await self.withClient { client in
            await #expect(throws: HTTPClientError.deadlineExceeded) {
                try await self.call(client, HTTPClientRequest(url: url), timeout: limit)
            }
            try await self.expectFailure("timeout")
        }
    }

    @Test("no time limit is too long", .timeLimit(.minutes(1)))
    func patience() async throws {
        try await self.withServer { port, client in
            let request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/orders")
            let (status, _) = try await self.call(client, request, timeout: .seconds(Int64.max))
            #expect(status == 200)
        }
    }

    @Test("a call whose task is cancelled throws, and is cancelled", .timeLimit(.minutes(1)))
    func cancelled() async throws {
        let port = try SilentPort(listening: true)
        defer { port.close() }
        let url = "http://127.0.0.1:\(port.number)/v1/orders"
        try await self.withClient { client in
            let call = Task { try await self.call(client, HTTPClientRequest(url: url), timeout: .seconds(600)) }
            call.cancel()
            await #expect(throws: CancellationError.self) { try await call.value }
            try await self.expectFailure("cancelled")
        }
    }

    @Test("a method that the conventions do not know is named in an attribute only", .timeLimit(.minutes(1)))
    func unknownMethod() async throws {
        try await self.withServer { port, client in
            var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/orders")
            request.method = .PROPFIND
            let (status, _) = try await self.call(client, request)
            #expect(status == 404)
            let span = try self.clientSpan()
            #expect(span.name == "HTTP")
            #expect(span.attributes.get("http.request.method") == SpanAttribute.string("_OTHER"))
            #expect(span.attributes.get("http.request.method_original") == SpanAttribute.string("PROPFIND"))
            let labels =
                #"{error_type="404",http_request_method="_OTHER","#
                + #"http_response_status_code="404",server_address="127.0.0.1"}"#
            #expect(await self.samples("count") == ["\(labels) 1"])
        }
    }

    @Test("of a URL whose parts cannot be told apart only the scheme is shown", .timeLimit(.minutes(1)))
    func unclearTarget() async throws {
        try await self.withClient { client in
            let request = HTTPClientRequest(url: "http://ada:s3/cret@127.0.0.1/v1/orders")
            // No time: what it is sent to, if anything, does not matter.
            await #expect(throws: (any Error).self) { try await self.call(client, request, timeout: .zero) }
            let span = try self.clientSpan()
            #expect(span.attributes.get("url.full") == SpanAttribute.string("http://"))
            #expect(span.attributes.get("server.address") == nil)
            #expect(span.attributes.get("server.port") == nil)
            #expect(await self.samples("count").count == 1)
            #expect(await !self.samples("count").contains { $0.contains("server_address") })
        }
    }

    @Test("calls are measured in seconds, by method, address and status, and not by path", .timeLimit(.minutes(1)))
    func measurement() async throws {
        try await self.withServer { port, client in
            let start = ContinuousClock.now
            for number in 0..<3 {
                let request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/orders?after=\(number)")
                _ = try await self.call(client, request)
            }
            let elapsed = start.duration(to: .now) / Duration.seconds(1)
            let found = #"{http_request_method="GET",http_response_status_code="200",server_address="127.0.0.1"}"#
            #expect(await self.samples("count") == ["\(found) 3"])
            let text = try #require(await self.samples("sum").first?.split(separator: " ").last)
            let sum = try #require(Double(text))
            #expect(sum > 0)
            #expect(sum <= elapsed)

            var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)/v1/orders")
            request.method = .POST
            _ = try await self.call(client, request)
            let refused =
                #"{error_type="404",http_request_method="POST","#
                + #"http_response_status_code="404",server_address="127.0.0.1"}"#
            #expect(Set(await self.samples("count")) == ["\(found) 3", "\(refused) 1"])
        }
    }
}
