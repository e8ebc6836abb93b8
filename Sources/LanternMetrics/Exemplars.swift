import Synchronization

/// The span that an observation happened in, as an exemplar names it.
public struct ExemplarContext: Sendable, Equatable {
    /// Lower-case hexadecimal, 32 digits.
    public var traceID: String
    /// Lower-case hexadecimal, 16 digits.
    public var spanID: String

    public init(traceID: String, spanID: String) {
        self.traceID = traceID
        self.spanID = spanID
    }
}

/// One observation with the trace that it was part of.
struct Exemplar: Sendable {
    var context: ExemplarContext
    var value: Double
    /// Seconds since the epoch.
    var time: Double
}

/// The exemplars of one series, at most one for each bucket and interval.
///
/// Scrapes open the buckets again, not a clock on the recording path: most observations read one word and go on.
final class ExemplarStore: Sendable {
    /// A bit for each bucket that wants an exemplar; buckets from the 64th on share the last bit.
    private let wanted = Atomic<UInt64>(.max)
    private let taken: Mutex<[Int: Exemplar]> = Mutex([:])
    private let source: @Sendable () -> ExemplarContext?

    init(source: @escaping @Sendable () -> ExemplarContext?) { self.source = source }

    @inline(__always)
    func isOpen(_ bucket: Int) -> Bool {
        self.wanted.load(ordering: .relaxed) & Self.bit(bucket) != 0
    }

    private static func bit(_ bucket: Int) -> UInt64 { 1 << UInt64(min(bucket, 63)) }

    /// Keeps the observation as the bucket's exemplar, if it happens in a sampled span.
    @inline(never)
    func take(_ bucket: Int, value: Double) {
        guard let context = self.source() else { return }
        let bit = Self.bit(bucket)
        // Two threads may have come here; one keeps its exemplar.
        guard self.wanted.bitwiseAnd(~bit, ordering: .relaxed).oldValue & bit != 0 else { return }
        let exemplar = Exemplar(context: context, value: value, time: WallClock.now())
        self.taken.withLock { $0[bucket] = exemplar }
    }

    /// The exemplars by bucket. Those older than `interval` seconds may be replaced from now on.
    func read(now: Double, interval: Double) -> [Int: Exemplar] {
        let exemplars = self.taken.withLock { $0 }
        var open: UInt64 = 0
        for (bucket, exemplar) in exemplars where now - exemplar.time >= interval { open |= Self.bit(bucket) }
        if open != 0 { self.wanted.bitwiseOr(open, ordering: .relaxed) }
        return exemplars
    }
}
