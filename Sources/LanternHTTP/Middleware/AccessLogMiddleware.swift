import HTTPTypes
public import Hummingbird
public import Logging

/// Writes one line for each request, at info; probes and scrapes at debug.
public struct AccessLogMiddleware: RouterMiddleware {
    private let quiet: QuietPaths
    private let logger: Logger

    public init(quiet: QuietPaths, logger: Logger) {
        self.quiet = quiet
        self.logger = logger
    }

    public func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        var response = try await next(request, context)
        let status = response.status.code
        let logger = self.logger
        let level: Logger.Level = self.quiet.contains(request) ? .debug : .info
        response.afterBody { bytes in
            guard level >= logger.logLevel else { return }
            // Room for all from the start, and no interpolation: this runs for each request.
            var metadata = Logger.Metadata(minimumCapacity: 7)
            metadata["http.request.method"] = .string(request.method.rawValue)
            metadata["url.path"] = .string(RequestPath.shown(request))
            metadata["http.response.status_code"] = .stringConvertible(Int(status))
            metadata["http.response.body.size"] = .stringConvertible(bytes)
            metadata["duration_ms"] = .stringConvertible(milliseconds(start.duration(to: .now)))
            if let route = context.route { metadata["http.route"] = .string(route) }
            if let address = context.peerAddress { metadata["client.address"] = .string(address) }
            logger.log(level: level, "request", metadata: metadata)
        }
        return response
    }
}

private func milliseconds(_ duration: Duration) -> Double {
    let microseconds = duration.components.seconds * 1_000_000 + duration.components.attoseconds / 1_000_000_000_000
    return Double(microseconds) / 1_000
}
