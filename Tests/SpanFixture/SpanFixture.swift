import AsyncHTTPClient
import CoreMetrics
import Foundation
import LanternTracing
import Logging
import ServiceLifecycle
import UnixSignals

/// Makes spans and exports them, as a load or as a document lists them: what `Tests/OTLP` reads, refuses, stalls and
/// starves. Says each 200 ms what became of them, in one line of JSON, and once more when it ends.
@main
struct SpanFixture {
    static func main() async {
        do {
            let options = try FixtureOptions(ProcessInfo.processInfo.arguments.dropFirst())
            let document = try options.document.map { try SpanDocument(path: $0) }
            try await self.run(options, document)
        } catch {
            // One line, whatever was in the document.
            let message = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
            FileHandle.standardError.write(Data("span-fixture: \(message)\n".utf8))
            exit(2)
        }
    }

    private static func run(_ options: FixtureOptions, _ document: SpanDocument?) async throws {
        // As the platform's own errands have it (Sources/Lantern/UntracedHTTP.swift).
        var configuration = HTTPClient.Configuration()
        configuration.tracing.tracer = nil
        configuration.redirectConfiguration = .disallow
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(configuration: configuration)
        let logger = Logger(label: "span-fixture") { StreamLogHandler.standardError(label: $0) }
        let counters = CounterFactory()
        let exporter = OTLPExporter(endpoint: options.endpoint, resource: options.resource, client: client)
        let processor = withMetricsFactory(counters) {
            BatchSpanProcessor(exporter: exporter, limits: options.limits, logger: logger)
        }
        let report = FixtureReport(counters)
        let load = SpanLoad(options, document, processor, report)
        var quiet = logger
        quiet.logLevel = .warning
        // The load is stopped first, so that nothing is made that nobody would export.
        var services = ServiceGroupConfiguration(
            services: [
                .init(service: processor),
                .init(service: load, successTerminationBehavior: .gracefullyShutdownGroup),
            ],
            gracefulShutdownSignals: [.sigterm],
            logger: quiet
        )
        // As the platform has it (Sources/Lantern/ServiceHost.swift): a group that takes longer ends the process.
        services.maximumCancellationDuration = .seconds(5)
        let group = ServiceGroup(configuration: services)
        var failure: LoadFailure?
        do { try await group.run() } catch let error as LoadFailure { failure = error }
        report.finish()
        try await client.shutdown()
        if failure != nil { exit(1) }
    }
}

/// What the command line asks for.
struct FixtureOptions: Sendable {
    static let usage =
        "span-fixture --url URL [--rate N] [--seconds S] [--count N] [--threads N] [--document FILE] [--fail] [--gzip] "
        + "[--header NAME=VALUE] [--resource NAME=VALUE] [--queue N] [--batch N] [--delay-ms N] [--export-timeout-ms N] "
        + "[--timeout-ms N]"

    var endpoint: OTLPExporter.Endpoint
    var limits = BatchSpanProcessor.Limits()
    var resource = [("service.name", "span-fixture")]
    /// Spans a second, of all threads; 0 for as many as there can be.
    var rate = 0
    /// How long it works; where there is a count or a document, how long it stays at least.
    var seconds: Double?
    var count: Int?
    var threads = 1
    var document: String?
    /// Whether the load, when it is done, fails, which cancels all else.
    var fails = false

    init(_ arguments: some Sequence<String>) throws {
        var rest = Array(arguments)[...]
        var url: String?
        self.endpoint = OTLPExporter.Endpoint(url: "")
        func value<Value>(_ name: String, _ read: (String) -> Value?) throws -> Value {
            guard let value = rest.popFirst().flatMap(read) else {
                throw FixtureError("\(name) has no value that it takes; usage: \(Self.usage)")
            }
            return value
        }
        func number(_ name: String, from lowest: Int, to highest: Int = 1_000_000_000) throws -> Int {
            try value(name) { Int($0).flatMap { lowest...highest ~= $0 ? $0 : nil } }
        }
        func pair(_ name: String) throws -> (String, String) {
            try value(name) { text in
                let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return halves.count == 2 && !halves[0].isEmpty ? (String(halves[0]), String(halves[1])) : nil
            }
        }
        while let argument = rest.popFirst() {
            switch argument {
            case "--url": url = try value(argument) { $0 }
            case "--rate": self.rate = try number(argument, from: 0)
            case "--seconds": self.seconds = try value(argument) { Double($0).flatMap { 0...86_400 ~= $0 ? $0 : nil } }
            case "--count": self.count = try number(argument, from: 0)
            case "--threads": self.threads = try number(argument, from: 1, to: 64)
            case "--document": self.document = try value(argument) { $0 }
            case "--fail": self.fails = true
            case "--gzip": self.endpoint.gzip = true
            case "--header": self.endpoint.headers.append(try pair(argument))
            case "--resource": self.resource.append(try pair(argument))
            case "--queue": self.limits.queueSize = try number(argument, from: 1)
            case "--batch": self.limits.batchSize = try number(argument, from: 1)
            case "--delay-ms": self.limits.delay = .milliseconds(try number(argument, from: 0))
            case "--export-timeout-ms": self.limits.exportTimeout = .milliseconds(try number(argument, from: 0))
            case "--timeout-ms": self.endpoint.timeout = .milliseconds(try number(argument, from: 1))
            default: throw FixtureError("\(argument) is not known; usage: \(Self.usage)")
            }
        }
        guard let url else { throw FixtureError("no --url; usage: \(Self.usage)") }
        self.endpoint.url = url
        guard self.document != nil || self.count != nil || self.seconds != nil else {
            throw FixtureError("neither --seconds, nor --count, nor --document; usage: \(Self.usage)")
        }
        guard self.document == nil || (self.count == nil && self.rate == 0 && self.threads == 1) else {
            throw FixtureError("--document makes what it lists: no --count, --rate or --threads; usage: \(Self.usage)")
        }
    }
}

/// Why there are no spans, for a person to read.
struct FixtureError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
