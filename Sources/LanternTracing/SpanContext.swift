public import Tracing

/// The 128-bit id of a trace (W3C Trace Context, section 3.2.2.3). Never all zeros.
public struct TraceID: Hashable, Sendable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64

    /// `nil` where both halves are zero.
    public init?(high: UInt64, low: UInt64) {
        guard high != 0 || low != 0 else { return nil }
        self.high = high
        self.low = low
    }

    init(nonZero generator: inout some RandomNumberGenerator) {
        self.high = generator.next()
        self.low = generator.nextNonZero()
    }

    /// 32 lower-case hexadecimal digits.
    public var description: String {
        String(unsafeUninitializedCapacity: 32) { buffer in
            Hexadecimal.write(self.high, to: buffer, at: 0)
            Hexadecimal.write(self.low, to: buffer, at: 16)
            return 32
        }
    }

    /// 16 bytes, big-endian.
    public var bytes: [UInt8] { Hexadecimal.bytes(self.high) + Hexadecimal.bytes(self.low) }
}

/// The 64-bit id of a span (W3C Trace Context, section 3.2.2.4). Never zero.
public struct SpanID: Hashable, Sendable, CustomStringConvertible {
    public let value: UInt64

    /// `nil` where the value is zero.
    public init?(_ value: UInt64) {
        guard value != 0 else { return nil }
        self.value = value
    }

    init(nonZero generator: inout some RandomNumberGenerator) {
        self.value = generator.nextNonZero()
    }

    /// 16 lower-case hexadecimal digits.
    public var description: String {
        String(unsafeUninitializedCapacity: 16) { buffer in
            Hexadecimal.write(self.value, to: buffer, at: 0)
            return 16
        }
    }

    /// 8 bytes, big-endian.
    public var bytes: [UInt8] { Hexadecimal.bytes(self.value) }
}

extension RandomNumberGenerator {
    fileprivate mutating func nextNonZero() -> UInt64 {
        while true {
            let value: UInt64 = self.next()
            if value != 0 { return value }
        }
    }
}

/// What of a span travels: ids, flags and the `tracestate` of other vendors.
public struct SpanContext: Hashable, Sendable {
    public var traceID: TraceID
    public var spanID: SpanID
    /// W3C trace flags: bit 0 sampled, bit 1 random (level 2).
    public var flags: UInt8
    /// As received and validated; empty if none.
    public var traceState: String
    /// Whether it came from another process.
    public var isRemote: Bool

    public init(traceID: TraceID, spanID: SpanID, flags: UInt8, traceState: String = "", isRemote: Bool = false) {
        self.traceID = traceID
        self.spanID = spanID
        self.flags = flags
        self.traceState = traceState
        self.isRemote = isRemote
    }

    public var isSampled: Bool { self.flags & 1 == 1 }
}

/// What a context is in: a span of this process, or one that a message told of.
///
/// One pointer, so that setting it in a context allocates nothing but the context's own storage.
enum ActiveSpan: Sendable {
    case local(LanternSpan)
    case remote(RemoteSpan)

    var spanContext: SpanContext {
        switch self {
        case .local(let span): span.spanContext
        case .remote(let span): span.spanContext
        }
    }
}

/// A parent in another process.
final class RemoteSpan: Sendable {
    let spanContext: SpanContext
    /// Whether nobody decided yet if the trace is sampled, which B3 can say.
    let isUndecided: Bool

    init(_ spanContext: SpanContext, isUndecided: Bool = false) {
        self.spanContext = spanContext
        self.isUndecided = isUndecided
    }
}

extension InstrumentationContext {
    private enum ActiveSpanKey: InstrumentationContextKey {
        typealias Value = ActiveSpan
        static var nameOverride: String? { "lantern-span" }
    }

    private enum QuietKey: InstrumentationContextKey {
        typealias Value = Bool
        static var nameOverride: String? { "lantern-quiet" }
    }

    /// Whether a trace that begins here is worth nothing where it leads to nothing: that of a timer that looks each second if
    /// there is work. Its spans are exported if one of them fails, takes a second, or creates a message.
    public var isQuiet: Bool {
        get { self[QuietKey.self] ?? false }
        set { self[QuietKey.self] = newValue ? true : nil }
    }

    var activeSpan: ActiveSpan? {
        get { self[ActiveSpanKey.self] }
        set { self[ActiveSpanKey.self] = newValue }
    }

    /// The span that this context is in, or the remote parent that a request brought. What is set becomes a remote parent.
    public var spanContext: SpanContext? {
        get { self.activeSpan?.spanContext }
        set { self.activeSpan = newValue.map { .remote(RemoteSpan($0)) } }
    }
}
