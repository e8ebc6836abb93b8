import LanternEvents
import Testing

@Suite("Length-prefixed fields")
struct LengthPrefixedTests {
    @Test(
        "each field stands behind its length in four big-endian bytes",
        arguments: [
            ([], []),
            ([[]], [0, 0, 0, 0]),
            ([[0x61]], [0, 0, 0, 1, 0x61]),
            ([[0x61, 0x62], [], [0x63]], [0, 0, 0, 2, 0x61, 0x62, 0, 0, 0, 0, 0, 0, 0, 1, 0x63]),
        ] as [([[UInt8]], [UInt8])]
    )
    func encodes(fields: [[UInt8]], bytes: [UInt8]) {
        #expect(LengthPrefixed.encode(fields) == bytes)
    }

    @Test(
        "lengths above 255 use the higher bytes",
        arguments: [(255, [0, 0, 0, 255]), (256, [0, 0, 1, 0]), (70_000, [0, 1, 17, 112])] as [(Int, [UInt8])]
    )
    func longFields(count: Int, prefix: [UInt8]) {
        let bytes = LengthPrefixed.encode([Array(repeating: 0x61, count: count)])
        #expect(Array(bytes.prefix(4)) == prefix)
        #expect(bytes.count == count + 4)
    }

    @Test("the same text divided otherwise is something else")
    func unambiguous() {
        let divisions = [
            ["abc"], ["ab", "c"], ["a", "bc"], ["a", "b", "c"], ["", "abc"], ["abc", ""], ["", "abc", ""], [],
        ]
        let encoded = divisions.map { LengthPrefixed.encode($0.map { Array($0.utf8) }) }
        #expect(Set(encoded).count == divisions.count)
    }

    @Test("a field that looks like a prefix is taken for none")
    func hostileFields() {
        let fields: [[UInt8]] = [[0, 0, 0, 1], [0, 0, 0, 0], [], [0xFF, 0xFF, 0xFF, 0xFF], [0]]
        #expect(Self.decode(LengthPrefixed.encode(fields)) == fields)
    }

    /// Reads fields as an implementation in another language would.
    private static func decode(_ bytes: [UInt8]) -> [[UInt8]] {
        var fields: [[UInt8]] = []
        var rest = bytes[...]
        while rest.count >= 4 {
            let length = rest.prefix(4).reduce(0) { $0 * 256 + Int($1) }
            rest = rest.dropFirst(4)
            fields.append(Array(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
        return fields
    }
}
