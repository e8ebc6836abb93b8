import CRDKafka

/// librdkafka's lists of partitions, for the time of one call.
enum KafkaPartitionList {
    typealias Raw = UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    static func with<Result>(
        _ partitions: [KafkaPartition], _ body: (Raw?) throws -> Result
    ) rethrows -> Result {
        let list = rd_kafka_topic_partition_list_new(Int32(partitions.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for partition in partitions { rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition) }
        return try body(list)
    }

    static func with<Result>(
        _ offsets: [KafkaPartition: Int64], _ body: (Raw?) throws -> Result
    ) rethrows -> Result {
        let list = rd_kafka_topic_partition_list_new(Int32(offsets.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for (partition, offset) in offsets {
            rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)?.pointee.offset = offset
        }
        return try body(list)
    }

    static func with<Result>(
        _ positions: [KafkaPosition], _ body: (Raw?) throws -> Result
    ) rethrows -> Result {
        let offsets = positions.map { position -> (KafkaPartition, Int64) in
            switch position.offset {
            case .earliest: (position.partition, Int64(RD_KAFKA_OFFSET_BEGINNING))
            case .latest: (position.partition, Int64(RD_KAFKA_OFFSET_END))
            case .committed: (position.partition, Int64(RD_KAFKA_OFFSET_STORED))
            case .at(let offset): (position.partition, offset)
            }
        }
        return try Self.with(Dictionary(offsets, uniquingKeysWith: { $1 }), body)
    }

    static func partitions(_ list: UnsafePointer<rd_kafka_topic_partition_list_t>) -> [KafkaPartition] {
        (0..<Int(list.pointee.cnt)).compactMap { index in
            list.pointee.elems.map { elements in
                KafkaPartition(topic: String(cString: elements[index].topic), partition: elements[index].partition)
            }
        }
    }

    /// The offsets that a call filled in; those it has no answer for are left out.
    static func offsets(_ list: UnsafePointer<rd_kafka_topic_partition_list_t>) -> [KafkaPartition: Int64] {
        var offsets: [KafkaPartition: Int64] = [:]
        for index in 0..<Int(list.pointee.cnt) {
            guard let element = list.pointee.elems?[index], element.offset >= 0 else { continue }
            offsets[KafkaPartition(topic: String(cString: element.topic), partition: element.partition)] =
                element.offset
        }
        return offsets
    }
}

/// - Throws: ``KafkaError`` for any code but "no error".
func check(_ code: rd_kafka_resp_err_t) throws(KafkaError) {
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code) }
}

/// Takes an error object of librdkafka, which is freed here.
/// - Throws: ``KafkaError`` where there is one.
func check(_ error: OpaquePointer?) throws(KafkaError) {
    guard let error else { return }
    defer { rd_kafka_error_destroy(error) }
    throw KafkaError(rd_kafka_error_code(error))
}
