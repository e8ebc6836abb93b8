public import AsyncHTTPClient
import CoreMetrics
import NIOCore
import NIOHTTP1
import Tracing

/// Calls other services: the trace goes along, and every call is a client span and a measurement.
///
/// The span and `http_client_request_duration_seconds` follow the OpenTelemetry conventions for HTTP clients. Paths are
/// in neither name nor label: they hold ids. Safe from any task; cancelling the task cancels the call.
public struct ServiceClient: Sendable {
    private let client: HTTPClient

    /// - Parameter client: Used, never shut down, by this one. Its own tracer must be `nil`, or it would stamp requests
    ///   a second time. Its redirect configuration should be `.disallow`: a client that follows redirects hides several
    ///   requests in one span that names the first host only, and carries the request on to hosts nobody named here.
    public init(client: HTTPClient) {
        self.client = client
    }

    /// Sends a request and answers when the head of the response is there; its body streams. Span and measurement end
    /// with the head.
    /// - Parameter timeout: Until the head is there. It does not reach the body: whoever reads that bounds it, in size
    ///   and in time. Zero or less is over at once.
    /// - Throws: The client's error where nobody answers in time. A status, whatever it is, is an answer.
    public func execute(_ request: HTTPClientRequest, timeout: Duration) async throws -> HTTPClientResponse {
        let target = HTTPTarget(request.url)
        let method = HTTPMethodName(request.method.rawValue)
        let start = ContinuousClock.now
        return try await withSpan(method.display, ofKind: .client) { span in
            span.updateAttributes { attributes in
                attributes["http.request.method"] = method.label
                attributes["http.request.method_original"] = method.original
                if !target.host.isEmpty {
                    attributes["server.address"] = target.host
                    attributes["server.port"] = target.port
                }
                // Without the query, which may hold secrets.
                attributes["url.full"] = target.withoutQuery
            }
            var request = request
            InstrumentationSystem.instrument.inject(
                span.context, into: &request.headers, using: HTTPHeadersCarrier()
            )
            do {
                // `TimeAmount` clamps what is too long for it, but makes the longest of what is too far below zero.
                let response = try await self.client.execute(request, timeout: TimeAmount(max(timeout, .zero)))
                let status = Int(response.status.code)
                span.attributes["http.response.status_code"] = status
                if status >= 400 {
                    span.attributes["error.type"] = String(status)
                    span.setStatus(SpanStatus(code: .error))
                }
                self.record(method.label, target, status: "\(status)", error: status >= 400 ? "\(status)" : "", start)
                return response
            } catch {
                let failure = CallFailure(error).rawValue
                span.attributes["error.type"] = failure
                self.record(method.label, target, status: "", error: failure, start)
                throw error
            }
        }
    }

    private func record(
        _ method: String, _ target: HTTPTarget, status: String, error: String, _ start: ContinuousClock.Instant
    ) {
        let (seconds, attoseconds) = start.duration(to: .now).components
        Timer(
            label: "http_client_request_duration_seconds",
            dimensions: [
                ("http_request_method", method), ("server_address", target.host),
                ("http_response_status_code", status), ("error_type", error),
            ]
        ).recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}

/// Carries trace context in the headers of NIO's HTTP types.
private struct HTTPHeadersCarrier: Injector {
    func inject(_ value: String, forKey key: String, into headers: inout HTTPHeaders) {
        headers.replaceOrAdd(name: key, value: value)
    }
}
