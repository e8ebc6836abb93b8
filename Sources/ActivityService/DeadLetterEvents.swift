import Foundation
import Lantern
import LanternKafka

/// A record that was put aside was handled in the end.
struct DeadLetterReplayed: DomainEvent {
    static let type = EventType("activity.dead_letter.replayed", version: 1)
    var deadLetterID: String
    var reason: String
    var topic: String
    var partition: Int32
    var offset: Int64
    /// Of the event, where the record named one.
    var eventID: String?

    init(_ letter: DeadLetter) {
        self.deadLetterID = letter.id.uuidString.lowercased()
        self.reason = letter.reason
        self.topic = letter.record.topic
        self.partition = letter.record.partition ?? -1
        self.offset = letter.record.offset ?? -1
        self.eventID = letter.eventID
    }

    private enum CodingKeys: String, CodingKey {
        case reason, topic, partition, offset
        case deadLetterID = "dead_letter_id"
        case eventID = "event_id"
    }

    var subject: EventSubject { EventSubject("dead_letter", self.deadLetterID, version: 2) }
}

/// A record that was put aside will not be handled.
struct DeadLetterDiscarded: DomainEvent {
    static let type = EventType("activity.dead_letter.discarded", version: 1)
    var deadLetterID: String
    var reason: String
    var topic: String
    var partition: Int32
    var offset: Int64
    var eventID: String?

    init(_ letter: DeadLetter) {
        self.deadLetterID = letter.id.uuidString.lowercased()
        self.reason = letter.reason
        self.topic = letter.record.topic
        self.partition = letter.record.partition ?? -1
        self.offset = letter.record.offset ?? -1
        self.eventID = letter.eventID
    }

    private enum CodingKeys: String, CodingKey {
        case reason, topic, partition, offset
        case deadLetterID = "dead_letter_id"
        case eventID = "event_id"
    }

    var subject: EventSubject { EventSubject("dead_letter", self.deadLetterID, version: 2) }
}
