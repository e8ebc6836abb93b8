import Synchronization
import Tracing

/// Which local spans of traces that are not sampled are exported all the same: those of requests that failed or were slow.
///
/// Spans are held until the first of them in this process, the local root, has ended. Only local spans can be kept: the
/// flag that was sent to others cannot be called back.
public struct TailKeep: Sendable {
    /// A local root that took as long is kept with its spans.
    public var slow: Duration
    /// Spans that are held for one trace; further ones are not kept.
    public var spansPerTrace = 64
    /// Spans that are held for all traces.
    public var spans = 4_096

    public init(slow: Duration) {
        self.slow = slow
    }
}

/// The spans of one trace in this process that wait for their local root.
final class TailBuffer: Sendable {
    private struct State {
        var held: [FinishedSpan] = []
        /// What the local root decided.
        var isKept: Bool?
    }

    /// Why spans are held.
    enum Reason: Sendable {
        /// The trace is not sampled: kept if its local root failed or was slow.
        case unsampled
        /// The trace is sampled and quiet (``InstrumentationContext/isQuiet``): kept also if it sends something.
        case quiet
    }

    private let state = Mutex(State())
    private let keep: TailKeep
    let reason: Reason
    private let processor: any SpanProcessor
    private let budget: TailBudget

    init(_ keep: TailKeep, _ reason: Reason, processor: any SpanProcessor, budget: TailBudget) {
        self.keep = keep
        self.reason = reason
        self.processor = processor
        self.budget = budget
    }

    /// A local root that is never ended gives back what its trace held.
    deinit { self.budget.giveBack(self.state.withLock { $0.held.count }) }

    func ended(_ span: FinishedSpan, isLocalRoot: Bool) {
        let kept = self.state.withLock { state -> [FinishedSpan] in
            if let isKept = state.isKept { return isKept ? [span] : [] }
            let isDecided = isLocalRoot || self.leadsSomewhere(span, state.held.count)
            guard isDecided else {
                // The root holds a place of its own.
                if state.held.count < self.keep.spansPerTrace - 1, self.budget.take() { state.held.append(span) }
                return []
            }
            let isKept = !isLocalRoot || self.isKept(span)
            state.isKept = isKept
            let held = state.held
            state.held = []
            self.budget.giveBack(held.count)
            return isKept ? held + [span] : []
        }
        for span in kept { self.processor.process(span) }
    }

    /// Quiet work that sends something, fails within, or goes on and on, is not quiet any more.
    private func leadsSomewhere(_ span: FinishedSpan, _ held: Int) -> Bool {
        guard self.reason == .quiet else { return false }
        return span.kind == .producer || span.status?.code == .error || held >= self.keep.spansPerTrace - 1
    }

    private func isKept(_ root: FinishedSpan) -> Bool {
        if root.status?.code == .error { return true }
        let (seconds, attoseconds) = self.keep.slow.components
        // A hundred years are as good as never.
        let slow = UInt64(clamping: min(seconds, 3_155_760_000)) * 1_000_000_000
        return root.end - root.start >= slow + UInt64(clamping: attoseconds / 1_000_000_000)
    }
}

/// How many spans all traces together may still hold.
final class TailBudget: Sendable {
    private let left: Atomic<Int>

    init(_ spans: Int) { self.left = Atomic(spans) }

    func take() -> Bool {
        if self.left.wrappingSubtract(1, ordering: .relaxed).oldValue > 0 { return true }
        self.left.wrappingAdd(1, ordering: .relaxed)
        return false
    }

    func giveBack(_ count: Int) { self.left.wrappingAdd(count, ordering: .relaxed) }
}
