import CRDKafka
@testable import LanternKafka

extension KafkaProducer {
    /// Records that librdkafka has and has not told the end of.
    var underWay: Int { Int(self.handle.use { rd_kafka_outq_len($0) } ?? 0) }

    /// What librdkafka does where it cannot keep its promises.
    func raiseFatalError() {
        _ = self.handle.use {
            rd_kafka_test_fatal_error($0, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "provoked")
        }
    }
}
