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
