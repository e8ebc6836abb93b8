import BenchmarkSupport
import Foundation
import Hummingbird
import LanternHTTP
import LanternLogging
import LanternMetrics
import LanternTracing
import Logging
import Metrics
import NIOCore
import Tracing

/// Requests a second of one small route: bare, with the platform's telemetry, and with Hummingbird's own three middlewares,
/// both over the same logger, registry and tracer. Load comes from `wrk`, on the same machine.
@main
enum HTTPBenchmark {
    static func main() async throws {
        let nowhere = open("/dev/null", O_WRONLY)
        let output = LogOutput(
            service: "bench", format: .json,
            sink: try FileDescriptorSink(descriptor: nowhere, collapse: .init(format: .json))
        ) {
            InstrumentationContext.current?.spanContext.map {
                LogOutput.Trace(traceIDHigh: $0.traceID.high, traceIDLow: $0.traceID.low, spanID: $0.spanID.value)
            }
        }
        let logger = Logger(label: "bench") { LanternLogHandler(label: $0, output: output) }
        var quiet = logger
        quiet.logLevel = .warning
        let registry = MetricsRegistry()
        registry.takeExemplars {
            guard let span = InstrumentationContext.current?.spanContext, span.isSampled else { return nil }
            return ExemplarContext(traceID: span.traceID.description, spanID: span.spanID.description)
        }
        let exporter = withMetricsFactory(registry) { BatchSpanProcessor(exporter: Forgetting(), logger: quiet) }
        let tracer = LanternTracer(sampler: .parentBased(root: .alwaysOn), processor: exporter)

        try await withMetricsFactory(registry) {
            try await withTracer(tracer) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await exporter.run() }
                    let servers = [
                        Self.server(Self.bare(), quiet), Self.server(Self.ours(logger), quiet),
                        Self.server(Self.theirs(), logger),
                    ]
                    for server in servers { group.addTask { try await server.run() } }
                    var ports: [Int] = []
                    for server in servers { for await port in server.port { ports.append(port) } }
                    try await Self.compare(bare: ports[0], ours: ports[1], theirs: ports[2])
                    group.cancelAll()
                }
            }
        }
    }

    static func bare() -> Router<BasicRequestContext> {
        let router = Router()
        router.get("/v1/orders/{id}") { _, _ in "{\"status\":\"paid\"}" }
        return router
    }

    /// The chain of `Lantern`, as far as it is telemetry.
    static func ours(_ logger: Logger) -> Router<PlatformContext> {
        let router = Router(context: PlatformContext.self)
        let quiet = QuietPaths(["/livez"])
        router.add(middleware: TraceMiddleware(quiet: quiet))
        router.add(middleware: AccessLogMiddleware(quiet: quiet, logger: logger))
        router.add(middleware: RequestMetricsMiddleware())
        router.get("/v1/orders/{id}") { _, _ in "{\"status\":\"paid\"}" }
        return router
    }

    static func theirs() -> Router<BasicRequestContext> {
        let router = Router()
        router.add(middleware: TracingMiddleware())
        router.add(middleware: LogRequestsMiddleware(.info))
        router.add(middleware: MetricsMiddleware())
        router.get("/v1/orders/{id}") { _, _ in "{\"status\":\"paid\"}" }
        return router
    }

    struct Server: Sendable {
        /// One, once it listens.
        var port: AsyncStream<Int>
        var run: @Sendable () async throws -> Void
    }

    static func server<Context: RequestContext>(_ router: Router<Context>, _ logger: Logger) -> Server
    where Context.Source == ApplicationRequestContextSource {
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in
                continuation.yield(channel.localAddress?.port ?? 0)
                continuation.finish()
            },
            logger: logger
        )
        return Server(port: ports) { try await application.run() }
    }

    static func compare(bare: Int, ours: Int, theirs: Int) async throws {
        let seconds = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 4
        if CommandLine.arguments.contains("--profile") {
            // For a profiler: our route alone.
            return print(try await Self.wrk(CommandLine.arguments.contains("bare") ? bare : ours, seconds: seconds))
        }
        var best: [Int: Double] = [:]
        // In turns, so that what disturbs one disturbs all.
        for round in 0..<4 {
            for port in [bare, ours, theirs] {
                let rate = try await Self.wrk(port, seconds: round == 0 ? 1 : seconds)
                best[port] = max(best[port] ?? 0, rate)
            }
        }
        guard let bareRate = best[bare], let oursRate = best[ours], let theirRate = best[theirs] else { return }
        func lost(_ rate: Double) -> String { "\(Int(((1 - rate / bareRate) * 100).rounded())) %" }
        print(
            "requests a second: bare \(Int(bareRate)), with our telemetry \(Int(oursRate)) (\(lost(oursRate)) less),"
                + " with Hummingbird's middlewares \(Int(theirRate)) (\(lost(theirRate)) less)"
        )
        Comparison(
            name: "http-telemetry-vs-bare", ours: 1e9 / oursRate, baseline: 1e9 / bareRate, unit: "ns",
            what: "the same route without telemetry; bar: 20 % of the throughput"
        ).report()
        Comparison(
            name: "http-telemetry-vs-hummingbird", ours: 1e9 / oursRate, baseline: 1e9 / theirRate, unit: "ns",
            what: "TracingMiddleware, LogRequestsMiddleware, MetricsMiddleware"
        ).report()
    }

    static func wrk(_ port: Int, seconds: Int) async throws -> Double {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/wrk")
        process.arguments = ["-t1", "-c32", "-d\(seconds)s", "http://127.0.0.1:\(port)/v1/orders/7"]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let text = await Task.detached {
            String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        }.value
        process.waitUntilExit()
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("Requests/sec:") }),
            let rate = Double(line.split(separator: " ").last ?? "")
        else {
            print(text)
            return 0
        }
        if text.contains("Non-2xx") { print(text) }
        return rate
    }
}

/// Takes spans and forgets them: what exporting costs is measured with tracing.
struct Forgetting: SpanExporter {
    func export(_ spans: ArraySlice<FinishedSpan>) async throws(SpanExportError) -> SpanExportResult {
        SpanExportResult(sent: spans.count)
    }
}
