import Synchronization
public import Tracing

/// How much one span may hold (`OTEL_SPAN_*_LIMIT`, `OTEL_ATTRIBUTE_*_LIMIT`); what is beyond is counted, not kept.
public struct SpanLimits: Sendable {
    public var attributes = 128
    public var events = 128
    public var links = 128
    /// Characters of an attribute's string value; `nil` for no limit.
    public var attributeLength: Int?

    public init() {}
}

/// A span that is open. Ends once; what is set after its end is ignored. Safe from any thread.
public final class LanternSpan: Span {
    struct State {
        var name: String
        var attributes: SpanAttributes = [:]
        var events: [SpanEvent] = []
        var links: [SpanLink] = []
        var droppedEvents = 0
        var droppedLinks = 0
        var status: SpanStatus?
        var ended = false
    }

    public let context: InstrumentationContext
    /// The ids of this span.
    public let spanContext: SpanContext

    private let kind: SpanKind
    private let parent: SpanContext?
    private let start: UInt64
    private let limits: SpanLimits
    private let processor: (any SpanProcessor)?
    private let state: Mutex<State>

    init(
        name: String, kind: SpanKind, context: InstrumentationContext, spanContext: SpanContext, parent: SpanContext?,
        start: UInt64, limits: SpanLimits, processor: (any SpanProcessor)?
    ) {
        self.kind = kind
        self.context = context
        self.spanContext = spanContext
        self.parent = parent
        self.start = start
        self.limits = limits
        self.processor = processor
        self.state = Mutex(State(name: name))
    }

    public var isRecording: Bool {
        self.processor != nil && self.state.withLock { !$0.ended }
    }

    public var operationName: String {
        get { self.state.withLock { $0.name } }
        set { self.update { $0.name = newValue } }
    }

    public var attributes: SpanAttributes {
        get { self.state.withLock { $0.attributes } }
        set { self.update { $0.attributes = newValue } }
    }

    public func setStatus(_ status: SpanStatus) {
        self.update { $0.status = status }
    }

    public func addEvent(_ event: SpanEvent) {
        self.update { state in
            if state.events.count < self.limits.events { state.events.append(event) } else { state.droppedEvents += 1 }
        }
    }

    public func addLink(_ link: SpanLink) {
        self.update { state in
            if state.links.count < self.limits.links { state.links.append(link) } else { state.droppedLinks += 1 }
        }
    }

    /// Adds an `exception` event. Only the error's type is kept: its text may hold what a user sent.
    public func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {
        var attributes = attributes
        attributes["exception.type"] = String(reflecting: type(of: error))
        self.addEvent(SpanEvent(name: "exception", at: instant(), attributes: attributes))
        self.update { state in
            if state.status == nil { state.status = SpanStatus(code: .error) }
        }
    }

    public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        guard let processor = self.processor else { return }
        let now = instant().nanosecondsSinceEpoch
        let state = self.state.withLock { state -> State? in
            guard !state.ended else { return nil }
            state.ended = true
            return state
        }
        guard let state else { return }
        processor.process(
            FinishedSpan(
                name: state.name,
                kind: self.kind,
                context: self.spanContext,
                parent: self.parent,
                start: self.start,
                // The wall clock may step back; a span never ends before it began.
                end: max(now, self.start),
                attributes: state.attributes,
                events: state.events,
                links: state.links,
                droppedEvents: state.droppedEvents,
                droppedLinks: state.droppedLinks,
                status: state.status,
                limits: self.limits
            )
        )
    }

    private func update(_ change: (inout State) -> Void) {
        guard self.processor != nil else { return }
        self.state.withLock { state in
            if !state.ended { change(&state) }
        }
    }
}

/// A span that has ended.
public struct FinishedSpan: Sendable {
    public var name: String
    public var kind: SpanKind
    public var context: SpanContext
    public var parent: SpanContext?
    /// Nanoseconds since the epoch.
    public var start: UInt64
    public var end: UInt64
    public var attributes: SpanAttributes
    public var events: [SpanEvent]
    public var links: [SpanLink]
    public var droppedEvents: Int
    public var droppedLinks: Int
    public var status: SpanStatus?
    var limits: SpanLimits

    /// The spans this one links to.
    public var linkedContexts: [SpanContext] { self.links.compactMap { $0.context.spanContext } }
}
