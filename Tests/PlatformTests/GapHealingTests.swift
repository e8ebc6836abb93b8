import Foundation
import Lantern
import LanternKafkaTesting
import LanternMetricsTesting
import NIOHTTP1
import TestSupport
import Testing

extension PlatformTests {
    /// What happens to events that were announced and never came, from the head that tells of them to the timeline.
    @Suite("Gaps are noticed, asked for and healed")
    struct GapHealingTests {
        private static let source = "/services/ghost"
        private static let topic = "ghost.events.v1"
        private static let partitions: Int32 = 3

        /// An event of a service that is not there.
        private func event(_ sequence: Int64, source: String = Self.source) -> KafkaRecord {
            CloudEvents.record(
                EventEnvelope(
                    id: "ghost-\(sequence)", source: source, type: "ghost.sheet.rattled.v1", time: .now,
                    subject: "sheet/\(sequence)", subjectVersion: 1, dataContentType: "application/json", epoch: 1,
                    sequence: sequence, partitionKey: "sheet-\(sequence)", data: Array("{}".utf8)
                ), topic: Self.topic
            )
        }

        /// What a relay would announce of it, in each partition.
        private func heads(_ sequence: Int64, source: String = Self.source) throws -> [KafkaRecord] {
            let head = SourceHead(source: source, epoch: 1, sequence: sequence, partitions: Self.partitions)
            return try (0..<Self.partitions).map { partition in
                KafkaRecord(
                    topic: Self.topic, partition: partition, value: Array(try JSONEncoder().encode(head)),
                    headers: [
                        KafkaHeader("ce_specversion", "1.0"), KafkaHeader("ce_id", "head-\(sequence)-\(partition)"),
                        KafkaHeader("ce_source", source), KafkaHeader("ce_type", SourceHead.type),
                        KafkaHeader("content-type", "application/json"),
                    ]
                )
            }
        }

        /// What `/v1/sources` says of a source, once it is as expected; what it said last otherwise.
        private func known(
            _ platform: TestPlatform, _ token: String, source: String = Self.source, announced: Int, gaps: Int
        ) async throws -> [String: Int] {
            nonisolated(unsafe) var last: [String: Int] = [:]
            _ = try await eventually(within: .seconds(60)) { () -> Bool? in
                let sources = try await platform.send(.GET, "\(platform.activity.url)/v1/sources", token: token).list
                let found = sources.first { $0["source"] as? String == source } ?? [:]
                last = [:]
                for name in ["head_announced", "head_contiguous", "gaps", "events", "epoch"] {
                    last[name] = found[name] as? Int
                }
                return last["head_announced"] == announced && last["gaps"] == gaps ? true : nil
            }
            return last
        }

        /// Entries about the ghost, the oldest first.
        private func told(_ platform: TestPlatform, _ action: String, _ token: String) async throws -> [[String: Any]] {
            try await platform.timeline("action=\(action)&target=ghost&order=log", atLeast: 1, token: token)
        }

        @Test(
            "events that were announced and never came are on the timeline as a gap, are asked for, and heal it",
            .timeLimit(.minutes(4)))
        func heals() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                try platform.broker.createTopic(Self.topic, partitions: Int(Self.partitions))
                try await platform.produce([self.event(1), self.event(2), self.event(5)])
                // Not before the events: who reads a head must have read what it speaks of.
                try await platform.produce(try self.heads(5))

                let open = try await self.known(platform, admin, announced: 5, gaps: 2)
                #expect(
                    open == ["head_announced": 5, "head_contiguous": 2, "gaps": 2, "events": 3, "epoch": 1])
                let detected = try await self.told(platform, "activity.gap.detected", admin)
                #expect(detected.count == 1)
                let data = try #require(detected.first?["data"] as? [String: Any])
                #expect(data["source"] as? String == Self.source)
                #expect(data["events"] as? Int == 2)
                #expect(data["ranges"] as? [[Int]] == [[3, 4]])
                #expect(detected.first?["outcome"] as? String == "failure")
                #expect((detected.first?["actor"] as? [String: Any])?["id"] as? String == "activity")

                let asked = try await platform.record(on: ControlMessage.topic) { record in
                    if case .replayRequested(Self.source, _, _)? = ControlMessage(record) { true } else { false }
                }
                let request = try #require(asked.flatMap { ControlMessage($0) })
                #expect(request == .replayRequested(source: Self.source, epoch: 1, missing: SequenceRanges([3, 4])))

                try await platform.produce([self.event(3), self.event(4)])
                let healed = try await self.known(platform, admin, announced: 5, gaps: 0)
                #expect(
                    healed == ["head_announced": 5, "head_contiguous": 5, "gaps": 0, "events": 5, "epoch": 1])
                let end = try await self.told(platform, "activity.gap.healed", admin)
                #expect(end.count == 1)
                let requests = (end.first?["data"] as? [String: Any])?["requests"] as? Int
                #expect(requests ?? 0 >= 1, "it was asked for")
                #expect((end.first?["target"] as? [String: Any])?["version"] as? Int == 2)

                // What is complete is acknowledged, so that a source may forget it.
                let acknowledged = try await platform.record(on: ControlMessage.topic) { record in
                    ControlMessage(record)
                        == .acknowledged(
                            source: Self.source, through: [ControlMessage.EpochSequence(epoch: 1, sequence: 5)])
                }
                #expect(acknowledged != nil)
                let entries = try await platform.timeline("service=ghost&order=log", atLeast: 5, token: admin)
                let sequences = entries.compactMap { $0["sequence"] as? Int }
                #expect(sequences.prefix(3).sorted() == [1, 2, 5])
                #expect(sequences.dropFirst(3).sorted() == [3, 4])
                let counted = try await platform.activity.snapshot().samples("lantern_replay_requested_events_total")
                let events = counted.reduce(0) { $0 + $1.value }
                #expect(events >= 2)
            }
        }

        @Test("what comes late, but before its head, is no gap, and nobody is asked", .timeLimit(.minutes(4)))
        func late() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                try platform.broker.createTopic(Self.topic, partitions: Int(Self.partitions))
                try await platform.produce([self.event(3), self.event(1)])
                // One partition has not passed yet.
                try await platform.produce(Array(try self.heads(3).dropLast()))
                _ = try await platform.timeline("service=ghost", atLeast: 2, token: admin)
                try await platform.produce([self.event(2)])
                _ = try await platform.timeline("service=ghost", atLeast: 3, token: admin)
                try await platform.produce(Array(try self.heads(3).suffix(1)))
                let known = try await self.known(platform, admin, announced: 3, gaps: 0)
                #expect(
                    known == ["head_announced": 3, "head_contiguous": 3, "gaps": 0, "events": 3, "epoch": 1])
                // Had a gap been told, it would stand before this one.
                try await platform.produce([self.event(5)])
                try await platform.produce(try self.heads(5))
                _ = try await self.told(platform, "activity.gap.detected", admin)
                let told = try await platform.timeline("action=activity.gap.*&order=log", atLeast: 1, token: admin)
                #expect(told.count == 1)
                #expect((told.first?["data"] as? [String: Any])?["ranges"] as? [[Int]] == [[4, 4]])
            }
        }

        @Test("nobody announces for another source, nor puts its events aside", .timeLimit(.minutes(4)))
        func forged() async throws {
            try await TestPlatform.run { platform in
                let admin = try await platform.admin()
                _ = try await platform.product(stock: 1, admin: admin)
                let real = try await self.known(platform, admin, source: "/services/order", announced: 1, gaps: 0)
                #expect(real["head_announced"] == 1 && real["head_contiguous"] == 1)

                try platform.broker.createTopic(Self.topic, partitions: Int(Self.partitions))
                // In a topic that is not the source's: heads that would open a gap, and an event that would hide one.
                try await platform.produce(try self.heads(99, source: "/services/order"))
                try await platform.produce([self.event(2, source: "/services/order")])
                // Once a gap shows, every partition has passed a head behind all that.
                try await platform.produce([self.event(1), self.event(3)])
                try await platform.produce(try self.heads(3))
                let ghost = try await self.known(platform, admin, announced: 3, gaps: 1)
                #expect(ghost["gaps"] == 1)
                let reasons = try await eventually { () -> [String]? in
                    let reasons = try await platform.deadLetterReasons()
                    return reasons.isEmpty ? nil : reasons
                }
                #expect(reasons == ["source_mismatch"])
                let after = try await self.known(platform, admin, source: "/services/order", announced: 1, gaps: 0)
                #expect(after["head_announced"] == 1 && after["gaps"] == 0)
                #expect(after["head_contiguous"] == 1, "what another one sent in its name is not accounted for")
            }
        }
    }
}
