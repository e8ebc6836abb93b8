import Synchronization
public import Tracing

/// A span that has ended; nothing of it changes any more.
public struct FinishedSpan: Sendable {
    public let context: SpanContext
    /// Whether its trace is not sampled, and it was kept because the request failed or was slow.
    public let isTailKept: Bool
    private let recording: SpanRecording

    init(_ context: SpanContext, _ recording: SpanRecording, isTailKept: Bool) {
        self.context = context
        self.recording = recording
        self.isTailKept = isTailKept
    }

    public var name: String { self.state.name }
    public var kind: SpanKind { self.recording.kind }
    public var parent: SpanContext? { self.recording.parent }
    /// Nanoseconds since the epoch.
    public var start: UInt64 { self.recording.start }
    public var end: UInt64 { self.state.end }
    public var attributes: SpanAttributes { self.state.attributes }
    public var events: [SpanEvent] { self.state.events }
    public var links: [SpanLink] { self.state.links }
    public var droppedAttributes: Int { self.state.droppedAttributes }
    public var droppedEvents: Int { self.state.droppedEvents }
    public var droppedLinks: Int { self.state.droppedLinks }
    public var status: SpanStatus? { self.state.status }

    /// The spans this one links to.
    public var linkedContexts: [SpanContext] { self.links.compactMap { $0.context.spanContext } }

    var limits: SpanLimits { self.recording.limits }

    /// All that can change while a span is open, read at once.
    var state: SpanRecording.State { self.recording.state.withLock { $0 } }
}
