import HTTPTypes
import Hummingbird
import Logging
import Tracing

/// A request on its way, and what is told of it in the end. Without request and context, which are costly to copy.
struct Exchange: Sendable {
    private let method: HTTPMethodName
    private let pending: RequestMetrics.Pending
    /// As logs and spans may show it.
    private let path: String
    private let address: String?

    init(_ request: Request, _ context: PlatformContext, _ metrics: RequestMetrics) {
        self.pending = metrics.begin()
        self.method = HTTPMethodName(request.method.rawValue)
        self.path = RequestPath.shown(request)
        self.address = context.peerAddress
    }

    /// The span's name until the route is known.
    var name: String { self.method.display }

    /// - Parameter status: That of the answer; 499 where there was none, because the connection broke.
    func series(_ context: PlatformContext, status: Int) -> RequestSeries {
        self.pending.series(self.method, context.route, status)
    }

    /// All at once and at the end: each change of a span's attributes by itself costs as much as several of them together.
    /// - Parameter isAnswered: Whether the client saw the status.
    func describe(_ span: any Span, _ request: Request, _ series: RequestSeries, isAnswered: Bool = true) {
        guard span.isRecording else { return }
        let agent = request.headers[.userAgent]
        let shape = agent == nil ? SpanShape.withoutAgent : .withAgent
        var attributes = shape.template
        attributes.values[shape.method] = .string(self.method.label)
        attributes.values[shape.path] = .string(self.path)
        attributes.values[shape.status] = .int64(Int64(series.status))
        if let agent { attributes.values[shape.agent] = .string(agent) }
        if let address { attributes.values[shape.address] = .string(address) }
        if let route = series.route {
            span.operationName = series.spanName
            attributes.values[shape.route] = .string(route)
        }
        // What is rare comes last, because it makes places void.
        if self.address == nil { attributes["client.address"] = nil }
        if series.route == nil { attributes["http.route"] = nil }
        if let original = self.method.original { attributes["http.request.method_original"] = .string(original) }
        if !isAnswered { attributes["http.response.status_code"] = nil }
        if isAnswered, series.status >= 500 {
            attributes["error.type"] = .string(String(series.status))
            span.setStatus(SpanStatus(code: .error))
        }
        span.attributes = SpanAttributes(attributes)
    }

    /// Counts the request and writes its line.
    /// - Parameter bytes: Of the body.
    func end(
        _ request: Request, _ series: RequestSeries, _ bytes: Int, _ line: LineShape, _ logger: Logger,
        _ level: Logger.Level
    ) {
        let duration = self.pending.end(series)
        guard level >= logger.logLevel else { return }
        line.write(
            method: request.method.rawValue, path: self.path, status: series.status, size: bytes, duration: duration,
            route: series.route, address: self.address, logger, level
        )
    }

    /// The connection broke: the client saw no status, the server still did the work.
    func abort(_ series: RequestSeries) { self.pending.end(series) }
}
