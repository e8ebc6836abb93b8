public import HTTPTypes
public import Tracing

/// Carries trace context in HTTP fields.
public struct HTTPFieldCarrier: Injector, Extractor {
    public init() {}

    /// Several `traceparent` fields are malformed, which the joined value shows; several others are one list.
    public func extract(key: String, from fields: HTTPFields) -> String? {
        guard let name = Self.name(key) else { return nil }
        let values = fields[values: name]
        return values.isEmpty ? nil : values.joined(separator: ",")
    }

    public func inject(_ value: String, forKey key: String, into fields: inout HTTPFields) {
        guard let name = Self.name(key) else { return }
        fields[name] = value
    }

    /// Making a name checks and lowers each character, and each request asks for the same three.
    private static func name(_ key: String) -> HTTPField.Name? {
        switch key {
        case "traceparent": self.traceparent
        case "tracestate": self.tracestate
        case "baggage": self.baggage
        default: HTTPField.Name(key)
        }
    }

    private static let traceparent = HTTPField.Name("traceparent")
    private static let tracestate = HTTPField.Name("tracestate")
    private static let baggage = HTTPField.Name("baggage")
}

/// The span that the current task is in, as W3C Trace Context writes it.
public enum CurrentTrace {
    private struct Carrier: Injector {
        func inject(_ value: String, forKey key: String, into carrier: inout String?) {
            if key == "traceparent" { carrier = value }
        }
    }

    public static var traceparent: String? {
        InstrumentationContext.current.flatMap { self.traceparent(of: $0, InstrumentationSystem.instrument) }
    }

    /// That of a context.
    static func traceparent(of context: InstrumentationContext, _ instrument: any Instrument) -> String? {
        var carrier: String?
        instrument.inject(context, into: &carrier, using: Carrier())
        return carrier
    }

    /// 32 hexadecimal digits.
    public static var traceID: String? {
        self.traceparent.flatMap { value in
            let parts = value.split(separator: "-")
            return parts.count == 4 ? String(parts[1]) : nil
        }
    }
}
