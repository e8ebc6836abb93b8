import CRDKafka

/// Messages on their way from librdkafka to the caller, who copies them: so memory is taken and freed on one side, and where the
/// polling thread had to wait for them, it only collects.
///
/// `@unchecked Sendable` is right because one thread at a time has them: whoever fills it lends it together with the handle
/// (``KafkaHandle/lend()``), and the caller frees all of it in ``take()`` before giving that back.
struct KafkaMessages: @unchecked Sendable {
    typealias Pointer = UnsafeMutablePointer<rd_kafka_message_t>

    private var pointers: [Pointer] = []

    var count: Int { self.pointers.count }
    var isEmpty: Bool { self.pointers.isEmpty }

    mutating func append(_ message: Pointer) { self.pointers.append(message) }

    /// Copies all, and frees them. Once.
    consuming func take() -> [KafkaRecord] {
        var records: [KafkaRecord] = []
        records.reserveCapacity(self.pointers.count)
        var topics = TopicNames()
        for message in self.pointers {
            topics.name(of: message) { records.append(KafkaRecord(message, topic: $0)) }
        }
        topics.forget()
        return records
    }
}

/// The name of the topic that the last message came from: a batch has few, and making a `String` for each record would
/// cost more than the rest. Keeps the message whose topic it knows, and with it the topic: so its handle stands for no other.
private struct TopicNames: ~Copyable {
    private var last: (message: UnsafeMutablePointer<rd_kafka_message_t>, name: String)?

    /// Takes the message, which is destroyed here, sooner or later.
    mutating func name(
        of message: UnsafeMutablePointer<rd_kafka_message_t>, _ body: (String) -> Void
    ) {
        if let last, last.message.pointee.rkt == message.pointee.rkt {
            body(last.name)
            rd_kafka_message_destroy(message)
            return
        }
        let name = message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? ""
        self.forget()
        self.last = (message, name)
        body(name)
    }

    mutating func forget() {
        if let last { rd_kafka_message_destroy(last.message) }
        self.last = nil
    }
}

extension KafkaRecord {
    /// Copies a message out of librdkafka, which owns its memory until the message is destroyed.
    fileprivate init(_ message: UnsafeMutablePointer<rd_kafka_message_t>, topic: String) {
        func bytes(_ pointer: UnsafeMutableRawPointer?, _ count: Int) -> [UInt8]? {
            pointer.map { Array(UnsafeRawBufferPointer(start: $0, count: count)) }
        }
        var headers: [KafkaHeader] = []
        var list: OpaquePointer?
        if rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list {
            headers.reserveCapacity(rd_kafka_header_cnt(list))
            var name: UnsafePointer<CChar>?
            var value: UnsafeRawPointer?
            var length = 0
            while rd_kafka_header_get_all(list, headers.count, &name, &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR {
                headers.append(
                    KafkaHeader(
                        name.map { String(cString: $0) } ?? "",
                        value.map { Array(UnsafeRawBufferPointer(start: $0, count: length)) }
                    )
                )
            }
        }
        self.init(
            topic: topic,
            partition: message.pointee.partition,
            key: bytes(message.pointee.key, message.pointee.key_len),
            value: bytes(message.pointee.payload, message.pointee.len),
            headers: headers,
            offset: message.pointee.offset
        )
    }
}
