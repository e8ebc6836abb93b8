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

    init(_ spanContext: SpanContext, in surrounding: InstrumentationContext, _ recording: SpanRecording?) {
        self.spanContext = spanContext
        self.surrounding = surrounding
        self.recording = recording
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
        // it yields needs no allocation.
        @inline(__always)
        _modify {
            var attributes = self.recording?.take() ?? [:]
            yield &attributes
            self.recording?.putBack(attributes)
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
        guard recording.end(at: max(now, recording.start)) else { return }
        let finished = FinishedSpan(self, recording)
        if let tail = recording.tail {
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
    /// Where it waits for its local root, in a trace that is not sampled.
    let tail: TailBuffer?
    /// Whether its parent is in another process, or it has none.
    let isLocalRoot: Bool
    let state: Mutex<State>

    init(
        name: String, kind: SpanKind, parent: SpanContext?, start: UInt64, clock: TraceClock, limits: SpanLimits,
        processor: any SpanProcessor, tail: TailBuffer?, isLocalRoot: Bool
    ) {
        self.kind = kind
        self.parent = parent
        self.start = start
        self.clock = clock
        self.limits = limits
        self.processor = processor
        self.tail = tail
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

    /// Lends the attributes, to be changed in place. A lock cannot be held meanwhile: whoever changes them may ask the span.
    func take() -> SpanAttributes {
        self.state.withLock { state in
            // One that ended, or is full, keeps what it has.
            guard state.end == 0, state.attributes.count < self.limits.attributes else { return state.attributes }
            var taken: SpanAttributes = [:]
            swap(&taken, &state.attributes)
            return taken
        }
    }

    func putBack(_ attributes: SpanAttributes) {
        self.state.withLock { state in
            // Ended while they were lent: it shows what it would have had, but not what came after.
            guard state.end == 0 || state.attributes.isEmpty else { return }
            guard attributes.count <= self.limits.attributes else {
                return state.set(attributes, limit: self.limits.attributes)
            }
            var attributes = attributes
            if !state.attributes.isEmpty, state.attributes.count < self.limits.attributes {
                // Somebody else set some in the meantime.
                attributes.merge(state.attributes)
            }
            state.attributes = attributes
        }
    }

    /// Answers `false` where it has ended already.
    func end(at time: UInt64) -> Bool {
        self.state.withLock { state in
            guard state.end == 0 else { return false }
            state.end = max(time, 1)
            return true
        }
    }
}
