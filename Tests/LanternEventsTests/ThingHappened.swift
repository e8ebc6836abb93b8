import LanternEvents
import LanternKafka
import Logging

/// What happens in the tests: something to a thing, for the first time, the second time …
struct ThingHappened: DomainEvent, Hashable {
    static let type = EventType("test.thing.happened", version: 1)
    static let topic = "test.events.v1"
    static let source = "/services/test"

    var thing: String
    var number: Int64

    var subject: EventSubject { EventSubject("thing", self.thing, version: self.number) }

    /// So many events, to each thing in turn.
    static func some(_ count: Int, things: [String] = ["a", "b", "c", "d", "e"]) -> [ThingHappened] {
        (0..<count).map { index in
            ThingHappened(thing: things[index % things.count], number: Int64(index / things.count + 1))
        }
    }

    /// As its service publishes it.
    /// - Parameters:
    ///   - partition: Where the key shall not say it.
    ///   - data: In the place of its own.
    func record(partition: Int32? = nil, data: String? = nil) -> KafkaRecord {
        var record = CloudEvents.record(
            EventEnvelope(
                id: "\(self.thing)-\(self.number)", source: Self.source, type: Self.type.description,
                subject: "thing/\(self.thing)", subjectVersion: self.number, dataContentType: "application/json",
                epoch: 1, sequence: self.number, partitionKey: self.thing,
                data: Array((data ?? #"{"number":\#(self.number),"thing":"\#(self.thing)"}"#).utf8)
            ), topic: Self.topic
        )
        record.partition = partition
        return record
    }
}

extension Logger {
    /// Says nothing but what must not happen in a test.
    static let ofTests: Logger = {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }()
}
