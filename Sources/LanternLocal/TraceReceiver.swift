import Foundation
import HTTPTypes
import Hummingbird
import LanternTracing
import Logging
import NIOCore
public import ServiceLifecycle
import Synchronization

/// A small trace store for development: takes OTLP/HTTP, keeps the newest spans in memory, and gives them by trace.
///
/// `POST /v1/traces` takes spans; `GET /traces/{id}` answers those of a trace, and those of others that link to it.
public final class TraceReceiver: Service {
    private let port: Int
    private let kept: Mutex<[ReceivedSpan]>
    private static let limit = 50_000

    public init(port: Int) {
        self.port = port
        self.kept = Mutex([])
    }

    public func run() async throws {
        let router = Router()
        router.post("/v1/traces") { request, _ in
            let body = try await request.body.collect(upTo: 8 << 20)
            let spans = try OTLPReceiver.spans(in: Array(body.readableBytesView))
            self.kept.withLock { kept in
                kept.append(contentsOf: spans)
                if kept.count > Self.limit { kept.removeFirst(kept.count - Self.limit) }
            }
            return Response(status: .ok, headers: [.contentType: "application/x-protobuf"])
        }
        router.get("/traces/{id}") { _, context in
            let id = context.parameters.get("id") ?? ""
            let spans = self.kept.withLock { $0 }.filter { span in
                span.traceID == id || span.links.contains { $0.traceID == id }
            }
            return Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: try JSONEncoder().encode(spans)))
            )
        }
        var logger = Logger(label: "traces")
        // It is cancelled at the end, which Hummingbird calls an error.
        logger.logLevel = .critical
        try await Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: self.port)), logger: logger
        ).run()
    }
}
