import NIOHTTP1
import AsyncHTTPClient
import Foundation
import Hummingbird
import LanternHTTP
import LanternTracing
import Logging
import NIOCore
import Tracing

/// The service that the W3C's validation of Trace Context asks for (w3c/trace-context, `test/README.md`): `POST /test` takes a
/// list of `{url, arguments}`, and posts each `arguments` to its `url`, through the platform's server and client as they are.
@main
enum TraceContextHarness {
    static func main() async throws {
        let port = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 5_000
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.tracing.tracer = nil
        let httpClient = HTTPClient(configuration: configuration)
        let tracer = LanternTracer(sampler: .parentBased(root: .alwaysOn), processor: DiscardingSpanProcessor())
        try await withTracer(tracer) {
            var logger = Logger(label: "trace-context-harness")
            logger.logLevel = .warning
            let router = Router(context: PlatformContext.self)
            router.add(middleware: TelemetryMiddleware(quiet: QuietPaths([]), logger: logger, tracer: tracer))
            let client = ServiceClient(client: httpClient)
            router.post("/test") { request, context in
                let body = try await request.body.collect(upTo: 1 << 20)
                for call in try Call.list(body) { try await call.make(client) }
                return HTTPResponse.Status.ok
            }
            let application = Application(
                router: router, configuration: .init(address: .hostname("127.0.0.1", port: port)), logger: logger
            )
            try await application.runService()
        }
        try await httpClient.shutdown()
    }
}

/// One request that the validation wants to see.
private struct Call {
    var url: String
    var arguments: Data

    static func list(_ body: ByteBuffer) throws -> [Call] {
        guard let list = try JSONSerialization.jsonObject(with: Data(body.readableBytesView)) as? [[String: Any]] else {
            throw HTTPError(.badRequest, message: "the body is a list of objects with url and arguments")
        }
        return try list.map { entry in
            guard let url = entry["url"] as? String, let arguments = entry["arguments"] else {
                throw HTTPError(.badRequest, message: "each object has url and arguments")
            }
            return Call(url: url, arguments: try JSONSerialization.data(withJSONObject: arguments))
        }
    }

    func make(_ client: ServiceClient) async throws {
        var request = HTTPClientRequest(url: self.url)
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: self.arguments))
        let response = try await client.execute(request, timeout: .seconds(5))
        for try await _ in response.body {}
    }
}
