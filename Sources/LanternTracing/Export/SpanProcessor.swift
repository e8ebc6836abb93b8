import Synchronization

/// Receives each sampled span once, when it ends, on the thread that ended it. Must not block.
public protocol SpanProcessor: Sendable {
    func process(_ span: FinishedSpan)
}

/// Sends spans nowhere: `OTEL_TRACES_EXPORTER=none`. Traces still propagate.
public struct DiscardingSpanProcessor: SpanProcessor {
    public init() {}
    public func process(_ span: FinishedSpan) {}
}

/// Keeps spans in memory, for tests. Bounded: beyond the limit the newest are not kept.
public final class InMemorySpanProcessor: SpanProcessor {
    private let kept = Mutex<[FinishedSpan]>([])
    private let limit: Int

    public init(limit: Int = 100_000) {
        self.limit = limit
    }

    /// The spans so far, in the order they ended.
    public var spans: [FinishedSpan] { self.kept.withLock { $0 } }

    public func process(_ span: FinishedSpan) {
        self.kept.withLock { kept in
            if kept.count < self.limit { kept.append(span) }
        }
    }
}

/// Writes one line for each span, for people: `OTEL_TRACES_EXPORTER=console`.
public struct ConsoleSpanProcessor: SpanProcessor {
    private let write: @Sendable (String) -> Void

    public init(write: @escaping @Sendable (String) -> Void) {
        self.write = write
    }

    public func process(_ span: FinishedSpan) {
        let milliseconds = Double(span.end - span.start) / 1_000_000
        self.write(
            "span trace=\(span.context.traceID) id=\(span.context.spanID) parent=\(span.parent?.spanID.description ?? "-") "
                + "\(span.kind) \"\(span.name)\" \(milliseconds) ms"
        )
    }
}
