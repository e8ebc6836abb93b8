import Foundation
import Testing

@testable import LanternEvents

/// Where a member stands in the text of an object, against objects that are made of members whose place is known.
@Suite("Members of a JSON object, by their place")
struct JSONMembersTests {
    /// Valid JSON of any form, and where its members stand.
    private struct Writer {
        var chance: SeededGenerator

        private mutating func one<Value>(of values: [Value]) -> Value {
            values[Int.random(in: 0..<values.count, using: &self.chance)]
        }

        mutating func space() -> String {
            (0..<Int.random(in: 0...2, using: &self.chance)).map { _ in self.one(of: [" ", "\n", "\t", "\r"]) }.joined()
        }

        /// Some are `data`, in one form or another; some look like it.
        mutating func name() -> String {
            self.one(of: [
                #""data""#, ##""d\u0061ta""##, ##""\u0064\u0061\u0074\u0061""##, #""dat""#, #""Data""#, #""""#,
                #""data ""#,
                #""\"data\"""#, #""data\\""#, #""{\"data\":""#, #""data_base64""#, #""é""#,
            ])
        }

        static func isData(_ name: String) -> Bool {
            [#""data""#, ##""d\u0061ta""##, ##""\u0064\u0061\u0074\u0061""##].contains(name)
        }

        mutating func value(depth: Int = 0) -> String {
            let scalars = [
                "0", "-0", "1.50", "1e5", "-1E-5", "12345678901234567890123", "true", "false", "null", #""""#,
                #""data""#,
                #""a \"b\" \\""#, #""},{[]:,""#, #""\\\"""#, #""é🏮\u00e9\n""#, #"":""#,
            ]
            guard depth < 4 else { return self.one(of: scalars) }
            switch Int.random(in: 0..<6, using: &self.chance) {
            case 0: return self.object(depth: depth + 1).text
            case 1:
                var elements: [String] = []
                for _ in 0..<Int.random(in: 0...3, using: &self.chance) {
                    elements.append(self.space() + self.value(depth: depth + 1) + self.space())
                }
                return "[" + (elements.isEmpty ? self.space() : elements.joined(separator: ",")) + "]"
            default: return self.one(of: scalars)
            }
        }

        /// An object, and what its last member of the name has.
        mutating func object(depth: Int = 0) -> (text: String, data: String?) {
            var members: [String] = []
            var data: String?
            for _ in 0..<Int.random(in: 0...4, using: &self.chance) {
                let name = self.name()
                let value = self.value(depth: depth)
                if Self.isData(name) { data = value }
                members.append(self.space() + name + self.space() + ":" + self.space() + value + self.space())
            }
            return ("{" + (members.isEmpty ? self.space() : members.joined(separator: ",")) + "}", data)
        }
    }

    @Test(
        "the last member of a name is found, byte for byte, in an object of any form",
        arguments: 1...20 as ClosedRange<UInt64>)
    func property(seed: UInt64) throws {
        var writer = Writer(chance: SeededGenerator(seed: seed))
        for _ in 0..<500 {
            let (object, data) = writer.object()
            let text = writer.space() + object + writer.space()
            let bytes = Array(text.utf8)
            // What is written here is JSON, or the test would say nothing.
            _ = try JSONSerialization.jsonObject(with: Data(bytes))
            let found = JSONMembers.value(of: "data", in: bytes).map { String(decoding: bytes[$0], as: UTF8.self) }
            #expect(found == data, "\(text)")
        }
    }

    @Test(
        "any member can be asked for",
        arguments: [
            ("a", "1"), ("b", #"{"c":2}"#), ("d", "null"), ("", "0"), ("c", nil), ("e", nil), ("é", #""x""#),
        ] as [(String, String?)])
    func names(name: String, value: String?) {
        let bytes = Array(#"{"a":1,"b":{"c":2},"d":null,"":0,"\u00e9":"x"}"#.utf8)
        #expect(JSONMembers.value(of: name, in: bytes).map { String(decoding: bytes[$0], as: UTF8.self) } == value)
    }

    @Test("an object of a mebibyte is read through once", .timeLimit(.minutes(1)))
    func large() {
        let list = String(repeating: #"{"data":[1,"}"]},"#, count: 70_000)
        let bytes = Array(#"{"x":[\#(list)0],"data":7}"#.utf8)
        #expect(bytes.count > 1 << 20)
        #expect(JSONMembers.value(of: "data", in: bytes).map { Array(bytes[$0]) } == Array("7".utf8))
    }

    @Test("what is cut off is read to its end and no further", arguments: 0..<40)
    func truncated(length: Int) {
        let bytes = Array(#"{"a":{"b":[1,"\""]},"data":"x\\","c":[{}]}"#.utf8)
        // A parser has refused it before; it must not be read beyond its end all the same.
        if let range = JSONMembers.value(of: "data", in: Array(bytes.prefix(length))) {
            #expect(range.upperBound <= length)
        }
    }
}
