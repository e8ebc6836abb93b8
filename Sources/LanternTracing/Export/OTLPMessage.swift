/// Protocol buffers' wire format (protobuf.dev, "Encoding").
struct OTLPMessage {
    private(set) var bytes: [UInt8] = []

    /// What was written, which is then no longer held here.
    mutating func take() -> [UInt8] {
        var taken: [UInt8] = []
        swap(&taken, &self.bytes)
        return taken
    }

    /// Takes back what was written last.
    mutating func cut(to count: Int) { self.bytes.removeLast(self.bytes.count - count) }

    @inline(__always)
    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            self.bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        self.bytes.append(UInt8(rest))
    }

    /// - Parameter isAlways: Written even if it is 0: a member of a `oneof` says which one it is.
    mutating func number(_ field: Int, _ value: UInt64, isAlways: Bool = false) {
        guard isAlways || value != 0 else { return }
        self.varint(UInt64(field << 3))
        self.varint(value)
    }

    mutating func fixed64(_ field: Int, _ value: UInt64) {
        self.varint(UInt64(field << 3 | 1))
        withUnsafeBytes(of: value.littleEndian) { self.bytes.append(contentsOf: $0) }
    }

    mutating func fixed32(_ field: Int, _ value: UInt32) {
        self.varint(UInt64(field << 3 | 5))
        withUnsafeBytes(of: value.littleEndian) { self.bytes.append(contentsOf: $0) }
    }

    mutating func text(_ field: Int, _ value: String, isAlways: Bool = false) {
        guard isAlways || !value.isEmpty else { return }
        self.varint(UInt64(field << 3 | 2))
        self.varint(UInt64(value.utf8.count))
        self.bytes.append(contentsOf: value.utf8)
    }

    /// Ids are big-endian bytes.
    mutating func traceID(_ field: Int, _ id: TraceID) {
        self.varint(UInt64(field << 3 | 2))
        self.bytes.append(16)
        withUnsafeBytes(of: (id.high.bigEndian, id.low.bigEndian)) { self.bytes.append(contentsOf: $0) }
    }

    mutating func spanID(_ field: Int, _ id: SpanID) {
        self.varint(UInt64(field << 3 | 2))
        self.bytes.append(8)
        withUnsafeBytes(of: id.value.bigEndian) { self.bytes.append(contentsOf: $0) }
    }

    /// A message within this one. Its length stands in front and is known behind it: most are short, so one byte is kept for
    /// it, and longer ones are moved.
    @inline(__always)
    mutating func nested(_ field: Int, _ body: (inout OTLPMessage) -> Void) {
        self.varint(UInt64(field << 3 | 2))
        let place = self.bytes.count
        self.bytes.append(0)
        body(&self)
        self.setLength(at: place)
    }

    private mutating func setLength(at place: Int) {
        let length = self.bytes.count - place - 1
        guard length >= 0x80 else {
            self.bytes[place] = UInt8(length)
            return
        }
        var header = OTLPMessage()
        header.varint(UInt64(length))
        self.bytes.replaceSubrange(place...place, with: header.bytes)
    }
}
