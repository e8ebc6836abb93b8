import Synchronization
public import Tracing

/// A span that is open. Ends once; what is set after its end is ignored. Safe from any thread.
///
/// One of a trace that is not sampled has ids and context only, and costs one allocation.
public final class LanternSpan: Span {
    /// The ids of this span.
    public let spanContext: SpanContext

    /// The context it was opened in. Its own is made when somebody asks, or span and context would keep each other alive.
    private let surrounding: InstrumentationContext
    let recording: SpanRecording?
    /// Where it waits for its local root. Not part of what is recorded: the buffer holds that.
    let tail: TailBuffer?

    init(
        _ spanContext: SpanContext, in surrounding: InstrumentationContext, _ recording: SpanRecording?,
        tail: TailBuffer? = nil
    ) {
        self.spanContext = spanContext
        self.surrounding = surrounding
        self.recording = recording
        self.tail = tail
    }

    public var context: InstrumentationContext {
        var context = self.surrounding
        context.activeSpan = .local(self)
        return context
    }

    public var isRecording: Bool { self.recording?.isOpen ?? false }

    public var operationName: String {
        get { self.recording?.state.withLock { $0.name } ?? "" }
        set { self.recording?.update { $0.name = newValue } }
    }

    public var attributes: SpanAttributes {
        get { self.recording?.state.withLock { $0.attributes } ?? [:] }
        set {
            guard let recording else { return }
            recording.update { $0.set(newValue, limit: recording.limits.attributes) }
        }
        // In place: with `get` and `set` each attribute would copy all those before it. Short, so that what it keeps while
        // it yields needs no allocation. Whoever reads them meanwhile, from another thread, sees none.
        @inline(__always)
        _modify {
            var lent = self.recording?.lend() ?? SpanRecording.Lent()
            yield &lent.attributes
            if lent.isLent { self.takeBack(lent) }
        }
    }

    public func setStatus(_ status: SpanStatus) {
        // "Ok" is a word of the last instance, which nobody overrules (Trace API, "Set Status").
        self.recording?.update { if $0.status?.code != .ok { $0.status = status } }
    }

    public func addEvent(_ event: SpanEvent) {
        guard let recording else { return }
        let time = recording.clock.time(event.nanosecondsSinceEpoch)
        let event =
            time == event.nanosecondsSinceEpoch
            ? event
            : SpanEvent(
                name: event.name, at: DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: time),
                attributes: event.attributes
            )
        recording.update { state in
            if state.events.count < recording.limits.events {
                state.events.append(event)
            } else {
                state.droppedEvents += 1
            }
        }
    }

    public func addLink(_ link: SpanLink) {
        guard let recording else { return }
        // Of the other context only its ids: it may hold spans, and all they hold.
        var context = InstrumentationContext.topLevel
        context.spanContext = link.context.spanContext
        let link = SpanLink(context: context, attributes: link.attributes)
        recording.update { state in
            if state.links.count < recording.limits.links { state.links.append(link) } else { state.droppedLinks += 1 }
        }
    }

    /// Adds an `exception` event. Only the error's type is kept: its text may hold what a user sent.
    public func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {
        guard let recording else { return }
        var attributes = attributes
        attributes["exception.type"] = String(reflecting: type(of: error))
        self.addEvent(SpanEvent(name: "exception", at: instant(), attributes: attributes))
        recording.update { state in
            if state.status == nil { state.status = SpanStatus(code: .error) }
        }
    }

    public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        guard let recording else { return }
        let now = recording.clock.time(instant().nanosecondsSinceEpoch)
        // A span never ends before it began, whatever it is told.
        if recording.end(at: max(now, recording.start)) { self.finish(recording) }
    }

    private func takeBack(_ lent: SpanRecording.Lent) {
        if let recording, recording.takeBack(lent) { self.finish(recording) }
    }

    private func finish(_ recording: SpanRecording) {
        let finished = FinishedSpan(self.spanContext, recording, isTailKept: self.tail?.reason == .unsampled)
        if let tail = self.tail {
            tail.ended(finished, isLocalRoot: recording.isLocalRoot)
        } else {
            recording.processor.process(finished)
        }
    }
}

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
