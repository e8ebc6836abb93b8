public import Logging

/// What all log handlers of one service share: where lines go, in which format, and how a line finds its trace.
public struct LogOutput: Sendable {
    /// Shape of a line.
    public enum Format: String, Sendable, CaseIterable {
        /// One JSON object a line, for machines.
        case json
        /// Aligned text, for people at a terminal.
        case pretty
    }

    /// The ids of the span a line belongs to, in lower-case hexadecimal (W3C Trace Context).
    public struct Trace: Sendable, Equatable {
        public var traceID: String
        public var spanID: String

        public init(traceID: String, spanID: String) {
            self.traceID = traceID
            self.spanID = spanID
        }
    }

    let service: String
    let format: Format
    let level: Logger.Level
    let sink: any LogSink
    let trace: @Sendable () -> Trace?

    /// - Parameters:
    ///   - service: Written as `service`.
    ///   - level: The level that handlers start with.
    ///   - sink: Receives whole lines.
    ///   - trace: Called on the thread that logs, for each line; `nil` outside any span. A closure, so that this module
    ///     needs no tracer.
    public init(
        service: String,
        format: Format,
        level: Logger.Level,
        sink: any LogSink,
        trace: @escaping @Sendable () -> Trace? = { nil }
    ) {
        self.service = service
        self.format = format
        self.level = level
        self.sink = sink
        self.trace = trace
    }

    func write(_ record: LogRecord) {
        var line = LineBuffer(reserving: 512)
        switch self.format {
        case .json: record.encodeJSON(service: self.service, into: &line)
        case .pretty: record.encodePretty(into: &line)
        }
        self.sink.write(line.bytes)
    }
}
