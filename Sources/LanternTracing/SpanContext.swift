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
        self.low = UInt64.random(in: 1...UInt64.max, using: &generator)
    }

    /// 32 lower-case hexadecimal digits.
    public var description: String { Hexadecimal.encode(self.high) + Hexadecimal.encode(self.low) }

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
        self.value = UInt64.random(in: 1...UInt64.max, using: &generator)
    }

    /// 16 lower-case hexadecimal digits.
    public var description: String { Hexadecimal.encode(self.value) }

    /// 8 bytes, big-endian.
    public var bytes: [UInt8] { Hexadecimal.bytes(self.value) }
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

extension InstrumentationContext {
    private enum SpanContextKey: InstrumentationContextKey {
        typealias Value = SpanContext
        static var nameOverride: String? { "lantern-span-context" }
    }

    /// The span that this context is in, or the remote parent that a request brought.
    public var spanContext: SpanContext? {
        get { self[SpanContextKey.self] }
        set { self[SpanContextKey.self] = newValue }
    }
}

enum Hexadecimal {
    private static let digits = Array("0123456789abcdef".utf8)

    static func encode(_ value: UInt64) -> String {
        String(unsafeUninitializedCapacity: 16) { buffer in
            for index in 0..<16 {
                buffer[index] = self.digits[Int(truncatingIfNeeded: value >> UInt64(60 - 4 * index)) & 15]
            }
            return 16
        }
    }

    static func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) }
    }

    /// The value of lower-case hexadecimal digits; `nil` for anything else. Upper case is invalid in `traceparent`.
    static func decode(_ digits: some Sequence<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }
}
