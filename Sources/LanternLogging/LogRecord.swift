import Logging

/// One record, before it is a line.
struct LogRecord {
    var time: LogTime
    var level: Logger.Level
    var message: String
    var logger: String
    var trace: LogOutput.Trace?
    var metadata: Logger.Metadata
}

extension LogRecord {
    private static let reserved: Set<String> = [
        "timestamp", "level", "message", "logger", "service", "trace_id", "span_id",
    ]

    /// Appends the record as one JSON object and a newline. Whatever the strings hold, the line stays one line.
    func encodeJSON(service: String, into line: inout LineBuffer) {
        line.append("{\"timestamp\":\"")
        self.time.append(to: &line)
        line.append("\",\"level\":\"")
        line.append(self.level.rawValue)
        line.append("\",\"message\":")
        line.appendJSON(self.message)
        line.append(",\"logger\":")
        line.appendJSON(self.logger)
        line.append(",\"service\":")
        line.appendJSON(service)
        if let trace = self.trace {
            line.append(",\"trace_id\":")
            line.appendJSON(trace.traceID)
            line.append(",\"span_id\":")
            line.appendJSON(trace.spanID)
        }
        for (key, value) in self.metadata.sorted(by: { $0.key < $1.key }) {
            line.append(",")
            line.appendJSON(Self.reserved.contains(key) ? "metadata.\(key)" : key)
            line.append(":")
            Self.encode(value, key: key, depth: 0, into: &line)
        }
        line.append("}\n")
    }

    private static func encode(_ value: Logger.MetadataValue, key: String, depth: Int, into line: inout LineBuffer) {
        // A cycle is impossible, but depth comes from the caller's data: cut it where no reader follows any more.
        guard depth < 8 else { return line.append("\"…\"") }
        guard !Redaction.hides(key: key, value: value) else { return line.append("\"***\"") }
        switch value {
        case .string(let string): line.appendJSON(string)
        case .stringConvertible(let convertible):
            switch convertible {
            case let number as Int: line.append(String(number))
            case let number as Int64: line.append(String(number))
            case let number as Double where number.isFinite: line.append("\(number)")
            case let flag as Bool: line.append(flag ? "true" : "false")
            default: line.appendJSON(convertible.description)
            }
        case .array(let values):
            line.append("[")
            for (index, value) in values.enumerated() {
                if index > 0 { line.append(",") }
                self.encode(value, key: key, depth: depth + 1, into: &line)
            }
            line.append("]")
        case .dictionary(let values):
            line.append("{")
            for (index, entry) in values.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { line.append(",") }
                line.appendJSON(entry.key)
                line.append(":")
                self.encode(entry.value, key: entry.key, depth: depth + 1, into: &line)
            }
            line.append("}")
        }
    }

    /// Appends the record as `time LEVEL logger message key=value … trace=abcdef01` and a newline.
    func encodePretty(into line: inout LineBuffer) {
        self.time.append(to: &line)
        line.append(" ")
        let level = self.level.rawValue.uppercased()
        line.append(level + String(repeating: " ", count: max(0, 8 - level.count)))
        line.appendOneLine(self.logger)
        line.append("  ")
        line.appendOneLine(self.message)
        for (key, value) in self.metadata.sorted(by: { $0.key < $1.key }) {
            line.append(" ")
            line.appendOneLine(key)
            line.append("=")
            switch value {
            case .array, .dictionary:
                // As JSON, where what lies within is masked by its own key.
                Self.encode(value, key: key, depth: 0, into: &line)
            case .string, .stringConvertible:
                line.appendOneLine(Redaction.hides(key: key, value: value) ? "***" : value.description)
            }
        }
        if let trace = self.trace {
            line.append(" trace=")
            line.append(String(trace.traceID.prefix(8)))
        }
        line.append("\n")
    }
}

/// Which metadata values never reach a line: those marked sensitive, and those whose key names a secret.
enum Redaction {
    private static let secrets = [
        "password", "passwd", "secret", "authorization", "cookie", "token", "apikey", "privatekey",
    ]

    static func hides(key: String, value: Logger.MetadataValue) -> Bool {
        if let sensitivity = value.attributes[Sensitivity.self] {
            return sensitivity == .sensitive
        }
        let key = key.lowercased().filter(\.isLetter)
        return self.secrets.contains { key.contains($0) }
    }
}
