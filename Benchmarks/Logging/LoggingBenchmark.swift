import BenchmarkSupport
import Glibc
import LanternLogging
import Logging

/// Lines of eight keys, through the whole of a logger, into `/dev/null`.
@main
struct LoggingBenchmark {
    static func main() async throws {
        // Both write to the same nowhere; swift-log's handler knows standard error only.
        let nowhere = open("/dev/null", O_WRONLY)
        guard nowhere >= 0, dup2(nowhere, STDERR_FILENO) >= 0 else { return print("/dev/null cannot be opened") }
        let levels = LogLevels(.info)
        let sink = try FileDescriptorSink(descriptor: nowhere, overflow: .drop, collapse: .init(format: .json))
        let output = LogOutput(service: "order", format: .json, levels: levels, sink: sink) {
            LogOutput.Trace(
                traceIDHigh: 0x0af7_6519_16cd_43dd, traceIDLow: 0x8448_eb21_1c80_319c, spanID: 0xb7ad_6b71_6920_3331
            )
        }
        let ours = Logger(label: "bench") { LanternLogHandler(label: $0, output: output) }
        let theirs = Logger(label: "bench") { StreamLogHandler.standardError(label: $0) }
        let silent = Logger(label: "bench") { _ in NothingHandler() }
        // For a profiler: nothing but our lines.
        if CommandLine.arguments.contains("--profile") { return Self.log(ours, 2_000_000) }

        let count = 100_000
        let one = [ours, theirs, silent].map { logger in nanoseconds(count) { Self.log(logger, $0) } }
        Comparison(
            name: "json-line-8-keys", ours: one[0], baseline: one[1], unit: "ns",
            what: "StreamLogHandler, text; a handler that does nothing takes \(Int(one[2])) ns"
        ).report()
        var two: [Double] = []
        for logger in [ours, theirs] { two.append(await nanoseconds(threads: 2, count) { Self.log(logger, $0) }) }
        Comparison(
            name: "json-line-8-keys-2-threads", ours: two[0], baseline: two[1], unit: "ns",
            what: "StreamLogHandler, text"
        ).report()
        let below = [ours, theirs].map { logger in
            nanoseconds(10_000_000) { for index in 0..<$0 { logger.debug("unseen", metadata: ["index": "\(index)"]) } }
        }
        Comparison(
            name: "line-below-the-level", ours: below[0], baseline: below[1], unit: "ns", what: "StreamLogHandler"
        ).report()
        sink.flush(timeout: .seconds(10))
        print("dropped: \(sink.droppedLines)")
    }

    @inline(never)
    static func log(_ logger: Logger, _ count: Int) {
        for index in 0..<count {
            logger.info(
                "request",
                metadata: [
                    "http.request.method": "GET", "url.path": "/v1/orders/0198a4b2-7c00-7000-8000-000000000001",
                    "http.route": "/v1/orders/{id}", "http.response.status_code": .stringConvertible(200),
                    "http.response.body.size": .stringConvertible(index), "duration_ms": .stringConvertible(4.21),
                    "client.address": "127.0.0.1", "user": "0198a4b2-7c00-7000-8000-000000000002",
                ]
            )
        }
    }
}

private struct NothingHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }

    func log(event: LogEvent) {}
}
