import CoreMetrics
import HTTPTypes
public import Hummingbird
import Synchronization

/// RED metrics of each route: `http_server_request_duration_seconds` and `http_server_active_requests`.
///
/// Labels are route templates and known methods only: no path of a scanner ever becomes a series.
public struct RequestMetricsMiddleware: RouterMiddleware {
    private struct Key: Hashable {
        var method: String
        var route: String
        var status: Int
    }

    private final class Handles: Sendable {
        let timers = Mutex<[Key: Timer]>([:])
        let activeMeter: Meter
        let factory: any MetricsFactory

        init(factory: any MetricsFactory) {
            self.factory = factory
            self.activeMeter = Meter(label: "http_server_active_requests", factory: factory)
        }
    }

    private let handles: Handles

    /// Records with the metrics factory that is current here.
    public init() {
        self.handles = Handles(factory: MetricsSystem.factory)
    }

    public func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        let handles = self.handles
        let start = ContinuousClock.now
        let method = HTTPMethodName(request.method.rawValue).label
        handles.activeMeter.increment(by: 1)
        @Sendable func finish(status: Int) {
            handles.activeMeter.decrement(by: 1)
            let key = Key(method: method, route: context.route ?? "", status: status)
            let timer = handles.timers.withLock { timers in
                if let timer = timers[key] { return timer }
                let timer = Timer(
                    label: "http_server_request_duration_seconds",
                    dimensions: [
                        ("http_request_method", key.method), ("url_scheme", "http"), ("http_route", key.route),
                        ("http_response_status_code", String(key.status)),
                        ("error_type", key.status >= 500 ? String(key.status) : ""),
                    ],
                    factory: handles.factory
                )
                timers[key] = timer
                return timer
            }
            let (seconds, attoseconds) = start.duration(to: .now).components
            timer.recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        }
        var response: Response
        do {
            response = try await next(request, context)
        } catch {
            // The connection broke: the client saw no status, the server still did the work.
            finish(status: 499)
            throw error
        }
        let status = Int(response.status.code)
        response.afterBody { _ in finish(status: status) }
        return response
    }
}
