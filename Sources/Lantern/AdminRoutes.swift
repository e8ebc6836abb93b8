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
            let format = ExpositionFormat(accept: request.headers[values: .accept].joined(separator: ","))
            let exposition = await self.registry.scrape(format)
            var headers: HTTPFields = [
                .contentType: format.contentType, .vary: "accept, accept-encoding", .cacheControl: "no-store",
            ]
            let encodings = request.headers[values: .acceptEncoding].joined(separator: ",")
            let isCompressed = ContentCoding.acceptsGzip(encodings)
            if isCompressed { headers[.contentEncoding] = "gzip" }
            return Response(status: .ok, headers: headers, body: Self.body(exposition, isCompressed: isCompressed))
        }
    }

    /// A body that is written as the scraper takes it: a scrape of any size needs the memory of a piece.
    private static func body(_ exposition: Exposition, isCompressed: Bool) -> ResponseBody {
        ResponseBody { writer in
            let gzip = isCompressed ? GzipStream() : nil
            if isCompressed, gzip == nil { throw OutOfMemory() }
            while let piece = exposition.next() {
                let bytes = gzip?.compress(piece) ?? piece
                if !bytes.isEmpty { try await writer.write(ByteBuffer(bytes: bytes)) }
            }
            if let gzip { try await writer.write(ByteBuffer(bytes: gzip.compress(nil))) }
            try await writer.finish(nil)
        }
    }

    private struct OutOfMemory: Error {}
}
