import CoreMetrics
import Synchronization

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

        /// - Returns: Nanoseconds since the beginning.
        @discardableResult
        func end(_ method: String, _ route: String?, _ status: Int) -> Int64 {
            let (seconds, attoseconds) = self.start.duration(to: .now).components
            let nanoseconds = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
            self.metrics.active.decrement(by: 1)
            self.metrics.timer(Key(method: method, route: route ?? "", status: status)).recordNanoseconds(nanoseconds)
            return nanoseconds
        }
    }

    private let timers = Mutex<[Key: Timer]>([:])
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

    private func timer(_ key: Key) -> Timer {
        self.timers.withLock { timers in
            if let timer = timers[key] { return timer }
            let timer = Timer(
                label: "http_server_request_duration_seconds",
                dimensions: [
                    ("http_request_method", key.method), ("url_scheme", "http"), ("http_route", key.route),
                    ("http_response_status_code", String(key.status)),
                    ("error_type", key.status >= 500 ? String(key.status) : ""),
                ],
                factory: self.factory
            )
            timers[key] = timer
            return timer
        }
    }
}
