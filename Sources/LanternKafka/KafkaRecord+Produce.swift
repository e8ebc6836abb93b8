import CRDKafka

extension KafkaRecord {
    /// Hands the record to librdkafka, which copies key and value once; nothing here outlives the call.
    /// - Parameters:
    ///   - topic: The handle of the record's topic; `nil` lets librdkafka look it up.
    ///   - opaque: Comes back with the delivery report, unless an error is answered.
    func produce(topic: OpaquePointer?, opaque: UnsafeMutableRawPointer, handle: OpaquePointer) -> KafkaError? {
        Self.withBytes(self.key) { key in
            Self.withBytes(self.value) { value in
                // Names must end with a zero byte: they are copied behind each other, and so are the values of headers.
                var size = topic == nil ? self.topic.utf8.count + 1 : 0
                for header in self.headers { size += header.name.utf8.count + 1 + (header.value?.count ?? 0) }
                return withUnsafeTemporaryAllocation(byteCount: max(1, size), alignment: 1) { scratch in
                    withUnsafeTemporaryAllocation(of: rd_kafka_vu_t.self, capacity: 7) {
                        self.produce(key, value, scratch, $0, topic, opaque, handle)
                    }
                }
            }
        }
    }

    private func produce(
        _ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?, _ scratch: UnsafeMutableRawBufferPointer,
        _ arguments: UnsafeMutableBufferPointer<rd_kafka_vu_t>, _ topic: OpaquePointer?,
        _ opaque: UnsafeMutableRawPointer, _ handle: OpaquePointer
    ) -> KafkaError? {
        var used = 0
        func place(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutableRawPointer? {
            guard let base = scratch.baseAddress else { return nil }
            let start = base + used
            if let source = bytes.baseAddress { start.copyMemory(from: source, byteCount: bytes.count) }
            used += bytes.count
            return start
        }
        func cString(_ text: String) -> UnsafePointer<CChar>? {
            var text = text
            let start = text.withUTF8 { place(UnsafeRawBufferPointer($0)) }
            scratch[used] = 0
            used += 1
            return start.map { UnsafePointer($0.assumingMemoryBound(to: CChar.self)) }
        }
        var count = 0
        func add(_ type: rd_kafka_vtype_t, _ fill: (inout rd_kafka_vu_t) -> Void) {
            var argument = rd_kafka_vu_t()
            argument.vtype = type
            fill(&argument)
            arguments.initializeElement(at: count, to: argument)
            count += 1
        }
        if let topic {
            add(RD_KAFKA_VTYPE_RKT) { $0.u.rkt = topic }
        } else {
            add(RD_KAFKA_VTYPE_TOPIC) { $0.u.cstr = cString(self.topic) }
        }
        add(RD_KAFKA_VTYPE_MSGFLAGS) { $0.u.i = Int32(RD_KAFKA_MSG_F_COPY) }
        add(RD_KAFKA_VTYPE_OPAQUE) { $0.u.ptr = opaque }
        if let partition { add(RD_KAFKA_VTYPE_PARTITION) { $0.u.i32 = partition } }
        if let value {
            add(RD_KAFKA_VTYPE_VALUE) {
                $0.u.mem.ptr = UnsafeMutableRawPointer(mutating: value.baseAddress)
                $0.u.mem.size = value.count
            }
        }
        if let key {
            add(RD_KAFKA_VTYPE_KEY) {
                $0.u.mem.ptr = UnsafeMutableRawPointer(mutating: key.baseAddress)
                $0.u.mem.size = key.count
            }
        }
        // One list: single headers are freed twice by 2.0.2 where the partition or topic is refused. The list is librdkafka's
        // with the record, and stays ours with an error (rdkafka.h, `RD_KAFKA_VTYPE_HEADERS`).
        let headers = self.headers.isEmpty ? nil : rd_kafka_headers_new(self.headers.count)
        if let headers {
            for header in self.headers {
                let length = header.value?.count ?? 0
                let value = header.value.flatMap { value in value.withUnsafeBytes { place($0) } }
                rd_kafka_header_add(headers, cString(header.name), -1, value, length)
            }
            add(RD_KAFKA_VTYPE_HEADERS) { $0.u.headers = headers }
        }
        guard let error = rd_kafka_produceva(handle, arguments.baseAddress, count) else { return nil }
        if let headers { rd_kafka_headers_destroy(headers) }
        defer { rd_kafka_error_destroy(error) }
        if rd_kafka_error_is_fatal(error) != 0 {
            return KafkaError(code: .fatal, message: String(cString: rd_kafka_error_string(error)))
        }
        return KafkaError(rd_kafka_error_code(error))
    }

    /// The bytes, with an address also where there are none: without one, an empty value would be a tombstone.
    private static func withBytes<Result>(
        _ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> Result
    ) -> Result {
        guard let bytes else { return body(nil) }
        guard bytes.isEmpty else { return bytes.withUnsafeBytes { body($0) } }
        return withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) {
            body(UnsafeRawBufferPointer(start: UnsafeRawPointer($0.baseAddress), count: 0))
        }
    }
}
