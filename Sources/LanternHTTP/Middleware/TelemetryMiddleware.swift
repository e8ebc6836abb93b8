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
    private let line = LineShape()
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
        let exchange = Exchange(request, context, self.metrics)
        if self.quiet.contains(request) {
            do {
                let response = try await next(request, context)
                let series = exchange.series(context, status: response.status.code)
                return self.finish(response, exchange, series, request, .debug, span: nil)
            } catch {
                exchange.abort(exchange.series(context, status: 499))
                throw error
            }
        }
        let tracer = self.tracer ?? InstrumentationSystem.tracer
        var parent = InstrumentationContext.topLevel
        tracer.extract(request.headers, into: &parent, using: HTTPFieldCarrier())
        let span = tracer.startAnySpan(exchange.name, context: parent, ofKind: .server)
        let trace = span.context
        return try await InstrumentationContext.withValue(trace) {
            do {
                var response = try await next(request, context)
                let series = exchange.series(context, status: response.status.code)
                exchange.describe(span, request, series)
                if self.answersTraceresponse, let traceparent = CurrentTrace.traceparent(of: trace, tracer) {
                    // Editor's draft of Trace Context, "Trace Context HTTP Response Headers".
                    response.headers[Self.traceresponse] = traceparent
                }
                return self.finish(response, exchange, series, request, .info, span: (span, trace))
            } catch {
                // Only a broken connection comes this far: the problem middleware answers everything else.
                let series = exchange.series(context, status: 499)
                exchange.describe(span, request, series, isAnswered: false)
                span.recordError(error)
                span.setStatus(SpanStatus(code: .error))
                exchange.abort(series)
                span.end()
                throw error
            }
        }
    }

    /// Ends everything when the body has been written: at once where it is known.
    private func finish(
        _ response: Response, _ exchange: Exchange, _ series: RequestSeries, _ request: Request,
        _ level: Logger.Level, span: (span: any Span, trace: InstrumentationContext)?
    ) -> Response {
        if let length = response.body.contentLength {
            exchange.end(request, series, length, self.line, self.logger, level)
            span?.span.end()
            return response
        }
        var response = response
        let (line, logger) = (self.line, self.logger)
        response.afterBody { bytes in
            // The body is written outside of what is bound here.
            InstrumentationContext.withValue(span?.trace) {
                exchange.end(request, series, bytes, line, logger, level)
            }
            span?.span.end()
        }
        return response
    }

    private static let traceresponse = HTTPField.Name("traceresponse") ?? .server
}
