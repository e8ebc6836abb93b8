import Foundation
import Logging
import Testing

@testable import LanternLogging

/// A record that is too large for a line.
struct HugeRecord: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var message = "huge"
    var metadata: Logger.Metadata = [:]
    var label = "order.http"
    var service = "order"
    /// Whether whole members are left out, rather than a text cut.
    var lacksMembers = false

    private static let megabyte = String(repeating: "0123456789abcdef", count: 65_536)
    private static let elements = (0..<10_000).map { Logger.MetadataValue.string("element \($0)") }
    private static let members = Dictionary(
        uniqueKeysWithValues: (0..<10_000).map { ("key \($0)", Logger.MetadataValue.stringConvertible($0)) })

    /// Each level of the tree has so many branches.
    private static func tree(_ depth: Int, branches: Int) -> Logger.MetadataValue {
        if depth == 0 { return "leaf" }
        let below = Self.tree(depth - 1, branches: branches)
        return depth.isMultiple(of: 2)
            ? .array(Array(repeating: below, count: branches))
            : .dictionary(Dictionary(uniqueKeysWithValues: (0..<branches).map { ("branch \($0)", below) }))
    }

    static let all: [HugeRecord] = [
        HugeRecord(testDescription: "a value", metadata: ["a": .string(megabyte)]),
        HugeRecord(
            testDescription: "a value of escapes", metadata: ["a": .string(String(repeating: "\u{1}", count: 100_000))]),
        HugeRecord(
            testDescription: "a value of quotes", metadata: ["a": .string(String(repeating: "\"", count: 100_000))]),
        HugeRecord(testDescription: "a description", metadata: ["a": .stringConvertible(megabyte)]),
        HugeRecord(testDescription: "a message", message: megabyte, metadata: ["a": "b"]),
        HugeRecord(testDescription: "a key", metadata: [megabyte: "b"]),
        HugeRecord(testDescription: "a label", label: megabyte),
        HugeRecord(testDescription: "a service", service: megabyte),
        HugeRecord(
            testDescription: "a message, a label and a service", message: megabyte, label: megabyte, service: megabyte),
        HugeRecord(testDescription: "ten thousand keys", metadata: members, lacksMembers: true),
        HugeRecord(testDescription: "an array of ten thousand", metadata: ["a": .array(elements)], lacksMembers: true),
        HugeRecord(
            testDescription: "a dictionary of ten thousand", metadata: ["a": .dictionary(members)], lacksMembers: true),
        HugeRecord(
            testDescription: "ten long values",
            metadata: Dictionary(
                uniqueKeysWithValues: (0..<10).map { ("key \($0)", .string(megabyte)) }), lacksMembers: true),
        HugeRecord(
            testDescription: "ten thousand long keys",
            metadata: Dictionary(
                uniqueKeysWithValues: (0..<10_000).map { ("\($0)" + String(repeating: "k", count: 300), "v") }),
            lacksMembers: true),
        HugeRecord(testDescription: "a tree of two branches", metadata: ["a": tree(20, branches: 2)]),
        HugeRecord(
            testDescription: "a tree of ten branches", metadata: ["a": tree(7, branches: 10)], lacksMembers: true),
        HugeRecord(
            testDescription: "empty arrays within arrays",
            metadata: [
                "a": .array(Array(repeating: .array(Array(repeating: [], count: 200)), count: 200))
            ], lacksMembers: true),
        HugeRecord(
            testDescription: "all at once", message: megabyte,
            metadata: [
                "a": .array(elements), "b": tree(7, branches: 10), "c": .string(megabyte),
                megabyte: .dictionary(members),
            ],
            label: megabyte, service: megabyte, lacksMembers: true),
    ]
}

/// Characters that become several bytes of a line.
private let wide = ["\u{1}", "\"", "é", "€", "\u{2028}", "😀", "👩‍🚀", "e\u{301}\u{302}"]

@Suite("A line that is too long")
struct LongLineTests {
    @Test(
        "it is one line within the limit that a reader of JSON takes, and says whether members were left out",
        arguments: HugeRecord.all)
    func json(_ record: HugeRecord) throws {
        let transcript = Transcript(service: record.service, label: record.label)
        transcript.logger.info("\(record.message)", metadata: record.metadata)
        let line = try transcript.line()
        #expect(line.utf8.count < Transcript.longestLine)
        #expect(!line.contains("\n"))
        let object = try transcript.object()
        #expect(object["level"] as? String == "info")
        #expect(object["truncated"] as? Bool == (record.lacksMembers ? true : nil))
        #expect((object["message"] as? String)?.prefix(4) == record.message.prefix(4))
    }

    @Test("for people it is one line within the limit too", arguments: HugeRecord.all)
    func pretty(_ record: HugeRecord) throws {
        let transcript = Transcript(service: record.service, label: record.label, format: .pretty)
        transcript.logger.info("\(record.message)", metadata: record.metadata)
        let line = try transcript.line()
        #expect(line.utf8.count < Transcript.longestLine)
        #expect(!line.contains("\n"))
        #expect(line.contains("INFO"))
    }

    @Test("a text that is cut ends with an ellipsis; one that is not, does not")
    func ellipsis() throws {
        let transcript = Transcript()
        let long = String(repeating: "x", count: 10_000)
        transcript.logger.info("\(long)", metadata: ["long": .string(long), "short": "x", long: "key"])
        let object = try transcript.object()
        for text in [object["message"], object["long"]].map({ $0 as? String }) {
            let text = try #require(text)
            #expect(text.hasSuffix("x…"))
            #expect(text.utf8.count > 4_000)
        }
        #expect(object["short"] as? String == "x")
        let key = try #require(object.first { $0.value as? String == "key" }?.key)
        #expect(key.contains("x…"))
        #expect((100...300).contains(key.utf8.count))
        #expect(object["truncated"] == nil)
    }

    /// Whether what stands before the ellipsis, if there is one, is a beginning of `text`, in whole characters.
    private func isBeginning(_ cut: String, of text: String) -> Bool {
        text.unicodeScalars.starts(with: cut.unicodeScalars.prefix { $0 != "…" })
    }

    @Test("no character is cut in half, wherever the end of a text falls", arguments: wide)
    func wholeCharacters(character: String) throws {
        for offset in 0..<24 {
            let text = String(repeating: "a", count: offset) + String(repeating: character, count: 10_000)
            let transcript = Transcript()
            transcript.logger.info("\(text)", metadata: ["value": .string(text), text: "key"])
            let object = try transcript.object()
            let message = try #require(object["message"] as? String)
            let value = try #require(object["value"] as? String)
            let key = try #require(object.first { $0.value as? String == "key" }?.key)
            for cut in [message, value, key] {
                // Behind that of a key may stand what tells it from others that are cut.
                #expect(cut.contains("…"))
                #expect(self.isBeginning(cut, of: text), "offset \(offset)")
            }
        }
    }

    @Test("no character is cut in half, wherever the end of the line falls", arguments: wide, LogOutput.Format.allCases)
    func wholeCharactersAtTheEnd(character: String, format: LogOutput.Format) throws {
        // Three of them leave less than the longest value.
        let filler = String(repeating: "a", count: 8_150)
        let text = String(repeating: character, count: 10_000)
        for offset in 0..<24 {
            let transcript = Transcript(format: format)
            transcript.logger.info(
                "full",
                metadata: [
                    "a": .string(filler), "b": .string(filler),
                    "c": .string(filler + String(repeating: "a", count: offset)),
                    "d": .string(text), "e": .string(text),
                ])
            // A sink that keeps text would have repaired a half character.
            #expect(try !transcript.line().contains("\u{FFFD}") || format == .pretty)
            #expect(try transcript.line().utf8.count < Transcript.longestLine)
            if format == .json {
                let value = try #require(transcript.object()["d"] as? String)
                #expect(value.hasSuffix("…"))
                #expect(self.isBeginning(value, of: text), "offset \(offset)")
            }
        }
    }

    @Test("what is left out is what comes last: the members of the contract stay")
    func contractStays() throws {
        let record = try #require(HugeRecord.all.first { $0.testDescription == "all at once" })
        let transcript = Transcript(service: record.service, label: record.label)
        transcript.logger.critical("\(record.message)", metadata: record.metadata)
        #expect(
            try Set(transcript.object().keys).isSuperset(of: ["timestamp", "level", "message", "logger", "service"]))
    }

    @Test("after a line that was too long comes one that is whole")
    func recovers() throws {
        let transcript = Transcript()
        for record in HugeRecord.all {
            transcript.logger.info("\(record.message)", metadata: record.metadata)
            transcript.logger.info("small", metadata: ["a": "b"])
            let object = try Transcript.object(#require(transcript.sink.lines.last))
            #expect(object["message"] as? String == "small")
            #expect(object["a"] as? String == "b")
            #expect(object["truncated"] == nil)
        }
    }
}

/// A value whose description logs.
private struct Talkative: CustomStringConvertible, Sendable {
    var logger: Logger
    var depth: Int

    var description: String {
        if self.depth > 0 {
            let inner = Talkative(logger: self.logger, depth: self.depth - 1)
            self.logger.info(
                "within", metadata: ["depth": .stringConvertible(self.depth), "value": .stringConvertible(inner)])
        }
        return "value \(self.depth)"
    }
}

@Suite("A value whose description logs")
struct TalkativeValueTests {
    @Test(
        "its line and the line that it is in are both whole, however deep that goes",
        arguments: LogOutput.Format.allCases)
    func both(format: LogOutput.Format) throws {
        let transcript = Transcript(format: format)
        let value = Talkative(logger: transcript.logger, depth: 3)
        transcript.logger.info("outer", metadata: ["before": "a", "value": .stringConvertible(value), "zulu": "z"])
        transcript.logger.info("behind")
        let lines = transcript.sink.lines
        // The innermost is finished first.
        let values = lines.prefix(4).map { line in (0...3).filter { line.contains("value \($0)") } }
        #expect(values == [[0], [1], [2], [3]])
        #expect(lines.count == 5)
        if format == .json {
            let outer = try Transcript.object(#require(lines.dropFirst(3).first))
            #expect(outer["before"] as? String == "a")
            #expect(outer["zulu"] as? String == "z")
            #expect(try Transcript.object(#require(lines.last))["message"] as? String == "behind")
        }
    }
}
