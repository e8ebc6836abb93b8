import Logging

/// What all log handlers of one service share: where lines go, in which format, and how a line finds its trace.
public final class LogOutput: Sendable {
    /// Shape of a line.
    public enum Format: String, Sendable, CaseIterable {
        /// One JSON object a line, for machines.
        case json
        /// Aligned text, for people at a terminal.
        case pretty
    }

    /// The ids of the span a line belongs to, as numbers (W3C Trace Context).
    public struct Trace: Sendable, Equatable {
        public var traceIDHigh: UInt64
        public var traceIDLow: UInt64
        public var spanID: UInt64

        public init(traceIDHigh: UInt64, traceIDLow: UInt64, spanID: UInt64) {
            self.traceIDHigh = traceIDHigh
            self.traceIDLow = traceIDLow
            self.spanID = spanID
        }
    }

    let service: String
    let format: Format
    let isColored: Bool
    public let levels: LogLevels
    let resource: [(key: String, value: String)]
    let sink: any LogSink
    let trace: @Sendable () -> Trace?

    /// - Parameters:
    ///   - service: Written as `service`.
    ///   - isColored: Whether pretty lines have colours.
    ///   - levels: The levels of loggers by their labels.
    ///   - resource: Attributes of the process, in every JSON line, before the metadata.
    ///   - sink: Receives whole lines.
    ///   - trace: Called on the thread that logs, for each line; `nil` outside any span. A closure, so that this module
    ///     needs no tracer.
    public init(
        service: String,
        format: Format,
        isColored: Bool = false,
        levels: LogLevels = LogLevels(),
        resource: [(key: String, value: String)] = [],
        sink: any LogSink,
        trace: @escaping @Sendable () -> Trace? = { nil }
    ) {
        self.service = service
        self.format = format
        self.isColored = isColored
        self.levels = levels
        self.resource = resource
        self.sink = sink
        self.trace = trace
    }

    /// Writes one line of the metadata that counts: of equal keys, the last list's.
    func write(
        _ level: Logger.Level, _ message: String, _ label: LogLabel, _ metadata: Logger.Metadata?, at time: Int64
    ) {
        LineWriter.withLine { line in
            let encoder = LineEncoder(line: line)
            let trace = self.trace()
            switch self.format {
            case .json:
                encoder.beginJSON(time, level, message, label, trace)
                if let metadata, !metadata.isEmpty {
                    metadata.forEachSorted { encoder.jsonMember($0, $1, label) }
                }
                encoder.endJSON()
            case .pretty:
                encoder.beginPretty(time, level, message, label, isColored: self.isColored)
                if let metadata, !metadata.isEmpty {
                    metadata.forEachSorted { encoder.prettyMember($0, $1, isColored: self.isColored) }
                }
                encoder.endPretty(trace, isColored: self.isColored)
            }
            let stamp = self.format == .json ? LineEncoder.jsonStamp : LineEncoder.prettyStamp
            line.withBytes { self.sink.write($0, level: level, stamp: stamp) }
        }
    }
}

/// What all handlers of one label share: its level, and what stands in each of its lines.
final class LogLabel: Sendable {
    let level: LogLevels.Cell
    /// `,"logger":…,"service":…`
    let json: [UInt8]
    /// The attributes of the process.
    let resource: [UInt8]
    let pretty: [UInt8]
    private let resourceKeys: Set<String>

    init(_ label: String, _ output: LogOutput) {
        self.level = output.levels.cell(label)
        self.json = LineWriter.bytes { line in
            line.append(",\"logger\":")
            line.appendJSON(label)
            line.append(",\"service\":")
            line.appendJSON(output.service)
        }
        var keys: Set<String> = []
        // One that looks like a metadata key behind its prefix could not be told from it.
        let attributes = output.resource.filter { !$0.key.hasPrefix("metadata.") && keys.insert($0.key).inserted }
        self.resource = LineWriter.bytes { line in
            for (key, value) in attributes where line.hasRoom {
                line.appendJSON(line.appendKey(key) ? "***" : value)
            }
        }
        self.resourceKeys = keys
        self.pretty = LineWriter.bytes { $0.appendPlain(label) }
    }

    /// Whether a metadata key, or what stands behind its prefixes, is that of an attribute of the process.
    @inline(__always)
    func isOfResource(_ key: String) -> Bool {
        !self.resourceKeys.isEmpty && self.contains(key[...])
    }

    private func contains(_ key: Substring) -> Bool {
        var key = key
        while key.utf8.starts(with: "metadata.".utf8) { key = key[key.utf8.index(key.startIndex, offsetBy: 9)...] }
        return self.resourceKeys.contains(String(key))
    }
}
