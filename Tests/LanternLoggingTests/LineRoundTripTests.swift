import Foundation
import Logging
import Testing

@testable import LanternLogging

/// A record by chance: hostile texts, in values that lie in each other.
private struct RandomRecord {
    private var dice: SeededGenerator
    /// How many texts there may still be, so that the line is not cut.
    private var texts = 60
    private(set) var message = ""
    private(set) var metadata: Logger.Metadata = [:]

    init(seed: UInt64) {
        self.dice = SeededGenerator(seed: seed)
        self.message = self.text()
        for number in 0..<Int.random(in: 0...6, using: &self.dice) {
            self.metadata["\(number) \(self.text())"] = self.value(depth: 0)
        }
    }

    private mutating func value(depth: Int) -> Logger.MetadataValue {
        switch depth < 6 && self.texts > 0 ? Int.random(in: 0..<8, using: &self.dice) : 2 {
        case 0:
            return .array((0..<Int.random(in: 0...4, using: &self.dice)).map { _ in self.value(depth: depth + 1) })
        case 1:
            var values: Logger.Metadata = [:]
            for number in 0..<Int.random(in: 0...4, using: &self.dice) {
                values["\(self.text()) \(number)"] = self.value(depth: depth + 1)
            }
            return .dictionary(values)
        case 2: return .stringConvertible(Int.random(in: .min ... .max, using: &self.dice))
        case 3: return .stringConvertible(Double(bitPattern: UInt64.random(in: 0 ... .max, using: &self.dice)))
        case 4: return .stringConvertible(Bool.random(using: &self.dice))
        case 5: return .stringConvertible(self.text())
        default: return .string(self.text())
        }
    }

    private static let pieces = [
        "\"", "\\", "\\u0041", "\n", "\r\n", "\0", "\u{1B}[2J", "\u{7F}", "\u{85}", "\u{2028}", "\u{2029}", "{", "}",
        "[", "],",
        ":", "null", "</script>", "%s", "👩‍🚀", "e\u{301}", "\u{202E}", "\u{FEFF}", "\u{FFFF}", "\u{10FFFF}", "        ",
        "abcdefgh",
    ]

    private mutating func text() -> String {
        self.texts -= 1
        var text = ""
        for _ in 0..<Int.random(in: 0...12, using: &self.dice) {
            switch Int.random(in: 0..<4, using: &self.dice) {
            case 0: text += Self.pieces.randomElement(using: &self.dice) ?? ""
            case 1: text.unicodeScalars.append(self.scalar(below: 0x100))
            case 2: text.unicodeScalars.append(self.scalar(below: 0x1_0000))
            default: text.unicodeScalars.append(self.scalar(below: 0x11_0000))
            }
        }
        return text
    }

    private mutating func scalar(below end: UInt32) -> Unicode.Scalar {
        // What is no scalar is a surrogate.
        Unicode.Scalar(UInt32.random(in: 0..<end, using: &self.dice)) ?? "\u{FFFD}"
    }
}

@Suite("A line, read back")
struct LineRoundTripTests {
    /// What is not as it was, with the way to it. Texts are compared by bytes: == takes one normal form for another.
    private func differences(_ value: Logger.MetadataValue, _ read: Any?, at path: String) -> [String] {
        func isText(_ text: String) -> Bool { (read as? String).map { Array($0.utf8) == Array(text.utf8) } ?? false }
        let found = ["\(path) is \(String(describing: read))"]
        switch value {
        case .string(let text): return isText(text) ? [] : found
        case .stringConvertible(let convertible):
            switch convertible {
            // Foundation reads long numbers as Decimal; how they are written is tested to the last digit elsewhere.
            case let number as Int: return (read as? NSNumber).map { "\($0)" } == "\(number)" ? [] : found
            case let number as Double where number.isFinite:
                let difference = (read as? NSNumber).map { abs($0.doubleValue - number) } ?? .infinity
                return difference <= abs(number) * 1e-14 ? [] : found
            case let truth as Bool: return (read as? Bool) == truth ? [] : found
            default: return isText(convertible.description) ? [] : found
            }
        case .array(let values):
            guard let read = read as? [Any], read.count == values.count else { return found }
            return zip(values, read).enumerated().flatMap { self.differences($1.0, $1.1, at: "\(path)[\($0)]") }
        case .dictionary(let values):
            guard let read = read as? [String: Any], read.count == values.count else { return found }
            return values.flatMap { self.differences($0.value, self.member(read, $0.key), at: "\(path).\($0.key)") }
        }
    }

    /// The member whose name has the same bytes.
    private func member(_ object: [String: Any], _ key: String) -> Any? {
        object.first { Array($0.key.utf8) == Array(key.utf8) }?.value
    }

    @Test("whatever a record holds, its line gives it back", arguments: 0..<40)
    func roundTrip(batch: UInt64) throws {
        for seed in batch * 25..<batch * 25 + 25 {
            let record = RandomRecord(seed: seed)
            let transcript = Transcript()
            transcript.logger.info("\(record.message)", metadata: record.metadata)
            let line = try transcript.line()
            let isClean = line.unicodeScalars.allSatisfy { scalar in
                scalar.value >= 0x20 && !(0x7F..<0xA0).contains(scalar.value) && scalar != "\u{2028}"
                    && scalar != "\u{2029}"
            }
            #expect(isClean, "seed \(seed)")
            let object = try #require(try? transcript.object(), "seed \(seed) makes a line that is no JSON")
            #expect(object["truncated"] == nil, "seed \(seed)")
            let wrong =
                self.differences(.string(record.message), object["message"], at: "message")
                + record.metadata.flatMap { self.differences($0.value, self.member(object, $0.key), at: $0.key) }
            #expect(wrong == [], "seed \(seed)")
            #expect(object.count == 5 + record.metadata.count, "seed \(seed)")
        }
    }

    @Test("whatever a record holds, its line for people is one line that steers no terminal", arguments: 0..<10)
    func pretty(batch: UInt64) throws {
        for seed in batch * 25..<batch * 25 + 25 {
            let record = RandomRecord(seed: seed)
            let transcript = Transcript(format: .pretty)
            transcript.logger.info("\(record.message)", metadata: record.metadata)
            let isClean = try transcript.line().unicodeScalars.allSatisfy { scalar in
                scalar.value >= 0x20 && !(0x7F..<0xA0).contains(scalar.value) && scalar != "\u{2028}"
                    && scalar != "\u{2029}"
            }
            #expect(isClean, "seed \(seed)")
        }
    }
}
