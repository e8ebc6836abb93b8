/// Lower-case hexadecimal digits, as trace context writes numbers.
enum Hexadecimal {
    /// Writes 16 digits.
    @inline(__always)
    static func write(_ value: UInt64, to buffer: UnsafeMutableBufferPointer<UInt8>, at place: Int) {
        for index in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * index)) & 15
            // '0' + digit, and as much more as lies between '9' and 'a'.
            buffer[place + index] = digit &+ 48 &+ (digit > 9 ? 39 : 0)
        }
    }

    static func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) }
    }

    /// The value of lower-case hexadecimal digits, 16 at most; `nil` for anything else. Upper case is invalid in
    /// `traceparent`.
    @inline(__always)
    static func decode(_ digits: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> UInt64? {
        var value: UInt64 = 0
        for index in range {
            let byte = digits[index]
            let decimal = byte &- 48
            let letter = byte &- 97
            guard decimal < 10 || letter < 6 else { return nil }
            value = value << 4 | UInt64(decimal < 10 ? decimal : letter &+ 10)
        }
        return value
    }
}

extension String {
    /// Lends the UTF-8 bytes.
    @inline(__always)
    func withUTF8Bytes<Value>(_ body: (UnsafeBufferPointer<UInt8>) -> Value) -> Value {
        if let value = self.utf8.withContiguousStorageIfAvailable(body) { return value }
        return Array(self.utf8).withUnsafeBufferPointer(body)
    }
}
