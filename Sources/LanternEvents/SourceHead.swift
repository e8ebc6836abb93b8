import Foundation
public import LanternKafka

/// A control record that a source writes into every partition of its topic: all its events up to `sequence` are
/// acknowledged. Who has read a head in each partition knows which sequences must have been there.
public struct SourceHead: Codable, Sendable, Equatable {
    public var source: String
    public var epoch: Int64
    public var sequence: Int64
    /// Partitions of the topic when the head was written.
    public var partitions: Int32
    /// Where the epoch before this one ended, as the source knows it now: what was published of it beyond that number, the
    /// source does not know any more. `nil` in the first epoch.
    public var previous: ControlMessage.EpochSequence?

    public init(
        source: String, epoch: Int64, sequence: Int64, partitions: Int32, previous: ControlMessage.EpochSequence? = nil
    ) {
        self.previous = previous
        self.source = source
        self.epoch = epoch
        self.sequence = sequence
        self.partitions = partitions
    }

    /// `ce_type` of heads. Types that begin with `lantern.` are never entries of the timeline.
    public static let type = "lantern.source.head.v1"

    /// The record for one partition.
    func record(topic: String, partition: Int32, id: String) throws -> KafkaRecord {
        KafkaRecord(
            topic: topic,
            partition: partition,
            value: Array(try JSONEncoder().encode(self)),
            headers: [
                KafkaHeader("ce_specversion", "1.0"), KafkaHeader("ce_id", id), KafkaHeader("ce_source", self.source),
                KafkaHeader("ce_type", Self.type), KafkaHeader("content-type", "application/json"),
            ]
        )
    }

    /// The head that a record carries; `nil` where it carries something else.
    public init?(_ record: KafkaRecord) {
        guard record.header("ce_type") == Self.type, let value = record.value,
            let head = try? JSONDecoder().decode(SourceHead.self, from: Data(value)), head.isPossible
        else { return nil }
        self = head
    }

    /// One that a source can mean: whoever writes to a topic could write anything, and nothing must break by it.
    private var isPossible: Bool {
        guard self.epoch > 0, (0..<Int64.max).contains(self.sequence), self.partitions > 0 else { return false }
        guard let previous else { return true }
        return previous.epoch > 0 && previous.epoch < self.epoch && (0..<Int64.max).contains(previous.sequence)
    }
}
