import Synchronization
import Tracing

/// What a span remembers that is recorded.
final class SpanRecording: Sendable {
    struct State {
        var name: String
        var attributes: SpanAttributes = [:]
        var events: [SpanEvent] = []
        var links: [SpanLink] = []
        var droppedAttributes = 0
        var droppedEvents = 0
        var droppedLinks = 0
        var status: SpanStatus?
        /// Nanoseconds since the epoch; 0 while the span is open.
        var end: UInt64 = 0
        /// How many are changing the attributes in place.
        var lenders = 0

        /// Attributes beyond the limit are those that came last.
        mutating func set(_ attributes: SpanAttributes, limit: Int) {
            guard attributes.count > limit else {
                self.attributes = attributes
                return
            }
            var kept: SpanAttributes = [:]
            self.attributes.forEach { name, _ in kept[name] = attributes.get(name) }
            attributes.forEach { name, value in
                if kept.get(name) != nil { return }
                if kept.count < limit { kept[name] = value } else { self.droppedAttributes += 1 }
            }
            self.attributes = kept
        }
    }

    let kind: SpanKind
    let parent: SpanContext?
    let start: UInt64
    let clock: TraceClock
    let limits: SpanLimits
    let processor: any SpanProcessor
    /// Whether its parent is in another process, or it has none.
    let isLocalRoot: Bool
    let state: Mutex<State>

    init(
        name: String, kind: SpanKind, parent: SpanContext?, start: UInt64, clock: TraceClock, limits: SpanLimits,
        processor: any SpanProcessor, isLocalRoot: Bool
    ) {
        self.kind = kind
        self.parent = parent
        self.start = start
        self.clock = clock
        self.limits = limits
        self.processor = processor
        self.isLocalRoot = isLocalRoot
        self.state = Mutex(State(name: name))
    }

    var isOpen: Bool { self.state.withLock { $0.end == 0 } }

    @inline(__always)
    func update(_ change: (inout State) -> Void) {
        self.state.withLock { state in
            if state.end == 0 { change(&state) }
        }
    }

    /// Attributes that somebody is changing.
    struct Lent {
        var attributes: SpanAttributes = [:]
        var isLent = false
        /// What they were, where the span kept them as well.
        var base: SpanAttributes?
    }

    /// Lends the attributes, to be changed in place. A lock cannot be held meanwhile: whoever changes them may ask the span.
    func lend() -> Lent {
        self.state.withLock { state in
            guard state.end == 0 else { return Lent(attributes: state.attributes, isLent: false) }
            state.lenders += 1
            // One that is full keeps what it has: only then is it known which came last.
            guard state.attributes.count < self.limits.attributes else {
                return Lent(attributes: state.attributes, isLent: true, base: state.attributes)
            }
            var lent = Lent(attributes: [:], isLent: true)
            swap(&lent.attributes, &state.attributes)
            return lent
        }
    }

    /// Answers whether the span ended meanwhile, so that it is only now finished.
    func takeBack(_ lent: Lent) -> Bool {
        self.state.withLock { state in
            state.lenders -= 1
            var merged = lent.attributes
            if let base = lent.base {
                // Only what was changed: the rest may have been changed by somebody else.
                merged = state.attributes
                lent.attributes.forEach { name, value in
                    if base.get(name) != value { merged[name] = value }
                }
                base.forEach { name, _ in
                    if lent.attributes.get(name) == nil { merged[name] = nil }
                }
            } else if !state.attributes.isEmpty {
                // Somebody else set some meanwhile; those that were there before come first.
                merged.merge(state.attributes)
                state.attributes = [:]
                state.set(lent.attributes, limit: self.limits.attributes)
            }
            state.set(merged, limit: self.limits.attributes)
            return state.end != 0 && state.lenders == 0
        }
    }

    /// Answers whether the span is finished now: not where it had ended before, nor while attributes of it are being changed.
    func end(at time: UInt64) -> Bool {
        self.state.withLock { state in
            guard state.end == 0 else { return false }
            state.end = max(time, 1)
            return state.lenders == 0
        }
    }
}
