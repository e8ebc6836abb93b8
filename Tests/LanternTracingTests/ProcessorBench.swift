import CoreMetrics
import LanternMetrics
import LanternMetricsTesting
import Logging
import ServiceLifecycle
import Synchronization
import Testing
import Tracing

@testable import LanternTracing

/// A batch processor with a receiver that obeys the test, and what it counted and told.
struct ProcessorBench {
    /// What the counters show.
    struct Counts: Equatable {
        var exported = 0
        var dropped = 0
        var failures = 0
    }

    /// What was logged: levels and messages.
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    private struct Handler: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .trace

        subscript(metadataKey key: String) -> Logger.MetadataValue? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            self.lines.all.withLock { $0.append("\(event.level): \(event.message)") }
        }
    }

    let exporter: ScriptedExporter
    let processor: BatchSpanProcessor
    private let registry = MetricsRegistry()
    private let lines = Lines()

    /// Batches of four that wait for no time, and pauses of a moment, but for what is changed.
    init(_ exporter: ScriptedExporter, _ change: (inout BatchSpanProcessor.Limits) -> Void = { _ in }) {
        var limits = BatchSpanProcessor.Limits()
        limits.batchSize = 4
        limits.delay = .seconds(3_600)
        limits.firstPause = .milliseconds(1)
        limits.longestPause = .milliseconds(4)
        change(&limits)
        let lines = self.lines
        let logger = Logger(label: "test", factory: { _ in Handler(lines: lines) })
        self.exporter = exporter
        self.processor = withMetricsFactory(self.registry) {
            BatchSpanProcessor(exporter: exporter, limits: limits, logger: logger)
        }
    }

    /// Warnings and worse, and notices, in order.
    var told: [String] {
        self.lines.all.withLock { $0 }.filter {
            !$0.hasPrefix("debug") && !$0.hasPrefix("trace") && !$0.hasPrefix("info")
        }
    }

    /// Spans that have ended, with numbers for names.
    static func spans(_ numbers: Range<Int>) -> [FinishedSpan] {
        let processor = InMemorySpanProcessor()
        let tracer = LanternTracer(sampler: .alwaysOn, processor: processor)
        for number in numbers { tracer.startSpan("\(number)", context: .topLevel).end() }
        return processor.spans
    }

    static func names(_ numbers: Range<Int>) -> [String] { numbers.map { "\($0)" } }

    func process(_ numbers: Range<Int>) {
        for span in Self.spans(numbers) { self.processor.process(span) }
    }

    /// Runs the processor as a service while a body does something, and then until it has shut down.
    func run(while body: () async throws -> Void = {}) async throws {
        let logger = Logger(label: "group", factory: { _ in SwiftLogNoOpLogHandler() })
        let group = ServiceGroup(configuration: .init(services: [.init(service: self.processor)], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            do {
                try await body()
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    func counts() async throws -> Counts {
        let snapshot = try await MetricsSnapshot(self.registry)
        func count(_ name: String) -> Int { Int(snapshot.samples(name).first?.value ?? 0) }
        return Counts(
            exported: count("lantern_spans_exported_total"), dropped: count("lantern_spans_dropped_total"),
            failures: count("lantern_span_export_failures_total")
        )
    }

    /// Spans that wait or are being sent, as the gauge shows them.
    func queued() async throws -> Int {
        Int(try await MetricsSnapshot(self.registry).samples("lantern_spans_queued").first?.value ?? -1)
    }

    /// Waits for a condition, with a deadline.
    static func wait(_ what: String, until condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while try await !condition() {
            try #require(ContinuousClock.now < deadline, "waited for: \(what)")
            try await Task.sleep(for: .milliseconds(2))
        }
    }
}
