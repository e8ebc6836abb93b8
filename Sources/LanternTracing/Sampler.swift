/// Decides at its start whether a span is recorded, as `OTEL_TRACES_SAMPLER` names it.
public enum Sampler: Sendable, Equatable {
    case alwaysOn
    case alwaysOff
    /// A share of new traces, 0…1, decided by the trace id so that every service agrees.
    case traceIDRatio(Double)
    /// Follows the parent; the root decides by another sampler.
    indirect case parentBased(root: Sampler)

    /// The sampler of an `OTEL_TRACES_SAMPLER` name and its `_ARG`; `nil` where either is not known.
    public init?(name: String, argument: String?) {
        func ratio() -> Double? {
            guard let argument, !argument.isEmpty else { return 1 }
            return Double(argument).flatMap { (0...1).contains($0) ? $0 : nil }
        }
        switch name {
        case "always_on": self = .alwaysOn
        case "always_off": self = .alwaysOff
        case "traceidratio":
            guard let ratio = ratio() else { return nil }
            self = .traceIDRatio(ratio)
        case "parentbased_always_on": self = .parentBased(root: .alwaysOn)
        case "parentbased_always_off": self = .parentBased(root: .alwaysOff)
        case "parentbased_traceidratio":
            guard let ratio = ratio() else { return nil }
            self = .parentBased(root: .traceIDRatio(ratio))
        default: return nil
        }
    }

    func samples(_ traceID: TraceID, parent: SpanContext?) -> Bool {
        switch self {
        case .alwaysOn: return true
        case .alwaysOff: return false
        case .traceIDRatio(let ratio):
            // The low 56 bits, big-endian, are the random part that all SDKs compare (Trace Context Level 2, random flag).
            let random = traceID.low & 0x00FF_FFFF_FFFF_FFFF
            return random >= UInt64((1 - ratio) * Double(1 << 56))
        case .parentBased(let root):
            if let parent { return parent.isSampled }
            return root.samples(traceID, parent: nil)
        }
    }
}
