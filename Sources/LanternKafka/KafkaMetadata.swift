import CRDKafka

/// What brokers say about topics. The calls block, for at most five seconds.
enum KafkaMetadata {
    static let timeout: Int32 = 5_000

    static func partitionCount(of topic: String, handle: OpaquePointer) throws(KafkaError) -> Int32 {
        guard let topicHandle = rd_kafka_topic_new(handle, topic, nil) else {
            throw KafkaError(rd_kafka_last_error())
        }
        defer { rd_kafka_topic_destroy(topicHandle) }
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let error = rd_kafka_metadata(handle, 0, topicHandle, &metadata, Self.timeout)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else { throw KafkaError(error) }
        defer { rd_kafka_metadata_destroy(metadata) }
        guard metadata.pointee.topic_cnt == 1, let entry = metadata.pointee.topics,
            entry.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR, entry.pointee.partition_cnt > 0
        else { throw KafkaError(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) }
        return entry.pointee.partition_cnt
    }

    /// Every topic, or those that are named.
    static func topics(handle: OpaquePointer) throws(KafkaError) -> [KafkaTopicDescription] {
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let error = rd_kafka_metadata(handle, 1, nil, &metadata, Self.timeout)
        guard error == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else { throw KafkaError(error) }
        defer { rd_kafka_metadata_destroy(metadata) }
        return (0..<Int(metadata.pointee.topic_cnt)).compactMap { index in
            guard let topic = metadata.pointee.topics?[index], let name = topic.topic,
                topic.err == RD_KAFKA_RESP_ERR_NO_ERROR
            else { return nil }
            let partitions = (0..<Int(topic.partition_cnt)).compactMap { number in
                topic.partitions.map { partitions in
                    KafkaTopicDescription.Partition(
                        id: partitions[number].id, leader: partitions[number].leader,
                        replicas: Int(partitions[number].replica_cnt), inSync: Int(partitions[number].isr_cnt)
                    )
                }
            }
            return KafkaTopicDescription(name: String(cString: name), partitions: partitions.sorted { $0.id < $1.id })
        }
    }
}
