import BenchmarkSupport
import Foundation
import Hummingbird
import LanternHTTP
import LanternLogging
import LanternMetrics
import LanternPostgres
import LanternTracing
import Logging
import Metrics
import NIOCore
import TestSupport
import Tracing

/// Requests a second of one small route: bare, with the platform's telemetry, and with Hummingbird's own three middlewares,
/// both over the same logger, registry and tracer; and of one with a SELECT in a real PostgreSQL, bare and with ours. Load comes from `wrk`, on the same machine.
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
                    let database = try await TestCluster.shared.database("bench")
                    let watched = Self.products(database, quiet)
                    try await Self.fill(watched)
                    // The same pool without metrics and spans.
                    let plain = withMetricsFactory(NOOPMetricsHandler.instance) { Self.products(database, quiet) }
                    let servers = [
                        Self.server(Self.bare(nil), quiet), Self.server(Self.ours(logger, tracer, nil), quiet),
                        Self.server(Self.theirs(), logger), Self.server(Self.bare(plain), quiet),
                        Self.server(Self.ours(logger, tracer, watched), quiet),
                    ]
                    for (index, server) in servers.enumerated() {
                        group.addTask {
                            guard index == 3 else { return try await server.run() }
                            try await withTracer(NoOpTracer()) { try await server.run() }
                        }
                    }
                    var ports: [Int] = []
                    for server in servers { for await port in server.port { ports.append(port) } }
                    try await Self.compare(ports)
                    watched.close()
                    plain.close()
                    group.cancelAll()
                }
            }
        }
    }

    static func products(_ database: String, _ logger: Logger) -> PostgresClient {
        var configuration = PostgresConfiguration(url: database, applicationName: "bench")
        configuration.maximumConnections = 8
        return PostgresClient(configuration: configuration, logger: logger)
    }

    static func fill(_ client: PostgresClient) async throws {
        try await client.query("CREATE TABLE product (id bigint PRIMARY KEY, name text NOT NULL)")
        try await client.query("INSERT INTO product SELECT n, 'lamp ' || n FROM generate_series(1, 1000) AS n")
    }

    @Sendable
    static func product(_ client: PostgresClient?) async throws -> String {
        guard let client else { return "{\"status\":\"paid\"}" }
        let rows = try await client.query("SELECT name FROM product WHERE id = \(Int64(7))")
        return try rows.first?("name", as: String.self) ?? ""
    }

    static func bare(_ client: PostgresClient?) -> Router<BasicRequestContext> {
        let router = Router()
        router.get("/v1/orders/{id}") { _, _ in try await Self.product(client) }
        return router
    }

    /// The chain of `Lantern`, as far as it is telemetry.
    static func ours(_ logger: Logger, _ tracer: LanternTracer, _ client: PostgresClient?) -> Router<PlatformContext> {
        let router = Router(context: PlatformContext.self)
        let quiet = QuietPaths(["/livez"])
        router.add(middleware: TelemetryMiddleware(quiet: quiet, logger: logger, tracer: tracer))
        router.get("/v1/orders/{id}") { _, _ in try await Self.product(client) }
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

    static func compare(_ ports: [Int]) async throws {
        let seconds = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 1
        if let which = CommandLine.arguments.dropFirst(3).first.flatMap({ Int($0) }),
            CommandLine.arguments[2] == "--profile", ports.indices.contains(which)
        {
            // For a profiler: one of the routes alone.
            return print(try await Self.wrk(ports[which], seconds: seconds))
        }
        // Short turns, because the machine's speed changes while this runs: only what stood side by side is compared.
        for port in ports { _ = try await Self.wrk(port, seconds: 1) }
        var turns: [[Double]] = []
        var processor: [[Double]] = []
        for _ in 0..<Self.turns {
            var rates = [Double](repeating: 0, count: ports.count)
            var costs = rates
            // In another order each turn: what runs behind something slow is slower.
            for index in ports.indices.shuffled() {
                let before = ProcessTime.now
                rates[index] = try await Self.wrk(ports[index], seconds: seconds)
                costs[index] = (ProcessTime.now - before).inNanoseconds / (rates[index] * Double(seconds))
            }
            turns.append(rates)
            processor.append(costs)
        }
        func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
        func report(_ name: String, _ ours: Int, _ baseline: Int, _ what: String) {
            let ratios = turns.map { $0[ours] / $0[baseline] }
            func percent(_ ratio: Double) -> Double { ((1 - ratio) * 1_000).rounded() / 10 }
            Comparison(
                name: name, ours: 1e9 / median(turns.map { $0[ours] }),
                baseline: 1e9 / median(turns.map { $0[baseline] }),
                unit: "ns", what: what
            ).report()
            print(
                "    \(percent(median(ratios))) % less of its requests a second in the middle one of \(turns.count) turns"
                    + " (\(percent(ratios.max() ?? 0)) to \(percent(ratios.min() ?? 0)));"
                    + " processor time of this process \(Int(median(processor.map { $0[ours] }))) beside"
                    + " \(Int(median(processor.map { $0[baseline] }))) ns a request"
            )
        }
        report("http-telemetry-vs-bare", 1, 0, "the same route without telemetry; bar: 20 % of the throughput")
        report(
            "http-hummingbird-vs-bare", 2, 0,
            "the same with TracingMiddleware, LogRequestsMiddleware, MetricsMiddleware"
        )
        report("http-select-vs-bare", 4, 3, "the same route and SELECT without telemetry; bar: 5 % of the throughput")
    }

    private static let turns = 21

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
