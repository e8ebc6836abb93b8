import LanternKafka
import Testing

@testable import LanternEvents

/// The events on a topic, held against what an outbox promises of them.
struct PublishedEvents {
    /// What of a record is the same each time it is sent.
    struct Content: Equatable {
        var topic: String
        var partition: Int32?
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [KafkaHeader]

        init(_ record: KafkaRecord) {
            self.topic = record.topic
            self.partition = record.partition
            self.key = record.key
            self.value = record.value
            self.headers = record.headers
        }
    }

    /// Partition by partition, each in its order.
    let records: [KafkaRecord]

    init(_ transport: InProcessTransport, topic: String = ThingHappened.topic) {
        self.records = transport.records(of: topic).filter(\.isEvent)
    }

    var sequences: [Int64] { self.records.compactMap { Self.sequence($0) } }

    static func sequence(_ record: KafkaRecord) -> Int64? { record.header("ce_sequence").flatMap { Int64($0) } }

    /// Says that all of 1…`count` are there, at least once each; that first occurrences of each key are in order; and that
    /// what was sent again is, byte for byte, what was sent before.
    func expectComplete(_ count: Int, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(
            Set(self.sequences).sorted() == (0..<count).map { Int64($0) + 1 }, "numbers without gaps",
            sourceLocation: sourceLocation)
        var first: [String: Content] = [:]
        var ofKey: [[UInt8]: [Int64]] = [:]
        for record in self.records {
            guard let id = record.header("ce_id"), let sequence = Self.sequence(record) else {
                Issue.record("an event without id or sequence", sourceLocation: sourceLocation)
                continue
            }
            if let before = first[id] {
                #expect(Content(record) == before, "sent again with other bytes", sourceLocation: sourceLocation)
            } else {
                first[id] = Content(record)
                ofKey[record.key ?? [], default: []].append(sequence)
            }
        }
        #expect(first.count == count, "an id has one number", sourceLocation: sourceLocation)
        for (key, sequences) in ofKey {
            #expect(
                sequences == sequences.sorted(), "the order of \(String(decoding: key, as: UTF8.self))",
                sourceLocation: sourceLocation)
        }
    }
}

extension InProcessTransport {
    /// All that a topic holds, partition by partition.
    func records(of topic: String) -> [KafkaRecord] {
        (0..<self.count(of: topic)).flatMap { number in
            self.read(KafkaPartition(topic: topic, partition: number), from: 0, maximum: 1_000_000)
        }
    }

    /// The heads that a source has announced on a topic.
    func heads(of topic: String = ThingHappened.topic) -> [SourceHead] {
        self.records(of: topic).compactMap { SourceHead($0) }
    }
}
