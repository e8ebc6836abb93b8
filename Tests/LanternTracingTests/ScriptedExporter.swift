import LanternTracing
import Synchronization

/// A receiver of spans that answers by a script, and remembers what it was sent.
final class ScriptedExporter: SpanExporter {
    enum Answer: Sendable {
        /// Has the first `sent` spans, all where it is `nil`, and rejects some of these.
        case takes(_ sent: Int? = nil, rejected: Int = 0)
        case fails(SpanExportError)
        /// Says nothing until the task is cancelled.
        case hangs

        static func busy(after pause: Duration? = nil) -> Answer {
            .fails(SpanExportError(.refused, "busy", isRetryable: true, retryAfter: pause))
        }

        static let refuses = Answer.fails(SpanExportError(.refused, "never", isRetryable: false))
    }

    struct Attempt: Sendable {
        var names: [String]
        var time: ContinuousClock.Instant
    }

    private struct State {
        var script: ArraySlice<Answer>
        var attempts: [Attempt] = []
        var taken: [String] = []
    }

    private let state: Mutex<State>
    private let rest: Answer

    /// - Parameter rest: How it answers when the script is over.
    init(_ script: Answer..., then rest: Answer = .takes()) {
        self.state = Mutex(State(script: script[...]))
        self.rest = rest
    }

    /// All requests so far, in order.
    var attempts: [Attempt] { self.state.withLock { $0.attempts } }

    /// The names of the spans that were in a request which did not fail.
    var taken: [String] { self.state.withLock { $0.taken } }

    func export(_ spans: ArraySlice<FinishedSpan>) async throws(SpanExportError) -> SpanExportResult {
        let answer = self.state.withLock { state -> Answer in
            state.attempts.append(Attempt(names: spans.map(\.name), time: .now))
            return state.script.popFirst() ?? self.rest
        }
        switch answer {
        case .takes(let sent, let rejected):
            let sent = min(sent ?? spans.count, spans.count)
            self.state.withLock { $0.taken += spans.prefix(sent).map(\.name) }
            return SpanExportResult(sent: sent, rejected: rejected, message: rejected > 0 ? "too old" : "")
        case .fails(let error):
            throw error
        case .hangs:
            while !Task.isCancelled { try? await Task.sleep(for: .seconds(3_600)) }
            throw SpanExportError(.unreachable, "cancelled", isRetryable: true)
        }
    }
}
