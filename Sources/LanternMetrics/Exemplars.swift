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

/// Answers the span that the caller is in, if it is sampled.
typealias ExemplarSource = @Sendable () -> ExemplarContext?

/// Which buckets of a series want an exemplar: one word, which most observations read and go on.
///
/// Scrapes open the buckets again, not a clock on the recording path.
struct ExemplarGate: Sendable {
    /// A bit for each bucket that has one; buckets from the 64th on share the last bit.
    let cell: Cell

    @inline(__always)
    func isOpen(_ bucket: Int) -> Bool { self.cell.bits & Self.bit(bucket) == 0 }

    /// Closes the bucket; `false` where somebody else was faster.
    func close(_ bucket: Int) -> Bool {
        let bit = Self.bit(bucket)
        return self.cell.setBits(bit) & bit == 0
    }

    func open(_ buckets: some Sequence<Int>) {
        self.cell.clearBits(buckets.reduce(0) { $0 | Self.bit($1) })
    }

    @inline(__always)
    private static func bit(_ bucket: Int) -> UInt64 { 1 << UInt64(min(bucket, 63)) }
}

/// The exemplars of one series, at most one for each bucket and interval.
final class ExemplarStore: Sendable {
    let gate: ExemplarGate
    let source: ExemplarSource
    private let taken = Mutex<[Int: Exemplar]>([:])

    init(gate: ExemplarGate, source: @escaping ExemplarSource) {
        self.gate = gate
        self.source = source
    }

    /// Keeps an observation as its bucket's exemplar, unless another thread just did.
    func keep(_ bucket: Int, value: Double, _ context: ExemplarContext) {
        guard self.gate.close(bucket) else { return }
        let exemplar = Exemplar(context: context, value: value, time: WallClock.now())
        self.taken.withLock { $0[bucket] = exemplar }
    }

    /// The exemplars by bucket. Those older than `interval` seconds may be replaced from now on.
    func read(now: Double, interval: Double) -> [Int: Exemplar] {
        let exemplars = self.taken.withLock { $0 }
        let old = exemplars.filter { now - $0.value.time >= interval }
        if !old.isEmpty { self.gate.open(old.keys) }
        return exemplars
    }
}

/// What a recorder needs to take exemplars. The source is here itself, not by way of the store: most calls end at it, and
/// what is not touched needs no reference counted.
struct ExemplarTaker: Sendable {
    private let gate: ExemplarGate
    private let source: ExemplarSource
    private let store: ExemplarStore

    init?(_ store: ExemplarStore?) {
        guard let store else { return nil }
        self.gate = store.gate
        self.source = store.source
        self.store = store
    }

    @inline(__always)
    func offer(_ bucket: Int, _ value: @autoclosure () -> Double) {
        if self.gate.isOpen(bucket), let context = self.source() { self.store.keep(bucket, value: value(), context) }
    }
}
