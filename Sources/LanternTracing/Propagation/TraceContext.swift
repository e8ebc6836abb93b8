/// `traceparent` and `tracestate`, read and written as W3C Trace Context Level 2 says.
public enum TraceContext {
    /// The context that a `traceparent` names, or `nil` where it is malformed: then a new trace begins (section 4.3).
    ///
    /// - Parameters:
    ///   - traceparent: The header's value. Several headers joined by commas are malformed.
    ///   - tracestate: The header's value, several headers joined by commas. A malformed one is dropped as a whole and
    ///     leaves the traceparent valid (section 4.4).
    public static func parse(traceparent: String, tracestate: String? = nil) -> SpanContext? {
        traceparent.withUTF8Bytes { bytes in
            let dash = UInt8(ascii: "-")
            guard bytes.count >= 55, bytes[2] == dash, bytes[35] == dash, bytes[52] == dash,
                let version = Hexadecimal.decode(bytes, 0..<2), version != 0xFF,
                let high = Hexadecimal.decode(bytes, 3..<19), let low = Hexadecimal.decode(bytes, 19..<35),
                let traceID = TraceID(high: high, low: low),
                let span = Hexadecimal.decode(bytes, 36..<52), let spanID = SpanID(span),
                let flags = Hexadecimal.decode(bytes, 53..<55)
            else { return nil }
            // A version we do not know may append fields, but only after another dash (section 3.2.4).
            if version == 0 {
                guard bytes.count == 55 else { return nil }
            } else if bytes.count > 55 {
                guard bytes[55] == dash else { return nil }
            }
            return SpanContext(
                traceID: traceID,
                spanID: spanID,
                flags: UInt8(flags) & 0b11,
                traceState: tracestate.flatMap(self.validTraceState) ?? "",
                isRemote: true
            )
        }
    }

    /// `00-<trace id>-<span id>-<flags>`.
    public static func traceparent(_ context: SpanContext) -> String {
        String(unsafeUninitializedCapacity: 55) { buffer in
            let dash = UInt8(ascii: "-")
            let zero = UInt8(ascii: "0")
            (buffer[0], buffer[1], buffer[2]) = (zero, zero, dash)
            Hexadecimal.write(context.traceID.high, to: buffer, at: 3)
            Hexadecimal.write(context.traceID.low, to: buffer, at: 19)
            buffer[35] = dash
            Hexadecimal.write(context.spanID.value, to: buffer, at: 36)
            (buffer[52], buffer[53], buffer[54]) = (dash, zero, zero &+ (context.flags & 0b11))
            return 55
        }
    }

    /// The members in canonical form, or `nil` where the grammar of section 3.3.1 is broken. Of a key that is there twice the
    /// first stays, which is the newer one; others may discard duplicates (section 3.5).
    static func validTraceState(_ value: String) -> String? {
        var members: [Substring] = []
        var keys: Set<Substring> = []
        var count = 0
        for part in value.utf8.split(separator: UInt8(ascii: ",")) {
            let member = Substring(part).trimmingSpaces()
            if member.isEmpty { continue }
            guard let equals = member.utf8.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            let key = member[..<equals]
            let memberValue = member[member.utf8.index(after: equals)...]
            count += 1
            guard self.isKey(key), self.isValue(memberValue), count <= 32 else { return nil }
            if keys.insert(key).inserted { members.append(member) }
        }
        return members.joined(separator: ",")
    }

    /// Level 2: `lcalpha / DIGIT`, then up to 255 of `lcalpha DIGIT _ - * / @`.
    private static func isKey(_ key: Substring) -> Bool {
        guard let first = key.utf8.first, (1...256).contains(key.utf8.count) else { return false }
        func isLetterOrDigit(_ byte: UInt8) -> Bool {
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
        }
        return isLetterOrDigit(first)
            && key.utf8.dropFirst().allSatisfy { isLetterOrDigit($0) || "_-*/@".utf8.contains($0) }
    }

    /// Up to 256 printable characters but `,` and `=`, the last not a space.
    private static func isValue(_ value: Substring) -> Bool {
        guard let last = value.utf8.last, value.utf8.count <= 256, last != 0x20 else { return false }
        return value.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x2C && $0 != 0x3D }
    }
}

extension Substring {
    /// Without spaces and tabs around it.
    func trimmingSpaces() -> Substring {
        // By bytes: a space and what combines with it are one character.
        var bytes = self.utf8
        while let first = bytes.first, first == 0x20 || first == 0x09 { bytes = bytes.dropFirst() }
        while let last = bytes.last, last == 0x20 || last == 0x09 { bytes = bytes.dropLast() }
        return Substring(bytes)
    }
}
