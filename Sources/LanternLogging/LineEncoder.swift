import Logging

/// Writes one record as a line. Whatever its strings hold, the line stays one line; what is too long is cut.
struct LineEncoder {
    /// How deep metadata may be nested: a reader who follows further is not known.
    private static let depthLimit = 8

    let line: LineWriter

    // MARK: JSON

    /// `{"timestamp":…,"level":…,"message":…` and what the label says of itself, up to the metadata.
    @inline(__always)
    func beginJSON(
        _ time: Int64, _ level: Logger.Level, _ message: String, _ label: LogLabel, _ trace: LogOutput.Trace?
    ) {
        self.line.append("{\"timestamp\":\"")
        self.line.appendTime(time)
        self.line.append("\",\"level\":\"")
        self.line.append(Self.name(level))
        self.line.append("\",\"message\":")
        self.line.appendJSON(message)
        self.line.append(label.json)
        if let trace {
            self.line.append(",\"trace_id\":\"")
            self.line.appendHexadecimal(trace.traceIDHigh)
            self.line.appendHexadecimal(trace.traceIDLow)
            self.line.append("\",\"span_id\":\"")
            self.line.appendHexadecimal(trace.spanID)
            self.line.append("\"")
        }
        self.line.append(label.resource)
    }

    /// Bytes up to the end of the time, in both formats: what differs between two lines that are otherwise equal.
    static let jsonStamp = 41
    static let prettyStamp = 27

    @inline(__always)
    func jsonMember(_ key: String, _ value: Logger.MetadataValue, _ label: LogLabel) {
        guard self.line.hasRoom else { return }
        let namesSecret = self.line.appendKey(label.isOfResource(key) ? "metadata." + key : key)
        self.json(value, namesSecret, depth: 0)
    }

    func endJSON() {
        if self.line.isCut { self.line.close(",\"truncated\":true") }
        self.line.close("}\n")
    }

    private func json(_ value: Logger.MetadataValue, _ namesSecret: Bool, depth: Int) {
        guard depth < Self.depthLimit else { return self.line.append("\"…\"") }
        switch value {
        case .string(let string):
            namesSecret ? self.line.append("\"***\"") : self.line.appendJSON(string)
        case .stringConvertible(let convertible):
            self.json(convertible, value, namesSecret)
        case .array(let values):
            if namesSecret { return self.line.append("\"***\"") }
            self.line.append("[")
            for (index, value) in values.enumerated() {
                guard self.line.hasRoom else { break }
                if index > 0 { self.line.append(",") }
                self.json(value, false, depth: depth + 1)
            }
            self.line.close("]")
        case .dictionary(let values):
            if namesSecret { return self.line.append("\"***\"") }
            self.line.append("{")
            var isFirst = true
            values.forEachSorted { key, value in
                guard self.line.hasRoom else { return }
                if !isFirst { self.line.append(",") }
                isFirst = false
                self.line.appendName(key)
                self.json(value, Redaction.hides(key), depth: depth + 1)
            }
            self.line.close("}")
        }
    }

    /// Numbers and booleans stay what they are.
    private func json(
        _ convertible: any CustomStringConvertible & Sendable, _ value: Logger.MetadataValue, _ namesSecret: Bool
    ) {
        // Asks for the type once: each cast that fails costs as much as the line's time.
        let type = ObjectIdentifier(type(of: convertible))
        if type == ObjectIdentifier(Int.self), let number = convertible as? Int {
            namesSecret ? self.line.append("\"***\"") : self.line.append(Int64(number))
        } else if type == ObjectIdentifier(Double.self), let number = convertible as? Double, number.isFinite {
            namesSecret ? self.line.append("\"***\"") : self.append(number)
        } else if type == ObjectIdentifier(Bool.self), let flag = convertible as? Bool {
            self.line.append(namesSecret ? "\"***\"" : flag ? "true" : "false")
        } else if Self.isHidden(value, namesSecret) {
            self.line.append("\"***\"")
        } else if let write = Self.rareNumbers[type], write(convertible, self.line) {
            return
        } else {
            self.line.appendJSON(convertible.description)
        }
    }

    /// As `description` writes it, without making a string of a number that has at most three decimals: a duration in
    /// milliseconds, say. Fewer than 16 digits tell one number from all others, so there is no shorter way to write it.
    private func append(_ number: Double) {
        let thousandths = number * 1_000
        guard number > 0, thousandths < 1e12, let whole = UInt64(exactly: thousandths.rounded()),
            Double(whole) / 1_000 == number
        else { return self.line.append(number.description) }
        self.line.append(whole / 1_000)
        let decimals = whole % 1_000
        let digits: (StaticString, UInt64) =
            if decimals % 100 == 0 {
                (".", decimals / 100)
            } else if decimals % 10 == 0 {
                (decimals < 100 ? ".0" : ".", decimals / 10)
            } else {
                (decimals < 10 ? ".00" : decimals < 100 ? ".0" : ".", decimals)
            }
        self.line.append(digits.0)
        self.line.append(digits.1)
    }

    /// What a value says of itself counts more than its key.
    private static func isHidden(_ value: Logger.MetadataValue, _ namesSecret: Bool) -> Bool {
        value.attributes[Sensitivity.self].map { $0 == .sensitive } ?? namesSecret
    }

    private typealias NumberWriter = @Sendable (any CustomStringConvertible & Sendable, LineWriter) -> Bool

    private static let rareNumbers: [ObjectIdentifier: NumberWriter] = {
        func integer<Value: FixedWidthInteger & SendableMetatype>(
            _ type: Value.Type
        ) -> (ObjectIdentifier, NumberWriter) {
            (
                ObjectIdentifier(type),
                { value, line in
                    guard let value = value as? Value else { return false }
                    if let whole = Int64(exactly: value) {
                        line.append(whole)
                    } else {
                        line.append(UInt64(clamping: value))
                    }
                    return true
                }
            )
        }
        var writers = Dictionary(
            uniqueKeysWithValues: [
                integer(Int8.self), integer(Int16.self), integer(Int32.self), integer(Int64.self), integer(UInt.self),
                integer(UInt8.self), integer(UInt16.self), integer(UInt32.self), integer(UInt64.self),
            ]
        )
        writers[ObjectIdentifier(Float.self)] = { value, line in
            guard let value = value as? Float, value.isFinite else { return false }
            line.append(value.description)
            return true
        }
        return writers
    }()

    // MARK: Pretty

    /// `time LEVEL logger  message`.
    func beginPretty(_ time: Int64, _ level: Logger.Level, _ message: String, _ label: LogLabel, isColored: Bool) {
        self.line.appendTime(time)
        self.line.append(" ")
        if isColored { self.line.append(Self.color(level)) }
        self.line.append(Self.padded(level))
        if isColored { self.line.append(Self.plain) }
        self.line.append(label.pretty)
        self.line.append("  ")
        self.line.appendPlain(message)
    }

    func prettyMember(_ key: String, _ value: Logger.MetadataValue, isColored: Bool) {
        guard self.line.hasRoom else { return }
        self.line.append(" ")
        if isColored { self.line.append(Self.dim) }
        self.line.appendPlain(key)
        self.line.append("=")
        if isColored { self.line.append(Self.plain) }
        let namesSecret = Redaction.hides(key)
        switch value {
        case .array, .dictionary:
            // As JSON, where what lies within is masked by its own key.
            self.json(value, namesSecret, depth: 0)
        case .string(let string):
            namesSecret ? self.line.append("***") : self.line.appendPlain(string)
        case .stringConvertible(let convertible):
            Self.isHidden(value, namesSecret)
                ? self.line.append("***") : self.line.appendPlain(convertible.description)
        }
    }

    /// The trace's first eight digits: enough to tell one from another on a screen.
    func endPretty(_ trace: LogOutput.Trace?, isColored: Bool) {
        if let trace {
            self.line.append(" ")
            if isColored { self.line.append(Self.dim) }
            self.line.append("trace=")
            let digits = String(trace.traceIDHigh >> 32, radix: 16)
            self.line.append(String(repeating: "0", count: 8 - digits.count) + digits)
            if isColored { self.line.append(Self.plain) }
        }
        if self.line.isCut { self.line.close(" …") }
        self.line.close("\n")
    }

    private static let plain: StaticString = "\u{1B}[0m"
    private static let dim: StaticString = "\u{1B}[2m"

    private static func color(_ level: Logger.Level) -> StaticString {
        switch level {
        case .trace, .debug: "\u{1B}[2m"
        case .info: "\u{1B}[32m"
        case .notice: "\u{1B}[36m"
        case .warning: "\u{1B}[33m"
        case .error, .critical: "\u{1B}[1;31m"
        }
    }

    private static func padded(_ level: Logger.Level) -> StaticString {
        switch level {
        case .trace: "TRACE    "
        case .debug: "DEBUG    "
        case .info: "INFO     "
        case .notice: "NOTICE   "
        case .warning: "WARNING  "
        case .error: "ERROR    "
        case .critical: "CRITICAL "
        }
    }

    private static func name(_ level: Logger.Level) -> StaticString {
        switch level {
        case .trace: "trace"
        case .debug: "debug"
        case .info: "info"
        case .notice: "notice"
        case .warning: "warning"
        case .error: "error"
        case .critical: "critical"
        }
    }
}
