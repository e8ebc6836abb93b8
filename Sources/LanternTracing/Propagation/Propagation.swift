public import Tracing

/// How context travels with requests and messages (`OTEL_PROPAGATORS`, `LANTERN_BAGGAGE_ALLOW`).
public struct Propagation: Sendable, Equatable {
    /// A format, as `OTEL_PROPAGATORS` names it.
    public enum Format: String, Sendable, CaseIterable {
        /// W3C Trace Context: `traceparent`, `tracestate`.
        case traceContext = "tracecontext"
        /// W3C Baggage: `baggage`.
        case baggage
        /// B3 in one header: `b3`.
        case b3
        /// B3 in several headers: `X-B3-…`.
        case b3multi
    }

    /// All are sent. Of what is received, the first that names a span counts.
    public var formats: [Format]
    /// Keys of baggage that leave this process. Empty: none do.
    public var allowedBaggage: Set<String>

    public init(_ formats: [Format] = [.traceContext, .baggage], allowedBaggage: Set<String> = []) {
        self.formats = formats
        self.allowedBaggage = allowedBaggage
    }

    /// Puts what a carrier brings into a context; a parent that the context has is replaced, because a malformed one means
    /// that a new trace begins (W3C Trace Context, section 4.3).
    func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        var remote: RemoteSpan?
        for format in self.formats {
            switch format {
            case .traceContext where remote == nil:
                guard let traceparent = extractor.extract(key: "traceparent", from: carrier) else { continue }
                remote = TraceContext.parse(
                    traceparent: traceparent, tracestate: extractor.extract(key: "tracestate", from: carrier)
                ).map { RemoteSpan($0) }
            case .b3 where remote == nil:
                remote = extractor.extract(key: "b3", from: carrier).flatMap(B3.parse(single:))
            case .b3multi where remote == nil:
                guard let trace = extractor.extract(key: B3.traceIDKey, from: carrier),
                    let span = extractor.extract(key: B3.spanIDKey, from: carrier)
                else { continue }
                remote = B3.parse(
                    traceID: trace, spanID: span, sampled: extractor.extract(key: B3.sampledKey, from: carrier),
                    flags: extractor.extract(key: B3.flagsKey, from: carrier)
                )
            case .baggage:
                guard let header = extractor.extract(key: "baggage", from: carrier) else { continue }
                let baggage = Baggage(header: header)
                if !baggage.members.isEmpty { context.baggage = baggage }
            default: continue
            }
        }
        if let remote {
            context.activeSpan = .remote(remote)
        } else if !context.isEmpty, self.formats.contains(where: { $0 != .baggage }) {
            context.activeSpan = nil
        }
    }

    func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        let active = context.activeSpan
        let span = active?.spanContext
        var isUndecided = false
        if case .remote(let remote) = active { isUndecided = remote.isUndecided }
        for format in self.formats {
            switch format {
            case .traceContext:
                guard let span else { continue }
                injector.inject(TraceContext.traceparent(span), forKey: "traceparent", into: &carrier)
                if !span.traceState.isEmpty { injector.inject(span.traceState, forKey: "tracestate", into: &carrier) }
            case .b3:
                guard let span else { continue }
                injector.inject(B3.single(span, isUndecided: isUndecided), forKey: "b3", into: &carrier)
            case .b3multi:
                guard let span else { continue }
                injector.inject(span.traceID.description, forKey: B3.traceIDKey, into: &carrier)
                injector.inject(span.spanID.description, forKey: B3.spanIDKey, into: &carrier)
                if isUndecided { continue }
                injector.inject(span.isSampled ? "1" : "0", forKey: B3.sampledKey, into: &carrier)
            case .baggage:
                guard !self.allowedBaggage.isEmpty,
                    let header = context.baggage?.header(allowing: self.allowedBaggage)
                else { continue }
                injector.inject(header, forKey: "baggage", into: &carrier)
            }
        }
    }
}

/// Carries context in a plain dictionary: the columns of a row, the attributes of a job. Keys are compared as they are.
public struct DictionaryCarrier: Injector, Extractor {
    public init() {}

    public func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }

    public func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) {
        carrier[key] = value
    }
}
