import LanternEvents
import LanternKafka
import Testing

/// A head is believed by who reads it: what no source can mean must not get that far.
@Suite("Heads that nobody can mean")
struct HostileHeadTests {
    private func head(_ data: String) -> SourceHead? {
        SourceHead(
            KafkaRecord(
                topic: "order.events.v1", partition: 0, value: Array(data.utf8),
                headers: [KafkaHeader("ce_type", SourceHead.type), KafkaHeader("ce_source", "/services/order")]
            )
        )
    }

    private static func data(
        epoch: String = "2", sequence: String = "42", partitions: String = "3",
        previous: String = #"{"epoch":1,"sequence":7}"#
    ) -> String {
        #"{"source":"/services/order","epoch":\#(epoch),"sequence":\#(sequence),"partitions":\#(partitions),"previous":\#(previous)}"#
    }

    @Test("what a source means is read")
    func sensible() {
        #expect(
            self.head(Self.data())
                == SourceHead(
                    source: "/services/order", epoch: 2, sequence: 42, partitions: 3,
                    previous: ControlMessage.EpochSequence(epoch: 1, sequence: 7)))
        #expect(self.head(Self.data(previous: "null"))?.previous == nil)
        #expect(self.head(Self.data(previous: #"{"epoch":1,"sequence":0}"#))?.previous?.sequence == 0)
    }

    @Test("no number comes after the highest there is: a head up to it, or an end at it, is none")
    func highest() {
        #expect(self.head(Self.data(sequence: "9223372036854775807")) == nil)
        #expect(self.head(Self.data(previous: #"{"epoch":1,"sequence":9223372036854775807}"#)) == nil)
    }

    @Test("a topic has partitions", arguments: ["0", "-1", "-2147483648"])
    func partitions(count: String) {
        #expect(self.head(Self.data(partitions: count)) == nil)
    }

    @Test(
        "an epoch before this one that cannot have been makes no head",
        arguments: [
            #"{"epoch":0,"sequence":7}"#, #"{"epoch":-1,"sequence":7}"#, #"{"epoch":1,"sequence":-1}"#,
            #"{"epoch":2,"sequence":7}"#, #"{"epoch":3,"sequence":7}"#, #"{"epoch":1}"#, "7", "[]",
        ])
    func previous(previous: String) {
        #expect(self.head(Self.data(previous: previous)) == nil)
    }
}
