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
        let spanContext = span.context
        return try await InstrumentationContext.withValue(spanContext) {
            var response: Response
            do {
                response = try await next(request, context)
            } catch {
                // Only a broken connection comes this far: the problem middleware answers everything else.
                self.describe(span, request, context, method, status: nil)
                span.recordError(error)
                span.setStatus(SpanStatus(code: .error))
                span.end()
                throw error
            }
            self.describe(span, request, context, method, status: Int(response.status.code))
            if self.answersTraceresponse, let traceparent = CurrentTrace.traceparent(of: spanContext) {
                // Editor's draft of Trace Context, "Trace Context HTTP Response Headers".
                response.headers[Self.traceresponse] = traceparent
            }
            response.afterBody { _ in span.end() }
            return response
        }
    }

    private static let traceresponse = HTTPField.Name("traceresponse") ?? .server

    /// All at once and at the end: each change of a span's attributes by itself costs as much as several of them together.
    private func describe(
        _ span: any Span, _ request: Request, _ context: PlatformContext, _ method: HTTPMethodName, status: Int?
    ) {
        guard span.isRecording else { return }
        var attributes = [String: SpanAttribute](minimumCapacity: 10)
        attributes["http.request.method"] = .string(method.label)
        attributes["url.path"] = .string(RequestPath.shown(request))
        attributes["url.scheme"] = .string("http")
        attributes["network.protocol.name"] = .string("http")
        if let original = method.original { attributes["http.request.method_original"] = .string(original) }
        if let address = context.peerAddress { attributes["client.address"] = .string(address) }
        if let agent = request.headers[.userAgent] { attributes["user_agent.original"] = .string(agent) }
        if let route = context.route {
            span.operationName = "\(method.display) \(route)"
            attributes["http.route"] = .string(route)
        }
        if let status {
            attributes["http.response.status_code"] = .int64(Int64(status))
            if status >= 500 {
                attributes["error.type"] = .string(String(status))
                span.setStatus(SpanStatus(code: .error))
            }
        }
        span.attributes = SpanAttributes(attributes)
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
        func inject(_ value: String, forKey key: String, into carrier: inout String?) {
            if key == "traceparent" { carrier = value }
        }
    }

    public static var traceparent: String? { InstrumentationContext.current.flatMap(self.traceparent(of:)) }

    /// That of a context.
    static func traceparent(of context: InstrumentationContext) -> String? {
        var carrier: String?
        InstrumentationSystem.instrument.inject(context, into: &carrier, using: Carrier())
        return carrier
    }

    /// 32 hexadecimal digits.
    public static var traceID: String? {
        self.traceparent.flatMap { value in
            let parts = value.split(separator: "-")
            return parts.count == 4 ? String(parts[1]) : nil
        }
    }
}
