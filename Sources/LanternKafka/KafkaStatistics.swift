/// What the platform reads of librdkafka's statistics (`STATISTICS.md` of librdkafka), a JSON text that it makes every
/// few seconds.
///
/// Read in one pass, without building the tree: it has hundreds of values, and four are wanted.
struct KafkaStatistics: Sendable, Equatable {
    /// Records in the producer's queues, and their size in bytes.
    var queuedMessages = 0
    var queuedBytes = 0
    /// For each partition that is read: records behind the one that the application got last.
    var lag: [KafkaPartition: Int64] = [:]

    init(_ text: UnsafePointer<CChar>) {
        var count = 0
        while text[count] != 0 { count += 1 }
        self.init(UnsafeRawBufferPointer(start: text, count: count).bindMemory(to: UInt8.self))
    }

    init(_ text: UnsafeBufferPointer<UInt8>) {
        var scanner = JSONScanner(text)
        var ends: [KafkaPartition: Int64] = [:]
        var positions: [KafkaPartition: Int64] = [:]
        scanner.members { name, scanner in
            switch name {
            case "msg_cnt": self.queuedMessages = Int(scanner.integer() ?? 0)
            case "msg_size": self.queuedBytes = Int(scanner.integer() ?? 0)
            case "topics":
                scanner.members { topic, scanner in
                    scanner.members { name, scanner in
                        guard name == "partitions" else { return scanner.skip() }
                        scanner.members { number, scanner in
                            // -1 holds what has no partition yet.
                            let partition = Int32(number).flatMap {
                                $0 >= 0 ? KafkaPartition(topic: topic, partition: $0) : nil
                            }
                            scanner.members { name, scanner in
                                guard let partition, name == "ls_offset" || name == "app_offset" else {
                                    return scanner.skip()
                                }
                                guard let value = scanner.integer(), value >= 0 else { return }
                                if name == "ls_offset" { ends[partition] = value } else { positions[partition] = value }
                            }
                        }
                    }
                }
            default: scanner.skip()
            }
        }
        for (partition, position) in positions {
            if let end = ends[partition] { self.lag[partition] = max(0, end - position) }
        }
    }
}

/// Walks over JSON that a program wrote: what is malformed ends the walk, and what is not asked for is skipped.
struct JSONScanner {
    private let text: UnsafeBufferPointer<UInt8>
    private var index = 0

    init(_ text: UnsafeBufferPointer<UInt8>) { self.text = text }

    /// Calls `body` for each member of the object that stands here; it must read the value or skip it. Anything else is
    /// skipped.
    mutating func members(_ body: (String, inout JSONScanner) -> Void) {
        guard self.peek() == UInt8(ascii: "{") else { return self.skip() }
        self.index += 1
        while let next = self.peek(), next != UInt8(ascii: "}") {
            if next == UInt8(ascii: ",") { self.index += 1; continue }
            guard let name = self.string(), self.peek() == UInt8(ascii: ":") else { return self.end() }
            self.index += 1
            let before = self.index
            body(name, &self)
            guard self.index > before else { return self.end() }
        }
        self.index += 1
    }

    /// The whole number that stands here; anything else is skipped.
    mutating func integer() -> Int64? {
        let start = self.peek().map { _ in self.index } ?? self.index
        self.skip()
        guard start < self.index, self.index <= self.text.count else { return nil }
        return Int64(String(decoding: self.text[start..<self.index], as: UTF8.self))
    }

    /// Passes the value that stands here.
    mutating func skip() {
        var depth = 0
        repeat {
            guard let next = self.peek() else { return }
            switch next {
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                self.index += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                // Not ours: the value is missing.
                guard depth > 0 else { return }
                depth -= 1
                self.index += 1
            case UInt8(ascii: "\""):
                guard self.string() != nil else { return self.end() }
            case UInt8(ascii: ","), UInt8(ascii: ":"):
                guard depth > 0 else { return }
                self.index += 1
            default:
                // One byte at least, whatever it is.
                repeat { self.index += 1 } while self.index < self.text.count && !Self.ends(self.text[self.index])
            }
        } while depth > 0
    }

    /// Names as librdkafka writes them: it escapes nothing in them but by a backslash.
    private mutating func string() -> String? {
        guard self.peek() == UInt8(ascii: "\"") else { return nil }
        let start = self.index + 1
        var end = start
        while end < self.text.count, self.text[end] != UInt8(ascii: "\"") {
            end += self.text[end] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard end < self.text.count else { return nil }
        self.index = end + 1
        return String(decoding: self.text[start..<end], as: UTF8.self)
    }

    private mutating func peek() -> UInt8? {
        while self.index < self.text.count {
            let byte = self.text[self.index]
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return byte }
            self.index += 1
        }
        return nil
    }

    private static func ends(_ byte: UInt8) -> Bool {
        byte <= 0x20 || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]")
    }

    private mutating func end() { self.index = self.text.count }
}
