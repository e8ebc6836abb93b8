import CLanternLogging

/// A line while it is written: the wrapper of `lantern_line.h`, which says what fits and what is left out.
///
/// Only ever lives within ``withLine(_:)``, on one thread.
struct LineWriter {
    private let line: UnsafeMutablePointer<lantern_line>

    /// Bytes of the longest key and of the longest value.
    private static let keyLimit: UInt32 = 256
    private static let valueLimit: UInt32 = 8 * 1_024

    /// Lends the thread's line, empty. Does nothing where memory is out.
    @inline(__always)
    static func withLine(_ body: (LineWriter) -> Void) {
        if let line = lantern_line_begin() {
            body(LineWriter(line: line))
            lantern_line_end(line)
        } else if let line = lantern_line_create() {
            // The description of a value logs while a line with that value is written.
            body(LineWriter(line: line))
            lantern_line_destroy(line)
        }
    }

    /// A copy of what `body` writes.
    static func bytes(_ body: (LineWriter) -> Void) -> [UInt8] {
        var bytes: [UInt8] = []
        Self.withLine { line in
            body(line)
            bytes = Array(UnsafeBufferPointer(start: line.line.pointee.bytes, count: line.count))
        }
        return bytes
    }

    /// What was written so far, lent.
    @inline(__always)
    func withBytes(_ body: (RawSpan) -> Void) {
        body(UnsafeRawBufferPointer(start: self.line.pointee.bytes, count: Int(self.line.pointee.count)).bytes)
    }

    var count: Int { Int(self.line.pointee.count) }

    /// Whether something was left out, because the line was full.
    var isCut: Bool { self.line.pointee.is_cut != 0 }

    /// Whether so much fits that one more value is worth beginning.
    var hasRoom: Bool {
        if lantern_line_room(self.line) >= 512 { return true }
        self.line.pointee.is_cut = 1
        return false
    }

    @inline(__always)
    func append(_ text: StaticString) {
        lantern_line_append(self.line, text.utf8Start, UInt32(text.utf8CodeUnitCount))
    }

    func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { lantern_line_append(self.line, $0.baseAddress, UInt32(clamping: $0.count)) }
    }

    func append(_ text: String) {
        Self.withBytes(of: text) { lantern_line_append(self.line, $0.baseAddress, UInt32(clamping: $0.count)) }
    }

    /// What closes a line: always fits.
    func close(_ text: StaticString) {
        lantern_line_close(self.line, text.utf8Start, UInt32(text.utf8CodeUnitCount))
    }

    /// A JSON string with its quotes.
    @inline(__always)
    func appendJSON(_ text: String) {
        lantern_line_close(self.line, "\"", 1)
        Self.withBytes(of: text) {
            lantern_line_json(self.line, $0.baseAddress, UInt64($0.count), Self.valueLimit)
        }
        lantern_line_close(self.line, "\"", 1)
    }

    /// `,"key":`, with a prefix where the line has such a name itself. Answers whether the key names a secret.
    @inline(__always)
    func appendKey(_ key: String) -> Bool {
        var namesSecret = false
        Redaction.automaton.withUnsafeBufferPointer { automaton in
            Self.withBytes(of: key) {
                namesSecret =
                    lantern_line_key(self.line, $0.baseAddress, UInt64($0.count), Self.keyLimit, automaton.baseAddress)
                    != 0
            }
        }
        return namesSecret
    }

    /// `"key":` of a nested object.
    func appendName(_ key: String) {
        lantern_line_close(self.line, "\"", 1)
        Self.withBytes(of: key) { lantern_line_name(self.line, $0.baseAddress, UInt64($0.count), Self.keyLimit) }
    }

    /// Text that can neither end the line nor steer a terminal.
    func appendPlain(_ text: String) {
        Self.withBytes(of: text) {
            lantern_line_plain(self.line, $0.baseAddress, UInt64($0.count), Self.valueLimit)
        }
    }

    func append(_ value: Int64) { lantern_line_integer(self.line, value) }
    func append(_ value: UInt64) { lantern_line_unsigned(self.line, value) }
    func appendHexadecimal(_ value: UInt64) { lantern_line_hexadecimal(self.line, value) }

    /// RFC 3339 in UTC with microseconds: 27 bytes.
    func appendTime(_ microseconds: Int64) { lantern_line_time(self.line, microseconds) }

    static func now() -> Int64 { lantern_now() }

    @inline(__always)
    private static func withBytes(of text: String, _ body: (UnsafeBufferPointer<UInt8>) -> Void) {
        if text.utf8.withContiguousStorageIfAvailable(body) == nil {
            Array(text.utf8).withUnsafeBufferPointer(body)
        }
    }
}
