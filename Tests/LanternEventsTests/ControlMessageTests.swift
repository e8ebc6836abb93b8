import Foundation
import LanternKafka
import Testing

@testable import LanternEvents

@Suite("Messages on the control topic")
struct ControlMessageTests {
    private static let acknowledged = ControlMessage.acknowledged(
        source: "/services/order", through: [.init(epoch: 1, sequence: 31), .init(epoch: 2, sequence: 0)])
    private static let requested = ControlMessage.replayRequested(
        source: "/services/order", epoch: 2, missing: SequenceRanges([3, 4, 9]))

    private static let acknowledgedType = "lantern.source.acknowledged.v1"
    private static let requestedType = "lantern.replay.requested.v1"

    private func message(
        _ type: String?, _ data: String, from sender: String? = ControlMessage.sender
    ) -> ControlMessage? {
        let headers = [("ce_source", sender), ("ce_type", type)].compactMap { name, value in
            value.map { KafkaHeader(name, $0) }
        }
        return ControlMessage(
            KafkaRecord(topic: ControlMessage.topic, value: Array(data.utf8), headers: headers))
    }

    private func request(_ ranges: String) -> ControlMessage? {
        self.message(Self.requestedType, #"{"source":"/services/order","epoch":2,"ranges":\#(ranges)}"#)
    }

    private func acknowledgement(_ through: String) -> ControlMessage? {
        self.message(Self.acknowledgedType, #"{"source":"/services/order","through":\#(through)}"#)
    }

    // MARK: - Round trips

    @Test("a message is read as it was written", arguments: [Self.acknowledged, Self.requested])
    func roundTrip(message: ControlMessage) throws {
        #expect(ControlMessage(try message.record()) == message)
    }

    @Test("an acknowledgement of nothing, and a request for the least, are messages as well")
    func least() throws {
        for message in [
            ControlMessage.acknowledged(source: "/services/order", through: []),
            .replayRequested(source: "/services/order", epoch: 1, missing: SequenceRanges([1])),
        ] {
            #expect(ControlMessage(try message.record()) == message)
        }
    }

    @Test("a request of as many ranges as one may have is read; one of more is not")
    func mostRanges() throws {
        let most = SequenceRanges((1...SequenceRanges.maximumRanges).map { Int64($0) * 2 })
        #expect(most.ranges.count == SequenceRanges.maximumRanges)
        let message = ControlMessage.replayRequested(source: "/services/order", epoch: 1, missing: most)
        #expect(ControlMessage(try message.record()) == message)

        var more = most
        more.insert(1_000_000...1_000_000)
        let longer = ControlMessage.replayRequested(source: "/services/order", epoch: 1, missing: more)
        #expect(ControlMessage(try longer.record()) == nil)
    }

    @Test("ranges that touch or cover each other ask for each number once")
    func overlapping() {
        let missing = SequenceRanges((1...9).map { Int64($0) })
        for ranges in ["[[1,9]]", "[[1,4],[5,9]]", "[[5,9],[1,4]]", "[[1,9],[2,3],[4,9]]"] {
            #expect(
                self.request(ranges) == .replayRequested(source: "/services/order", epoch: 2, missing: missing),
                "\(ranges)")
        }
    }

    // MARK: - The record

    @Test("its record is a CloudEvent of the sender, of a type that is no entry of the timeline, without a number")
    func cloudEvent() throws {
        for (message, type) in [(Self.acknowledged, Self.acknowledgedType), (Self.requested, Self.requestedType)] {
            let record = try message.record()
            #expect(record.topic == "lantern.control.v1")
            #expect(record.partition == nil)
            let event = try CloudEvents.event(record)
            #expect(event.source == "/services/activity" && ControlMessage.sender == event.source)
            #expect(event.type == type)
            #expect(event.type.hasPrefix("lantern."))
            #expect(event.dataContentType == "application/json")
            #expect(event.sequence == nil && event.epoch == nil)
            #expect(UUID(uuidString: event.id) != nil)
        }
    }

    @Test("two messages are two events, though they say the same")
    func ids() throws {
        let ids = try (1...10).map { _ in try Self.requested.record().header("ce_id") }
        #expect(Set(ids).count == 10)
    }

    @Test("compaction keeps the newest acknowledgement and the newest request of each source, apart from each other")
    func keys() throws {
        func key(_ message: ControlMessage) throws -> [UInt8] {
            try #require(try message.record().key)
        }
        let later = ControlMessage.acknowledged(source: "/services/order", through: [.init(epoch: 3, sequence: 7)])
        let other = ControlMessage.acknowledged(source: "/services/auth", through: [.init(epoch: 3, sequence: 7)])
        #expect(try key(Self.acknowledged) == key(later))
        #expect(try key(Self.acknowledged) != key(other))
        #expect(try key(Self.acknowledged) != key(Self.requested))
        let otherEpoch = ControlMessage.replayRequested(
            source: "/services/order", epoch: 1, missing: SequenceRanges([1]))
        #expect(try key(Self.requested) == key(otherEpoch))
        // WIRE: the key of an acknowledgement is the source.
        #expect(try key(Self.acknowledged) == Array("/services/order".utf8))
    }

    // MARK: - What is no message

    @Test(
        "a request that makes no sense is none",
        arguments: [
            "[[0,4]]", "[[-4,4]]", "[[-9,-4]]", "[[4,3]]", "[[3,4],[9,8]]", "[[3]]", "[[]]", "[[3,4,5]]", "[3,4]",
            #"[["3","4"]]"#, "[[3.5,4]]", "[[3,null]]", "null", "{}", #""3-4""#, "[[3,1e30]]",
            "[[3,9223372036854775808]]", "[[3,99999999999999999999999]]",
        ])
    func senselessRanges(ranges: String) {
        #expect(self.request(ranges) == nil)
    }

    @Test("a request up to the highest number there is, is none: no number comes after it")
    func highestNumber() {
        #expect(self.request("[[3,9223372036854775807]]") == nil)
        #expect(self.request("[[9223372036854775807,9223372036854775807]]") == nil)
    }

    @Test(
        "an acknowledgement that makes no sense is none",
        arguments: [
            #"[{"epoch":0,"sequence":1}]"#, #"[{"epoch":-1,"sequence":1}]"#, #"[{"epoch":1,"sequence":-1}]"#,
            #"[{"epoch":1,"sequence":5},{"epoch":0,"sequence":5}]"#, #"[{"epoch":1}]"#, #"[{"sequence":1}]"#,
            #"[{"epoch":"1","sequence":1}]"#, #"[{"epoch":1,"sequence":1.5}]"#,
            #"[{"epoch":1,"sequence":9223372036854775808}]"#, "[[1,5]]", "[1,5]", "null", "{}", #""1:5""#,
        ])
    func senselessAcknowledgement(through: String) {
        #expect(self.acknowledgement(through) == nil)
    }

    @Test("a request for an epoch that cannot be is none", arguments: ["0", "-1", "1.5", "null", #""1""#])
    func senselessEpoch(epoch: String) {
        let data = #"{"source":"/services/order","epoch":\#(epoch),"ranges":[[3,4]]}"#
        #expect(self.message(Self.requestedType, data) == nil)
    }

    @Test(
        "data that is no message is none, whatever its type says",
        arguments: [
            "", "{}", "[]", "null", "message", "{", #"{"source":"/services/order"}"#,
            #"{"source":7,"epoch":1,"ranges":[[1,2]]}"#, #"{"source":7,"through":[]}"#,
            #"{"epoch":1,"ranges":[[1,2]]}"#,
        ])
    func garbage(data: String) {
        #expect(self.message(Self.requestedType, data) == nil)
        #expect(self.message(Self.acknowledgedType, data) == nil)
    }

    @Test(
        "a record of another type is none, whatever its data",
        arguments: [nil, "", "order.order.placed.v1", "lantern.source.head.v1", "lantern.replay.requested.v2"])
    func otherType(type: String?) {
        #expect(self.message(type, #"{"source":"/services/order","epoch":2,"ranges":[[3,4]]}"#) == nil)
        #expect(self.message(type, #"{"source":"/services/order","through":[]}"#) == nil)
    }

    @Test("data of one type under the name of the other is none")
    func swapped() {
        #expect(self.message(Self.acknowledgedType, #"{"source":"/s","epoch":2,"ranges":[[3,4]]}"#) == nil)
        #expect(self.message(Self.requestedType, #"{"source":"/s","through":[{"epoch":1,"sequence":1}]}"#) == nil)
    }

    @Test(
        "what anybody else writes is none, though it makes sense",
        arguments: [nil, "", "/services/order", "/services/activity/", "activity", "/evil/services/activity"])
    func otherSender(sender: String?) {
        let request = #"{"source":"/services/order","epoch":2,"ranges":[[3,4]]}"#
        #expect(self.message(Self.requestedType, request) != nil)
        #expect(self.message(Self.requestedType, request, from: sender) == nil)
        let acknowledgement = #"{"source":"/services/order","through":[{"epoch":1,"sequence":1}]}"#
        #expect(self.message(Self.acknowledgedType, acknowledgement) != nil)
        #expect(self.message(Self.acknowledgedType, acknowledgement, from: sender) == nil)
    }

    @Test("a tombstone is no message")
    func tombstone() throws {
        var record = try Self.acknowledged.record()
        record.value = nil
        #expect(ControlMessage(record) == nil)
    }

    @Test("a message of more than a mebibyte is not even looked at")
    func huge() throws {
        var record = try Self.acknowledged.record()
        let value = try #require(record.value)
        record.value = value + Array(repeating: 0x20, count: (1 << 20) - value.count)
        #expect(ControlMessage(record) == Self.acknowledged)
        record.value?.append(0x20)
        #expect(ControlMessage(record) == nil)
    }
}
