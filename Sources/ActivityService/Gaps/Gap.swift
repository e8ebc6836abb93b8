import Lantern

/// What is missing of one epoch of a source, and what was done about it. A plain value.
struct Gap: Sendable, Equatable {
    var source: String
    var epoch: Int64
    /// How many are missing now.
    var events: Int64
    /// The lowest of them.
    var missing: SequenceRanges
    /// `nil` while nobody has noticed.
    var known: Known?

    struct Known: Sendable, Equatable {
        var version: Int64
        var isOpen: Bool
        var requests: Int
        /// Requests since something last came.
        var unanswered: Int
        /// Since the last request; `nil` before the first.
        var sinceRequest: Duration?
        /// The highest number that was asked for then.
        var requestedThrough: Int64?
    }

    enum Change: Equatable { case detected, healed }

    /// What the timeline is to be told.
    var change: Change? {
        let isOpen = self.known?.isOpen ?? false
        if self.events > 0 { return isOpen ? nil : .detected }
        return isOpen ? .healed : nil
    }

    /// Whether the source is to be asked now: where all that was asked for has come, at once. Otherwise not before it can
    /// have come, and less often each time: a source that has forgotten an event will not remember it.
    var isRequestDue: Bool {
        guard self.events > 0 else { return false }
        guard let known, known.isOpen, let since = known.sinceRequest else { return true }
        if let through = known.requestedThrough, let first = self.missing.ranges.first, first.lowerBound > through {
            return true
        }
        return since >= Self.patience(after: known.unanswered)
    }

    static func patience(after unanswered: Int) -> Duration {
        min(.seconds(300), .seconds(2) * (1 << min(max(0, unanswered - 1), 10)))
    }

    /// Most events of one request.
    static let maximumRequest: Int64 = 10_000

    static func service(of source: String) -> String {
        source.split(separator: "/").last.map { String($0) } ?? source
    }
}
