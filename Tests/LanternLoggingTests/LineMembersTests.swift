import Foundation
import Logging
import Testing

@testable import LanternLogging

/// A number as a program holds it.
struct NumberCase: Sendable, CustomTestStringConvertible {
    var value: any CustomStringConvertible & Sendable
    var testDescription: String { "\(type(of: self.value)) \(self.value)" }

    static let integers: [NumberCase] = {
        func ends<Value: FixedWidthInteger & SendableMetatype>(_: Value.Type) -> [NumberCase]
        where Value: Sendable { [.min, 0, 1, .max].map { (value: Value) in NumberCase(value: value) } }
        return ends(Int.self) + ends(Int8.self) + ends(Int16.self) + ends(Int32.self) + ends(Int64.self)
            + ends(UInt.self) + ends(UInt8.self) + ends(UInt16.self) + ends(UInt32.self) + ends(UInt64.self)
    }()
}

@Suite("The numbers of a line")
struct LineNumbersTests {
    /// How the value of the one metadata member is written: a reader of JSON could round.
    private func written(_ value: any CustomStringConvertible & Sendable) throws -> String {
        let transcript = Transcript()
        transcript.logger.info("measured", metadata: ["zulu": .stringConvertible(value)])
        let line = try transcript.line()
        // Whatever is written, it is JSON.
        #expect(try transcript.object()["zulu"] != nil)
        let member = try #require(line.range(of: "\"zulu\":"))
        return String(line[member.upperBound...].dropLast())
    }

    @Test("integers keep type and value", arguments: NumberCase.integers)
    func integers(_ number: NumberCase) throws {
        #expect(try self.written(number.value) == number.value.description)
    }

    @Test(
        "doubles keep type and value",
        arguments: [
            0, -0.0, 1, -1, 0.1, 1.0 / 3, 1e15, 1e16, 1e21, 123_456_789.123_456_789, 1e-5, .pi, .ulpOfOne,
            .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .leastNormalMagnitude, .leastNonzeroMagnitude,
            9_007_199_254_740_991,
        ] as [Double]
    )
    func doubles(value: Double) throws {
        #expect(try Double(self.written(value))?.bitPattern == value.bitPattern)
    }

    @Test("a double is written as it describes itself, with few decimals and with many")
    func shortDoubles() throws {
        var generator = SeededGenerator(seed: 4)
        let transcript = Transcript()
        var values: [Double] = [
            0.001, 0.01, 0.1, 1, 10.5, 10.05, 10.005, 99.999, 100, 999_999_999.999, 1e9, 1e12, 1e15,
        ]
        for _ in 0..<20_000 {
            let bits = Int.random(in: 0...40, using: &generator)
            let whole = UInt64.random(in: 0...(UInt64(1) << bits), using: &generator)
            let divisor: Double = [1, 10, 100, 1_000].randomElement(using: &generator) ?? 1
            let value = Double(whole) / divisor
            // Its neighbours have many decimals, and may be taken for it.
            values += [value, -value, value.nextUp, value.nextDown]
        }
        for value in values { transcript.logger.info("measured", metadata: ["zulu": .stringConvertible(value)]) }
        let lines = transcript.sink.lines
        #expect(lines.count == values.count)
        for (line, value) in zip(lines, values) where !line.hasSuffix("\"zulu\":\(value)}") {
            Issue.record("\(value) is written \(line.suffix(30))")
        }
    }

    @Test(
        "floats keep type and value",
        arguments: [
            0, -0.0, 0.1, 1.0 / 3, 1e10, 16_777_215, .pi, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
            .leastNormalMagnitude, .leastNonzeroMagnitude,
        ] as [Float]
    )
    func floats(value: Float) throws {
        #expect(try Float(self.written(value))?.bitPattern == value.bitPattern)
    }

    @Test("what JSON has no number for is text")
    func notFinite() throws {
        #expect(try self.written(Double.nan) == "\"nan\"")
        #expect(try self.written(Double.infinity) == "\"inf\"")
        #expect(try self.written(-Double.infinity) == "\"-inf\"")
        #expect(try self.written(Float.nan) == "\"nan\"")
        #expect(try self.written(-Float.infinity) == "\"-inf\"")
    }

    @Test("truth is no number, and text that looks like one is text")
    func neither() throws {
        #expect(try self.written(true) == "true")
        #expect(try self.written(false) == "false")
        #expect(try self.written("1") == "\"1\"")
        #expect(try self.written(Substring("true")) == "\"true\"")
    }

    @Test("in arrays and dictionaries they are numbers as well")
    func nested() throws {
        let transcript = Transcript()
        transcript.logger.info(
            "measured",
            metadata: [
                "zulu": [
                    .stringConvertible(UInt64.max), .dictionary(["a": .stringConvertible(Int8.min)]),
                    .stringConvertible(0.5),
                ]
            ])
        #expect(try transcript.line().hasSuffix("\"zulu\":[18446744073709551615,{\"a\":-128},0.5]}"))
    }
}

@Suite("The keys of a line")
struct LineKeysTests {
    /// Name and text of each member, those of one name as often as they are there: a reader of JSON keeps one.
    private func members(_ line: String) -> [String] {
        line.matches(of: /"((?:[^"\\]|\\.)*)":"((?:[^"\\]|\\.)*)"/).map { "\($0.1)=\($0.2)" }
    }

    private static let names = [
        "timestamp", "level", "message", "logger", "service", "trace_id", "span_id", "repeated", "truncated",
    ]

    @Test("a key that collides is told apart from one that looks like what it becomes", arguments: Self.names)
    func collisions(name: String) throws {
        let transcript = Transcript()
        transcript.logger.info(
            "placed", metadata: [name: "one", "metadata.\(name)": "two", "metadata.metadata.\(name)": "three"])
        let members = try Set(self.members(transcript.line()))
        let expected: Set = [
            "metadata.\(name)=one", "metadata.metadata.\(name)=two", "metadata.metadata.metadata.\(name)=three",
        ]
        #expect(members.isSuperset(of: expected))
        #expect(!members.contains("\(name)=one"))
    }

    @Test("keys that only look alike keep their names")
    func lookalikes() throws {
        let keys = [
            "Level", "levels", "leve", "metadata.", "metadata.levels", "metadata.user", "metadata", " level", "",
        ]
        let transcript = Transcript()
        transcript.logger.info("placed", metadata: Dictionary(uniqueKeysWithValues: keys.map { ($0, "same") }))
        let members = try Set(self.members(transcript.line()))
        #expect(members.isSuperset(of: keys.map { "\($0)=same" }))
    }

    @Test("metadata stands in the order of its keys, however many there are, and however alike", arguments: 0...70)
    func order(count: Int) throws {
        var dice = SeededGenerator(seed: UInt64(count))
        var keys: Set<String> = []
        while keys.count < count {
            // Alike in their first bytes, longer and shorter than a word of the machine.
            let length = Int.random(in: 1...12, using: &dice)
            keys.insert(String((0..<length).map { _ in "xyz".randomElement(using: &dice) ?? "x" }))
        }
        let transcript = Transcript()
        transcript.logger.info("placed", metadata: Dictionary(uniqueKeysWithValues: keys.map { ($0, "v") }))
        let names = try self.members(transcript.line()).filter { $0.hasSuffix("=v") }.map { String($0.dropLast(2)) }
        #expect(names == keys.sorted())
    }

    @Test("the attributes of the process stand in each line, before the metadata, and win over its keys")
    func resource() throws {
        let transcript = Transcript(resource: [("region", "eu"), ("deployment.environment", "test \"1\"")])
        transcript.logger.info("placed")
        transcript.logger.info("placed", metadata: ["region": "us", "metadata.region": "asia", "apple": "a"])
        let lines = transcript.sink.lines
        #expect(lines.count == 2)
        for line in lines {
            let object = try Transcript.object(line)
            #expect(object["region"] as? String == "eu")
            #expect(object["deployment.environment"] as? String == "test \"1\"")
        }
        let members = try self.members(#require(lines.last))
        #expect(members.suffix(3) == ["apple=a", "metadata.metadata.region=asia", "metadata.region=us"])
    }

    @Test("of equal attributes the first counts, and one that names a secret is masked")
    func resourceOddities() throws {
        let transcript = Transcript(resource: [("region", "eu"), ("region", "us"), ("api.token", "hunter2")])
        transcript.logger.info("placed")
        let members = try self.members(transcript.line())
        #expect(members.filter { $0.hasPrefix("region=") } == ["region=eu"])
        #expect(members.contains("api.token=***"))
    }

    @Test("an attribute, a key and a member of the same name are three members", arguments: Self.names)
    func threeOfAName(name: String) throws {
        let transcript = Transcript(resource: [(name, "attribute")])
        transcript.logger.info("placed", metadata: [name: "key"])
        let members = try self.members(transcript.line())
        let names = members.filter { $0.hasSuffix("=attribute") || $0.hasSuffix("=key") }.map {
            $0.split(separator: "=")[0]
        }
        #expect(names.count == 2)
        #expect(Set(names).count == 2)
        #expect(!names.contains(name[...]))
    }

    @Test(
        "keys that differ only where they are cut stay two members, at the top and within",
        arguments: ["k", "\u{1}", "\"", "é", "😀", "metadata."]
    )
    func cutKeys(piece: String) throws {
        // 60 pieces fit as they are, and become too long as escapes.
        for count in [60, 130, 5_000] {
            let long = String(repeating: piece, count: count)
            let pair: Logger.Metadata = [long + "1": "one", long + "2": "two"]
            for metadata in [pair, ["pair": .dictionary(pair)]] {
                let transcript = Transcript()
                transcript.logger.info("placed", metadata: metadata)
                let members = try self.members(transcript.line())
                let names = members.filter { $0.hasSuffix("=one") || $0.hasSuffix("=two") }.map { $0.dropLast(4) }
                #expect(names.count == 2)
                #expect(Set(names).count == 2, "\(count) pieces")
            }
        }
    }

    // In a process of its own, because it is the stack that would end.
    @Test("a key of a hundred thousand prefixes harms nobody, and takes no time")
    func prefixes() async {
        await #expect(processExitsWith: .success) {
            let transcript = Transcript(resource: [("region", "eu")])
            let key = String(repeating: "metadata.", count: 100_000) + "level"
            let took = ContinuousClock().measure { transcript.logger.info("placed", metadata: [key: "x"]) }
            exit(transcript.sink.lines.count == 1 && took < .seconds(5) ? EXIT_SUCCESS : EXIT_FAILURE)
        }
    }
}
