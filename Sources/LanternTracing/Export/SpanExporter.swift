/// Sends spans somewhere. Called by one task at a time.
public protocol SpanExporter: Sendable {
    /// One attempt to send the first of these spans, as many as go into one request. Must end within a time limit of its own,
    /// and soon after its task is cancelled.
    /// - Throws: ``SpanExportError`` where none of them was taken.
    func export(_ spans: ArraySlice<FinishedSpan>) async throws(SpanExportError) -> SpanExportResult
}

/// What became of a request.
public struct SpanExportResult: Sendable, Equatable {
    /// Spans that were in the request.
    public var sent: Int
    /// Those of them that the receiver did not take; they must not be sent again.
    public var rejected: Int
    /// What the receiver said.
    public var message: String

    public init(sent: Int, rejected: Int = 0, message: String = "") {
        self.sent = sent
        self.rejected = rejected
        self.message = message
    }
}

/// Why an attempt took no span to its receiver.
public struct SpanExportError: Error, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// It answered, and did not take them.
        case refused
        /// It did not answer: it is away, or took too long.
        case unreachable
    }

    public var code: Code
    public var message: String
    /// Whether another attempt may succeed.
    public var isRetryable: Bool
    /// How long the receiver wants to be left alone.
    public var retryAfter: Duration?

    public init(_ code: Code, _ message: String, isRetryable: Bool, retryAfter: Duration? = nil) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
        self.retryAfter = retryAfter
    }

    public var description: String { self.message }
}
