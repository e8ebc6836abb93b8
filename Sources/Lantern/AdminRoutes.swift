import Foundation
import HTTPTypes
import Hummingbird
import LanternHTTP
import LanternMetrics
import NIOCore

/// `/livez`, `/readyz`, `/startupz`, `/metrics`: the same on every service.
struct AdminRoutes {
    static let paths: Set<String> = ["/livez", "/readyz", "/startupz", "/metrics"]

    let readiness: Readiness
    let registry: MetricsRegistry

    private struct Liveness: Encodable { var status: String }

    private struct Ready: Encodable {
        var status: Readiness.Report.Status
        var dependencies: [String: Readiness.Dependency]
    }

    func register(on router: Router<PlatformContext>) {
        router.get("/livez") { _, _ in
            try JSON.response(Liveness(status: "up"), headers: [.cacheControl: "no-store"])
        }
        router.get("/startupz") { _, _ in
            let starting = self.readiness.phase == .starting
            return try JSON.response(
                Liveness(status: starting ? "starting" : "up"), status: starting ? .serviceUnavailable : .ok,
                headers: [.cacheControl: "no-store"]
            )
        }
        router.get("/readyz") { _, _ in
            let report = await self.readiness.report()
            return try JSON.response(
                Ready(status: report.status, dependencies: report.dependencies),
                status: report.ready ? .ok : .serviceUnavailable,
                headers: [.cacheControl: "no-store"]
            )
        }
        router.get("/metrics") { request, _ in
            let body = self.registry.exposition()
            var headers: HTTPFields = [.contentType: MetricsRegistry.textContentType, .vary: "accept-encoding"]
            if Self.acceptsGzip(request.headers[.acceptEncoding]), let compressed = Gzip.compress(body) {
                headers[.contentEncoding] = "gzip"
                return Response(
                    status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: compressed)))
            }
            return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
        }
    }

    /// Whether `Accept-Encoding` (RFC 9110, section 12.5.3) names gzip, or `*`, with a weight above zero.
    static func acceptsGzip(_ header: String?) -> Bool {
        var any = false
        for part in (header ?? "").lowercased().split(separator: ",") {
            let pieces = part.split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces) }
            guard let coding = pieces.first else { continue }
            let weight = pieces.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            if coding == "gzip" || coding == "x-gzip" { return weight > 0 }
            if coding == "*" { any = weight > 0 }
        }
        return any
    }
}
