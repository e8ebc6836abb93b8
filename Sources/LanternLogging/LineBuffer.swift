/// Bytes of one line, with the escaping that JSON asks for (RFC 8259, section 7).
struct LineBuffer {
    private(set) var bytes: [UInt8] = []

    init(reserving capacity: Int) {
        self.bytes.reserveCapacity(capacity)
    }

    mutating func append(_ text: String) {
        self.bytes.append(contentsOf: text.utf8)
    }

    mutating func append(byte: UInt8) {
        self.bytes.append(byte)
    }

    /// Appends `text` as a JSON string, quotes included. Control characters (C0, DEL and C1) are escaped, and so are
    /// U+2028 and U+2029, which some readers take for line ends. A Swift string is always valid UTF-8.
    mutating func appendJSON(_ text: String) {
        self.bytes.append(UInt8(ascii: "\""))
        self.append(text) { buffer, control in
            switch control {
            case 0x22: buffer.append("\\\"")
            case 0x5C: buffer.append("\\\\")
            case 0x0A: buffer.append("\\n")
            case 0x0D: buffer.append("\\r")
            case 0x09: buffer.append("\\t")
            default:
                buffer.append("\\u")
                for shift in [12, 8, 4, 0] {
                    buffer.bytes.append(Self.hexadecimal[Int(control >> UInt16(shift)) & 15])
                }
            }
        }
        self.bytes.append(UInt8(ascii: "\""))
    }

    /// Appends `text` with control characters made visible, so that it can neither end the line nor steer a terminal.
    mutating func appendOneLine(_ text: String) {
        self.append(text) { buffer, control in
            switch control {
            case 0x22: buffer.bytes.append(0x22)
            case 0x5C: buffer.bytes.append(0x5C)
            case 0x0A: buffer.append("\\n")
            default: buffer.append("\u{FFFD}")
            }
        }
    }

    /// Copies the UTF-8 of `text`, handing quotes, backslashes and all that could end a line to `escape` as code points.
    private mutating func append(_ text: String, escape: (inout LineBuffer, UInt16) -> Void) {
        var text = text
        text.withUTF8 { source in
            var index = 0
            while index < source.count {
                let byte = source[index]
                if byte < 0x20 || byte == 0x22 || byte == 0x5C || byte == 0x7F {
                    escape(&self, UInt16(byte))
                } else if byte == 0xC2, index + 1 < source.count, source[index + 1] < 0xA0 {
                    escape(&self, UInt16(source[index + 1]))
                    index += 1
                } else if byte == 0xE2, index + 2 < source.count, source[index + 1] == 0x80,
                    source[index + 2] == 0xA8 || source[index + 2] == 0xA9
                {
                    escape(&self, 0x2000 | UInt16(source[index + 2] & 0x3F))
                    index += 2
                } else {
                    self.bytes.append(byte)
                }
                index += 1
            }
        }
    }

    private static let hexadecimal = Array("0123456789abcdef".utf8)
}
