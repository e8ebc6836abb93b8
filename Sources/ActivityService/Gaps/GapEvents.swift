import Lantern

/// Events of a source are missing: every partition has passed a head beyond them.
struct GapDetected: DomainEvent {
    static let type = EventType("activity.gap.detected", version: 1)
    var source: String
    var epoch: Int64
    var events: Int64
    /// First and last of each missing range, the lowest of them.
    var ranges: [[Int64]]
    var version: Int64

    var subject: EventSubject { EventSubject("source", Gap.service(of: self.source), version: self.version) }
    var outcome: EventOutcome { .failure }
}

/// Nothing of a source's epoch is missing any more.
struct GapHealed: DomainEvent {
    static let type = EventType("activity.gap.healed", version: 1)
    var source: String
    var epoch: Int64
    /// How often the source was asked.
    var requests: Int64
    var version: Int64

    var subject: EventSubject { EventSubject("source", Gap.service(of: self.source), version: self.version) }
}
