import LanternPostgres
import Foundation
public import LanternKafka

/// What the collector of events and their sources tell each other on the control topic (`docs/wire.md`).
public enum ControlMessage: Sendable, Equatable {
    /// The topic; compacted where the broker can.
    public static let topic = "lantern.control.v1"

    /// Who writes it; what others write there counts for nothing.
    public static let sender = "/services/activity"

    /// Everything of a source up to these numbers is held or accounted for: the source may forget it.
    case acknowledged(source: String, through: [EpochSequence])
    /// These events never came: the source sends them again, if it has them.
    case replayRequested(source: String, epoch: Int64, missing: SequenceRanges)

    /// A number in an epoch.
    public struct EpochSequence: Codable, Sendable, Equatable {
        public var epoch: Int64
        public var sequence: Int64

        public init(epoch: Int64, sequence: Int64) {
            self.epoch = epoch
            self.sequence = sequence
        }
    }

    private struct Acknowledged: Codable {
        static let type = "lantern.source.acknowledged.v1"
        var source: String
        var through: [EpochSequence]
    }

    private struct ReplayRequested: Codable {
        static let type = "lantern.replay.requested.v1"
        var source: String
        var epoch: Int64
        /// First and last of each.
        var ranges: [[Int64]]
    }

    /// The record. Its key keeps, under compaction, the newest of each kind and source.
    public func record() throws -> KafkaRecord {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let key: String
        let type: String
        let value: Data
        switch self {
        case .acknowledged(let source, let through):
            (key, type) = (source, Acknowledged.type)
            value = try encoder.encode(Acknowledged(source: source, through: through))
        case .replayRequested(let source, let epoch, let missing):
            (key, type) = ("\(source)#replay", ReplayRequested.type)
            value = try encoder.encode(
                ReplayRequested(
                    source: source, epoch: epoch, ranges: missing.ranges.map { [$0.lowerBound, $0.upperBound] }))
        }
        return KafkaRecord(
            topic: Self.topic, key: Array(key.utf8), value: Array(value),
            headers: [
                KafkaHeader("ce_specversion", "1.0"),
                KafkaHeader("ce_id", UUID.version7().uuidString.lowercased()),
                KafkaHeader("ce_source", Self.sender), KafkaHeader("ce_type", type),
                KafkaHeader("content-type", "application/json"),
            ]
        )
    }

    /// The message that a record carries; `nil` where it carries something else, or nothing sensible.
    public init?(_ record: KafkaRecord) {
        guard record.header("ce_source") == Self.sender, let value = record.value, value.count <= 1 << 20
        else { return nil }
        let decoder = JSONDecoder()
        switch record.header("ce_type") {
        case Acknowledged.type:
            guard let message = try? decoder.decode(Acknowledged.self, from: Data(value)),
                message.through.allSatisfy({ $0.epoch > 0 && $0.sequence >= 0 })
            else { return nil }
            self = .acknowledged(source: message.source, through: message.through)
        case ReplayRequested.type:
            guard let message = try? decoder.decode(ReplayRequested.self, from: Data(value)), message.epoch > 0,
                message.ranges.count <= SequenceRanges.maximumRanges
            else { return nil }
            var missing = SequenceRanges()
            for range in message.ranges {
                guard range.count == 2, range[0] > 0, range[0] <= range[1], range[1] < .max else { return nil }
                missing.insert(range[0]...range[1])
            }
            self = .replayRequested(source: message.source, epoch: message.epoch, missing: missing)
        default: return nil
        }
    }
}
