public import AsyncHTTPClient
import CZlib
import NIOCore
import NIOHTTP1
import SwiftProtobuf
import Tracing

/// Posts spans to an OpenTelemetry collector: OTLP over HTTP with binary protobuf (OTLP 1.x, `/v1/traces`).
public struct OTLPExporter: SpanExporter {
    /// Where and how to post.
    public struct Endpoint: Sendable {
        /// The whole URL, path included.
        public var url: String
        public var headers: [(name: String, value: String)]
        public var timeout: Duration
        public var gzip: Bool

        public init(
            url: String, headers: [(name: String, value: String)] = [], timeout: Duration = .seconds(10),
            gzip: Bool = false
        ) {
            self.url = url
            self.headers = headers
            self.timeout = timeout
            self.gzip = gzip
        }
    }

    private let endpoint: Endpoint
    private let resource: [(String, String)]
    private let client: HTTPClient

    /// - Parameters:
    ///   - resource: Attributes of the process, `service.name` among them.
    ///   - client: Used, never shut down, by this exporter. Its tracer must be `nil`, or each export makes a span to export.
    public init(endpoint: Endpoint, resource: [(String, String)], client: HTTPClient) {
        self.endpoint = endpoint
        self.resource = resource
        self.client = client
    }

    /// One attempt within the endpoint's time limit.
    /// - Throws: ``OTLPError`` when the collector refuses, or the client's error when it cannot be reached.
    public func export(_ spans: [FinishedSpan]) async throws {
        var request = HTTPClientRequest(url: self.endpoint.url)
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/x-protobuf")
        for header in self.endpoint.headers { request.headers.add(name: header.name, value: header.value) }
        var body: [UInt8] = try OTLPEncoding.request(spans, resource: self.resource).serializedBytes()
        if self.endpoint.gzip {
            body = Self.compress(body)
            request.headers.add(name: "content-encoding", value: "gzip")
        }
        request.body = .bytes(ByteBuffer(bytes: body))
        let nanoseconds =
            self.endpoint.timeout.components.seconds * 1_000_000_000
            + self.endpoint.timeout.components.attoseconds / 1_000_000_000
        let response = try await self.client.execute(request, timeout: .nanoseconds(nanoseconds))
        let answer = try await response.body.collect(upTo: 1 << 20)
        guard (200..<300).contains(response.status.code) else {
            throw OTLPError(code: .refused, message: "collector answered \(response.status.code)")
        }
        let decoded = try? OTLPExportTraceServiceResponse(serializedBytes: Array(answer.readableBytesView))
        if let rejected = decoded?.partialSuccess.rejectedSpans, rejected > 0 {
            throw OTLPError(code: .partiallyRejected, message: "collector rejected \(rejected) of \(spans.count) spans")
        }
    }

    private static func compress(_ bytes: [UInt8]) -> [UInt8] {
        let bound = lantern_gzip_bound(bytes.count)
        return [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            count = bytes.withUnsafeBufferPointer { input in
                lantern_gzip(input.baseAddress, input.count, output.baseAddress, bound, 5)
            }
        }
    }
}

/// Why a collector did not take spans.
public struct OTLPError: Error, CustomStringConvertible {
    public enum Code: String, Sendable {
        case refused
        case partiallyRejected = "partially_rejected"
    }

    public var code: Code
    public var message: String

    public var description: String { self.message }
}
