import CoreMetrics
import Foundation
public import LanternLogging
public import LanternMetrics
public import LanternTracing
import Logging
import ServiceLifecycle
import Tracing

/// Logger, metrics and tracer of one service, made from its environment. Nothing global: several live in one process.
public struct Telemetry: Sendable {
    let logger: Logger
    /// For HTTP server and service group.
    let frameworkLogger: Logger
    let levels: LogLevels
    private let sink: FileDescriptorSink?
    public let registry: MetricsRegistry
    let tracer: LanternTracer
    /// Runs as long as the service: exports spans.
    let exporter: (any Service)?

    /// What a test puts in place of standard output and the collector.
    public struct Overrides: Sendable {
        public var logSink: (any LogSink)?
        public var spanProcessor: (any SpanProcessor)?

        public init(logSink: (any LogSink)? = nil, spanProcessor: (any SpanProcessor)? = nil) {
            self.logSink = logSink
            self.spanProcessor = spanProcessor
        }
    }

    init(service: String, version: String, settings: Settings, overrides: Overrides) throws {
        let name = settings.string("OTEL_SERVICE_NAME") ?? service
        let level = try settings.value("LOG_LEVEL", default: Logger.Level.info, Self.levels) {
            Logger.Level(rawValue: $0.lowercased())
        }
        let format = try settings.value(
            "LOG_FORMAT", default: Terminal.isStandardOutput ? LogOutput.Format.pretty : .json, "json or pretty"
        ) { LogOutput.Format(rawValue: $0) }
        let overflow = try settings.value("LOG_OVERFLOW", default: FileDescriptorSink.Overflow.drop, "drop or block") {
            FileDescriptorSink.Overflow(rawValue: $0)
        }
        let sink = try overrides.logSink ?? FileDescriptorSink(overflow: overflow, collapse: .init(format: format))
        self.sink = sink as? FileDescriptorSink
        // What frameworks say at info is not news of the service.
        let levels = LogLevels(level, levels: [Self.frameworks: max(level, .warning)])
        let attributes = try Self.resourceAttributes(settings)
        let output = LogOutput(
            service: name, format: format, isColored: Terminal.isColored(settings), levels: levels,
            resource: attributes.map { (key: $0.0, value: $0.1) }, sink: sink
        ) {
            InstrumentationContext.current?.spanContext.map {
                LogOutput.Trace(
                    traceIDHigh: $0.traceID.high, traceIDLow: $0.traceID.low, spanID: $0.spanID.value
                )
            }
        }
        self.levels = levels
        let logger = Logger(label: service) { label in LanternLogHandler(label: label, output: output) }
        self.logger = logger
        self.frameworkLogger = Logger(label: Self.frameworks) { label in LanternLogHandler(label: label, output: output)
        }

        let registry = MetricsRegistry(logger: logger)
        registry.takeExemplars {
            // The spans of quiet work may never be exported.
            guard let context = InstrumentationContext.current, let span = context.spanContext, span.isSampled,
                !context.isQuiet
            else { return nil }
            return ExemplarContext(traceID: span.traceID.description, spanID: span.spanID.description)
        }
        registry.declare(MetricCatalogue.declarations)
        registry.collectProcess()
        let resource = Self.resource(name: name, attributes)
        registry.collectInfo("target_info", help: "Attributes of the process.", labels: resource)
        registry.collectInfo(
            "lantern_build_info", help: "What runs.", labels: [("service", service), ("version", version)]
        )
        // Counters that must be there before anything goes wrong, so that an alert on their increase works.
        _ = registry.makeCounter(label: "lantern_spans_dropped_total", dimensions: [])
        _ = registry.makeCounter(label: "lantern_spans_exported_total", dimensions: [])
        if let descriptor = sink as? FileDescriptorSink {
            registry.collect("log") {
                $0.add("lantern_log_dropped_total", .counter, value: Double(descriptor.droppedLines))
            }
        } else {
            _ = registry.makeCounter(label: "lantern_log_dropped_total", dimensions: [])
        }
        self.registry = registry

        let sampler = try settings.value(
            "OTEL_TRACES_SAMPLER", default: Sampler.parentBased(root: .alwaysOn),
            "a sampler of the OpenTelemetry specification"
        ) { Sampler(name: $0, argument: settings.string("OTEL_TRACES_SAMPLER_ARG")) }
        let (processor, exporter) = try Self.processor(
            resource: resource, settings: settings, overrides: overrides, logger: logger, registry: registry
        )
        self.tracer = LanternTracer(
            sampler: sampler, processor: processor, limits: try Self.limits(settings),
            tailKeep: try Self.tailKeep(settings), propagation: try Self.propagation(settings)
        )
        self.exporter = exporter
    }

    /// Runs `operation` with logger, metrics factory and tracer bound to its task and all tasks below.
    func bind<Value>(_ operation: nonisolated(nonsending) () async throws -> Value) async throws -> Value {
        try await withLogger(self.logger) { _ in
            try await withMetricsFactory(self.registry) {
                try await withTracer(self.tracer) { try await operation() }
            }
        }
    }

    private static let levels = "one of trace, debug, info, notice, warning, error, critical"

    private static let frameworks = "frameworks"

    /// Waits until the log is written, a second at most. Blocks its thread: for the end of a service only.
    func flushLog() { self.sink?.flush() }

    /// `OTEL_RESOURCE_ATTRIBUTES`, but for the name, which has a variable of its own.
    private static func resourceAttributes(_ settings: Settings) throws -> [(String, String)] {
        try settings.value(
            "OTEL_RESOURCE_ATTRIBUTES", default: [(String, String)](), "key=value pairs, separated by commas"
        ) { text -> [(String, String)]? in
            var pairs: [(String, String)] = []
            for part in text.split(separator: ",") {
                let halves = part.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
                guard halves.count == 2, !halves[0].isEmpty else { return nil }
                pairs.append((halves[0], halves[1].removingPercentEncoding ?? halves[1]))
            }
            return pairs
        }.filter { $0.0 != "service.name" }
    }

    private static func resource(name: String, _ attributes: [(String, String)]) -> [(String, String)] {
        [("service.name", name)] + attributes + [
            ("telemetry.sdk.language", "swift"), ("telemetry.sdk.name", "lantern"),
        ]
    }

    /// Spans of requests that failed or were slow, also where their trace is not sampled.
    private static func tailKeep(_ settings: Settings) throws -> TailKeep? {
        guard settings.string("LANTERN_TAIL_KEEP") != nil else { return nil }
        return TailKeep(slow: try settings.duration("LANTERN_TAIL_KEEP", default: .seconds(1)))
    }

    private static func propagation(_ settings: Settings) throws -> Propagation {
        let formats = try settings.value(
            "OTEL_PROPAGATORS", default: Propagation().formats,
            "none, or some of \(Propagation.Format.allCases.map(\.rawValue).joined(separator: ", ")), separated by commas"
        ) { text -> [Propagation.Format]? in
            let names = text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            if names == ["none"] { return [] }
            let formats = names.compactMap { Propagation.Format(rawValue: $0) }
            return formats.count == names.count ? formats : nil
        }
        let allowed = (settings.string("LANTERN_BAGGAGE_ALLOW") ?? "").split(separator: ",").map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        return Propagation(formats, allowedBaggage: Set(allowed).subtracting([""]))
    }

    private static func limits(_ settings: Settings) throws -> SpanLimits {
        func count(_ name: String, _ fallback: Int) throws -> Int {
            try settings.value(name, default: fallback, "a whole number from 0") {
                Int($0).flatMap { $0 >= 0 ? $0 : nil }
            }
        }
        var limits = SpanLimits()
        limits.attributes = try count("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count("OTEL_ATTRIBUTE_COUNT_LIMIT", 128))
        limits.attributesPerEvent = try count(
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count("OTEL_ATTRIBUTE_COUNT_LIMIT", 128)
        )
        limits.attributesPerLink = try count(
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", count("OTEL_ATTRIBUTE_COUNT_LIMIT", 128)
        )
        limits.events = try count("OTEL_SPAN_EVENT_COUNT_LIMIT", 128)
        limits.links = try count("OTEL_SPAN_LINK_COUNT_LIMIT", 128)
        let length = try count(
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", count("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", .max)
        )
        limits.attributeLength = length == .max ? nil : length
        return limits
    }

    private static func processor(
        resource: [(String, String)], settings: Settings, overrides: Overrides, logger: Logger,
        registry: MetricsRegistry
    ) throws -> (any SpanProcessor, (any Service)?) {
        if let processor = overrides.spanProcessor { return (processor, nil) }
        if try settings.boolean("OTEL_SDK_DISABLED", default: false) { return (DiscardingSpanProcessor(), nil) }
        let endpoint = try self.endpoint(settings)
        // Without a collector named there is none to send to; the specification's localhost would log failures for ever.
        let kind = settings.string("OTEL_TRACES_EXPORTER") ?? (endpoint == nil ? "none" : "otlp")
        switch kind {
        case "none": return (DiscardingSpanProcessor(), nil)
        case "console":
            return (ConsoleSpanProcessor { logger.info("\($0)") }, nil)
        case "otlp":
            var limits = BatchSpanProcessor.Limits()
            func count(_ name: String, _ fallback: Int) throws -> Int {
                try settings.value(name, default: fallback, "a whole number from 1") {
                    Int($0).flatMap { $0 > 0 ? $0 : nil }
                }
            }
            limits.queueSize = try count("OTEL_BSP_MAX_QUEUE_SIZE", 2_048)
            limits.batchSize = min(limits.queueSize, try count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512))
            limits.delay = try settings.milliseconds("OTEL_BSP_SCHEDULE_DELAY", default: .seconds(5))
            limits.exportTimeout = try settings.milliseconds("OTEL_BSP_EXPORT_TIMEOUT", default: .seconds(30))
            let exporter = OTLPExporter(
                endpoint: endpoint ?? OTLPExporter.Endpoint(url: "http://localhost:4318/v1/traces"), resource: resource,
                client: UntracedHTTP.client
            )
            let processor = withMetricsFactory(registry) {
                BatchSpanProcessor(exporter: exporter, limits: limits, logger: logger)
            }
            return (processor, processor)
        default:
            throw ConfigurationError(name: "OTEL_TRACES_EXPORTER", value: kind, expected: "otlp, console or none")
        }
    }

    /// The collector, by the rules of the OTLP exporter specification: the variable for traces is used as it is, the
    /// general one is a base.
    private static func endpoint(_ settings: Settings) throws -> OTLPExporter.Endpoint? {
        func either(_ suffix: String) -> String? {
            settings.string("OTEL_EXPORTER_OTLP_TRACES_\(suffix)") ?? settings.string("OTEL_EXPORTER_OTLP_\(suffix)")
        }
        let url: String
        if let own = settings.string("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            url = own
        } else if let base = settings.string("OTEL_EXPORTER_OTLP_ENDPOINT") {
            url = (base.hasSuffix("/") ? String(base.dropLast()) : base) + "/v1/traces"
        } else {
            return nil
        }
        guard OTLPExporter.Endpoint(url: url).isValid else {
            throw ConfigurationError(name: "OTEL_EXPORTER_OTLP_ENDPOINT", value: url, expected: "an http or https URL")
        }
        let headers = (either("HEADERS") ?? "").split(separator: ",").compactMap {
            part -> (name: String, value: String)? in
            let halves = part.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            return halves.count == 2 ? (halves[0], halves[1].removingPercentEncoding ?? halves[1]) : nil
        }
        guard OTLPExporter.Endpoint(url: url, headers: headers).hasValidHeaders else {
            throw ConfigurationError(
                name: "OTEL_EXPORTER_OTLP_HEADERS", value: "***", expected: "name=value pairs that HTTP can carry"
            )
        }
        var timeout = try settings.milliseconds(
            settings.string("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT") == nil
                ? "OTEL_EXPORTER_OTLP_TIMEOUT" : "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            default: .seconds(10)
        )
        // 0 is no limit of an attempt's own: that of its batch remains.
        if timeout == .zero {
            timeout = try settings.milliseconds("OTEL_BSP_EXPORT_TIMEOUT", default: .seconds(30))
        }
        let compression = either("COMPRESSION") ?? "none"
        guard compression == "gzip" || compression == "none" else {
            throw ConfigurationError(
                name: "OTEL_EXPORTER_OTLP_COMPRESSION", value: compression, expected: "gzip or none")
        }
        return OTLPExporter.Endpoint(url: url, headers: headers, timeout: timeout, gzip: compression == "gzip")
    }
}
