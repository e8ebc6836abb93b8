/// B3 propagation, single and multiple headers (openzipkin/b3-propagation).
enum B3 {
    static let traceIDKey = "X-B3-TraceId"
    static let spanIDKey = "X-B3-SpanId"
    static let sampledKey = "X-B3-Sampled"
    static let flagsKey = "X-B3-Flags"

    /// `{trace id}-{span id}`, then perhaps `-{sampling state}` and `-{parent's id}`; `nil` for anything else, also for a
    /// sampling state alone, which names no trace.
    static func parse(single value: String) -> RemoteSpan? {
        let parts = value.split(separator: "-", omittingEmptySubsequences: false)
        guard (2...4).contains(parts.count) else { return nil }
        if parts.count == 4, parts[3].utf8.count != 16 || self.number(parts[3]) == nil { return nil }
        let state = parts.count > 2 ? parts[2] : nil
        guard state != "true", state != "false" else { return nil }
        return self.span(parts[0], parts[1], state: state)
    }

    static func parse(traceID: String, spanID: String, sampled: String?, flags: String?) -> RemoteSpan? {
        guard sampled != "d" else { return nil }
        // Debug implies a decision to sample, whatever else is said.
        return self.span(traceID[...], spanID[...], state: flags == "1" ? "d" : sampled.map { $0[...] })
    }

    private static func span(_ trace: Substring, _ span: Substring, state: Substring?) -> RemoteSpan? {
        let high: UInt64?
        let low: UInt64?
        switch trace.utf8.count {
        case 32: (high, low) = (self.number(trace.prefix(16)), self.number(trace.suffix(16)))
        // Ids of 64 bits are those of 128 with zeros in front.
        case 16: (high, low) = (0, self.number(trace))
        default: return nil
        }
        guard let high, let low, let traceID = TraceID(high: high, low: low), span.utf8.count == 16,
            let number = self.number(span), let spanID = SpanID(number)
        else { return nil }
        let isSampled: Bool
        switch state {
        case nil, "1", "d", "true": isSampled = true
        case "0", "false": isSampled = false
        default: return nil
        }
        let context = SpanContext(
            traceID: traceID, spanID: spanID, flags: state != nil && isSampled ? 1 : 0, isRemote: true
        )
        return RemoteSpan(context, isUndecided: state == nil)
    }

    private static func number(_ digits: Substring) -> UInt64? {
        String(digits).withUTF8Bytes { Hexadecimal.decode($0, 0..<$0.count) }
    }

    /// - Parameter isUndecided: Nobody said yet whether the trace is sampled, and it is not for whoever only passes it on.
    static func single(_ span: SpanContext, isUndecided: Bool) -> String {
        let ids = "\(span.traceID)-\(span.spanID)"
        return isUndecided ? ids : "\(ids)-\(span.isSampled ? 1 : 0)"
    }
}
