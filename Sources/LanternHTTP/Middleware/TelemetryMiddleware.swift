import CoreMetrics
import HTTPTypes
public import Hummingbird
public import Logging
public import Tracing

/// What is told of each request: its server span, its access line, its duration. The outermost middleware.
///
/// - The span is a child of what the request's `traceparent` names, and answered as `traceresponse`. It follows the
///   OpenTelemetry conventions for HTTP servers.
/// - The line is written at info.
/// - `http_server_request_duration_seconds` and `http_server_active_requests` carry route templates and known methods only:
///   no path of a scanner ever becomes a series.
///
/// All three end when the body has been written, in the trace of the request. Quiet paths have no span, and their line is at
/// debug. One middleware and not three, because each layer of an asynchronous chain costs as much as what it does here.
public struct TelemetryMiddleware: RouterMiddleware {
    private let quiet: QuietPaths
    private let logger: Logger
    private let answersTraceresponse: Bool
    private let metrics: RequestMetrics
    private let tracer: (any Tracer)?

    /// Records with the metrics factory that is current here.
    /// - Parameter tracer: Makes the spans; the tracer that is current at each request where there is none. Looking it up
    ///   takes as long as starting the span.
    public init(quiet: QuietPaths, logger: Logger, answersTraceresponse: Bool = true, tracer: (any Tracer)? = nil) {
        self.quiet = quiet
        self.logger = logger
        self.answersTraceresponse = answersTraceresponse
        self.metrics = RequestMetrics(factory: MetricsSystem.factory)
        self.tracer = tracer
    }

    public func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        let exchange = Exchange(method: HTTPMethodName(request.method.rawValue), pending: self.metrics.begin())
        if self.quiet.contains(request) {
            do {
                let response = try await next(request, context)
                return self.finish(response, exchange, request, context, .debug, span: nil)
            } catch {
                exchange.abort(context)
                throw error
            }
        }
        let tracer = self.tracer ?? InstrumentationSystem.tracer
        var parent = InstrumentationContext.topLevel
        tracer.extract(request.headers, into: &parent, using: HTTPFieldCarrier())
        let span = tracer.startAnySpan(exchange.method.display, context: parent, ofKind: .server)
        let trace = span.context
        return try await InstrumentationContext.withValue(trace) {
            do {
                var response = try await next(request, context)
                exchange.describe(span, request, context, status: response.status.code)
                if self.answersTraceresponse, let traceparent = CurrentTrace.traceparent(of: trace, tracer) {
                    // Editor's draft of Trace Context, "Trace Context HTTP Response Headers".
                    response.headers[Self.traceresponse] = traceparent
                }
                return self.finish(response, exchange, request, context, .info, span: (span, trace))
            } catch {
                // Only a broken connection comes this far: the problem middleware answers everything else.
                exchange.describe(span, request, context, status: nil)
                span.recordError(error)
                span.setStatus(SpanStatus(code: .error))
                exchange.abort(context)
                span.end()
                throw error
            }
        }
    }

    /// Ends everything when the body has been written: at once where it is known.
    private func finish(
        _ response: Response, _ exchange: Exchange, _ request: Request, _ context: PlatformContext,
        _ level: Logger.Level,
        span: (span: any Span, trace: InstrumentationContext)?
    ) -> Response {
        let status = response.status.code
        if let length = response.body.contentLength {
            exchange.end(request, context, status, length, self.logger, level)
            span?.span.end()
            return response
        }
        var response = response
        let logger = self.logger
        response.afterBody { bytes in
            // The body is written outside of what is bound here.
            InstrumentationContext.withValue(span?.trace) {
                exchange.end(request, context, status, bytes, logger, level)
            }
            span?.span.end()
        }
        return response
    }

    private static let traceresponse = HTTPField.Name("traceresponse") ?? .server
}

/// A request on its way, and what is told of it in the end. Without request and context, which are costly to copy.
private struct Exchange: Sendable {
    let method: HTTPMethodName
    let pending: RequestMetrics.Pending

    /// All at once and at the end: each change of a span's attributes by itself costs as much as several of them together.
    func describe(_ span: any Span, _ request: Request, _ context: PlatformContext, status: Int?) {
        guard span.isRecording else { return }
        // Without `network.protocol.name`, which the conventions ask for only where it is not "http".
        var attributes = [String: SpanAttribute](minimumCapacity: 8)
        attributes["http.request.method"] = .string(self.method.label)
        attributes["url.path"] = .string(RequestPath.shown(request))
        attributes["url.scheme"] = .string("http")
        if let original = self.method.original { attributes["http.request.method_original"] = .string(original) }
        if let address = context.peerAddress { attributes["client.address"] = .string(address) }
        if let agent = request.headers[.userAgent] { attributes["user_agent.original"] = .string(agent) }
        if let route = context.route {
            span.operationName = "\(self.method.display) \(route)"
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

    /// Counts the request and writes its line.
    func end(
        _ request: Request, _ context: PlatformContext, _ status: Int, _ bytes: Int, _ logger: Logger,
        _ level: Logger.Level
    ) {
        let duration = self.pending.end(self.method.label, context.route, status)
        guard level >= logger.logLevel else { return }
        // Room for all from the start, and no interpolation: this runs for each request.
        var metadata = Logger.Metadata(minimumCapacity: 7)
        metadata["http.request.method"] = .string(request.method.rawValue)
        metadata["url.path"] = .string(RequestPath.shown(request))
        metadata["http.response.status_code"] = .stringConvertible(status)
        metadata["http.response.body.size"] = .stringConvertible(bytes)
        metadata["duration_ms"] = .stringConvertible(Double(duration / 1_000) / 1_000)
        if let route = context.route { metadata["http.route"] = .string(route) }
        if let address = context.peerAddress { metadata["client.address"] = .string(address) }
        logger.log(level: level, "request", metadata: metadata)
    }

    /// The connection broke: the client saw no status, the server still did the work.
    func abort(_ context: PlatformContext) { self.pending.end(self.method.label, context.route, 499) }
}
