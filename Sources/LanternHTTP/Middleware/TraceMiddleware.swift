public import HTTPTypes
public import Hummingbird
public import Tracing

/// Opens the server span of each request, as a child of what its `traceparent` names, and answers `traceresponse`.
///
/// The span follows the OpenTelemetry conventions for HTTP servers; it ends when the body has been written.
public struct TraceMiddleware: RouterMiddleware {
    private let quiet: QuietPaths
    private let answersTraceresponse: Bool

    public init(quiet: QuietPaths, answersTraceresponse: Bool = true) {
        self.quiet = quiet
        self.answersTraceresponse = answersTraceresponse
    }

    public func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        if self.quiet.contains(request) { return try await next(request, context) }
        var parent = InstrumentationContext.topLevel
        InstrumentationSystem.instrument.extract(request.headers, into: &parent, using: HTTPFieldCarrier())
        let method = HTTPMethodName(request.method.rawValue)
        let span = startSpan(method.display, context: parent, ofKind: .server)
        span.updateAttributes { attributes in
            attributes["http.request.method"] = method.label
            attributes["http.request.method_original"] = method.original
            attributes["url.path"] = request.uri.path
            attributes["url.scheme"] = "http"
            attributes["network.protocol.name"] = "http"
            attributes["client.address"] = context.peerAddress
            attributes["user_agent.original"] = request.headers[.userAgent]
        }
        return try await InstrumentationContext.withValue(span.context) {
            var response: Response
            do {
                response = try await next(request, context)
            } catch {
                // Only a broken connection comes this far: the problem middleware answers everything else.
                span.recordError(error)
                span.setStatus(SpanStatus(code: .error))
                span.end()
                throw error
            }
            if let route = context.route {
                span.operationName = "\(method.display) \(route)"
                span.attributes["http.route"] = route
            }
            let status = Int(response.status.code)
            span.attributes["http.response.status_code"] = status
            if status >= 500 {
                span.attributes["error.type"] = String(status)
                span.setStatus(SpanStatus(code: .error))
            }
            if self.answersTraceresponse, let traceparent = CurrentTrace.traceparent {
                // Editor's draft of Trace Context, "Trace Context HTTP Response Headers".
                HTTPFieldCarrier().inject(traceparent, forKey: "traceresponse", into: &response.headers)
            }
            response.afterBody { _ in span.end() }
            return response
        }
    }
}

/// Carries trace context in HTTP fields.
public struct HTTPFieldCarrier: Injector, Extractor {
    public init() {}

    /// Several `traceparent` fields are malformed, which the joined value shows; several others are one list.
    public func extract(key: String, from fields: HTTPFields) -> String? {
        guard let name = HTTPField.Name(key) else { return nil }
        let values = fields[values: name]
        return values.isEmpty ? nil : values.joined(separator: ",")
    }

    public func inject(_ value: String, forKey key: String, into fields: inout HTTPFields) {
        guard let name = HTTPField.Name(key) else { return }
        fields[name] = value
    }
}

/// The span that the current task is in, as W3C Trace Context writes it.
public enum CurrentTrace {
    private struct Carrier: Injector {
        func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) { carrier[key] = value }
    }

    public static var traceparent: String? {
        guard let context = InstrumentationContext.current else { return nil }
        var carrier: [String: String] = [:]
        InstrumentationSystem.instrument.inject(context, into: &carrier, using: Carrier())
        return carrier["traceparent"]
    }

    /// 32 hexadecimal digits.
    public static var traceID: String? {
        self.traceparent.flatMap { value in
            let parts = value.split(separator: "-")
            return parts.count == 4 ? String(parts[1]) : nil
        }
    }
}
