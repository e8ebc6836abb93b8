import CoreMetrics
import Synchronization

/// What is told of all requests of one method, route and status.
final class RequestSeries: Sendable {
    /// Template of the route; `nil` where none matched.
    let route: String?
    let status: Int
    /// `GET /v1/orders/{id}`.
    let spanName: String
    fileprivate let timer: Timer

    fileprivate init(_ method: HTTPMethodName, _ route: String?, _ status: Int, _ factory: any MetricsFactory) {
        self.route = route
        self.status = status
        self.spanName = route.map { "\(method.display) \($0)" } ?? method.display
        self.timer = Timer(
            label: "http_server_request_duration_seconds",
            dimensions: [
                ("http_request_method", method.label), ("url_scheme", "http"), ("http_route", route ?? ""),
                ("http_response_status_code", String(status)),
                ("error_type", status >= 500 ? String(status) : ""),
            ],
            factory: factory
        )
    }
}

/// Rate, errors and duration of each route.
final class RequestMetrics: Sendable {
    private struct Key: Hashable {
        var method: String
        var route: String
        var status: Int
    }

    /// A request that was begun and is to be ended once.
    struct Pending: Sendable {
        fileprivate let metrics: RequestMetrics
        private let start = ContinuousClock.now

        fileprivate init(_ metrics: RequestMetrics) { self.metrics = metrics }

        func series(_ method: HTTPMethodName, _ route: String?, _ status: Int) -> RequestSeries {
            self.metrics.series(method, route, status)
        }

        /// - Returns: Nanoseconds since the beginning.
        @discardableResult
        func end(_ series: RequestSeries) -> Int64 {
            let (seconds, attoseconds) = self.start.duration(to: .now).components
            let nanoseconds = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
            self.metrics.active.decrement(by: 1)
            series.timer.recordNanoseconds(nanoseconds)
            return nanoseconds
        }
    }

    private let known = Mutex<[Key: RequestSeries]>([:])
    private let active: Meter
    private let factory: any MetricsFactory

    init(factory: any MetricsFactory) {
        self.factory = factory
        self.active = Meter(label: "http_server_active_requests", factory: factory)
    }

    func begin() -> Pending {
        self.active.increment(by: 1)
        return Pending(self)
    }

    /// Bounded by the routes: method labels, templates and status codes are all from short lists.
    private func series(_ method: HTTPMethodName, _ route: String?, _ status: Int) -> RequestSeries {
        let key = Key(method: method.label, route: route ?? "", status: status)
        return self.known.withLock { known in
            if let series = known[key] { return series }
            let series = RequestSeries(method, route, status, self.factory)
            known[key] = series
            return series
        }
    }
}
