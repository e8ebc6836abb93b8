public import AsyncHTTPClient
import CoreMetrics
import NIOCore
import NIOHTTP1
import Tracing

/// Calls other services: the trace goes along, and every call is a client span and a measurement.
///
/// The span and `http_client_request_duration_seconds` follow the OpenTelemetry conventions for HTTP clients. Paths are in
/// neither name nor label: they hold ids. Safe from any task; cancelling the task cancels the call.
public struct ServiceClient: Sendable {
    private let client: HTTPClient

    /// - Parameter client: Used, never shut down, by this one. Its own tracer must be `nil`, or it would stamp requests a
    ///   second time.
    public init(client: HTTPClient) {
        self.client = client
    }

    /// Sends a request and answers when the head of the response is there; its body streams.
    /// - Parameter timeout: For the whole call, in seconds.
    /// - Throws: The client's error where nobody answers in time. A status, whatever it is, is an answer.
    public func execute(_ request: HTTPClientRequest, timeout: Double) async throws -> HTTPClientResponse {
        let target = HTTPTarget(request.url)
        let method = request.method.rawValue
        let start = ContinuousClock.now
        return try await withSpan(method, ofKind: .client) { span in
            span.updateAttributes { attributes in
                attributes["http.request.method"] = method
                attributes["server.address"] = target.host
                attributes["server.port"] = target.port
                // Without the query, which may hold secrets.
                attributes["url.full"] = target.withoutQuery
            }
            var request = request
            InstrumentationSystem.instrument.inject(
                span.context, into: &request.headers, using: HTTPHeadersCarrier()
            )
            do {
                let response = try await self.client.execute(
                    request, timeout: .nanoseconds(Int64(timeout * 1_000_000_000))
                )
                let status = Int(response.status.code)
                span.attributes["http.response.status_code"] = status
                if status >= 400 {
                    span.attributes["error.type"] = String(status)
                    span.setStatus(SpanStatus(code: .error))
                }
                self.record(method, target, status: "\(status)", error: status >= 400 ? "\(status)" : "", start)
                return response
            } catch {
                let type = String(reflecting: Swift.type(of: error))
                span.attributes["error.type"] = type
                self.record(method, target, status: "", error: type, start)
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

/// The parts of a URL that telemetry may show.
struct HTTPTarget: Equatable {
    var host: String
    var port: Int
    var withoutQuery: String

    init(_ url: String) {
        let bare = url.prefix { $0 != "?" && $0 != "#" }
        let scheme = bare.firstRange(of: "://")
        let rest = scheme.map { bare[$0.upperBound...] } ?? bare
        let authority = rest.prefix { $0 != "/" }
        // User and password of a URL are never shown.
        let location = authority.lastIndex(of: "@").map { authority[authority.index(after: $0)...] } ?? authority
        let colon = location.lastIndex(of: ":")
        self.host = String(colon.map { location[..<$0] } ?? location)
        let isSecure = scheme.map { bare[..<$0.lowerBound] == "https" } ?? false
        self.port = colon.flatMap { Int(location[location.index(after: $0)...]) } ?? (isSecure ? 443 : 80)
        let prefix = scheme.map { bare[..<$0.upperBound] } ?? ""
        self.withoutQuery = String(prefix) + String(location) + String(rest.dropFirst(authority.count))
    }
}

/// Carries trace context in the headers of NIO's HTTP types.
private struct HTTPHeadersCarrier: Injector {
    func inject(_ value: String, forKey key: String, into headers: inout HTTPHeaders) {
        headers.replaceOrAdd(name: key, value: value)
    }
}
