import Foundation
import Logging
import Testing

@testable import LanternLogging

/// Lines as a reader gets them: through a logger, the handler and a sink.
private struct Journal {
    let sink: MemorySink
    let logger: Logger

    init(
        service: String = "order", label: String = "order.http", format: LogOutput.Format = .json,
        level: Logger.Level = .trace, trace: @escaping @Sendable () -> LogOutput.Trace? = { nil }
    ) {
        let sink = MemorySink()
        let output = LogOutput(
            service: service, format: format, levels: LogLevels(level), sink: sink, trace: trace
        )
        self.sink = sink
        self.logger = Logger(label: label) { label in LanternLogHandler(label: label, output: output) }
    }

    /// The one line that was written.
    func line() throws -> String {
        let lines = self.sink.lines
        #expect(lines.count == 1)
        return try #require(lines.first)
    }

    /// That line, parsed.
    func object() throws -> [String: Any] {
        let object = try JSONSerialization.jsonObject(with: Data(self.line().utf8)) as? [String: Any]
        return try #require(object)
    }
}

private let trace = LogOutput.Trace(
    traceIDHigh: 0x0af7_6519_16cd_43dd, traceIDLow: 0x8448_eb21_1c80_319c, spanID: 0xb7ad_6b71_6920_3331
)

private struct Refused: Error, CustomStringConvertible {
    var description: String { "refused by the bank" }
}

/// Text that has broken the lines of other handlers.
struct HostileText: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var text: String

    init(_ description: String, _ text: String) {
        self.testDescription = description
        self.text = text
    }

    static let all: [HostileText] = [
        HostileText("newlines", "a\nb\r\nc\rd"),
        HostileText("a forged member", "x\",\"level\":\"critical"),
        HostileText("a forged line", "x\"}\n{\"level\":\"critical\",\"message\":\"y"),
        HostileText("quotes and backslashes", "\"\\\"\\\\u0041/"),
        HostileText("C0 control characters", String((UInt8(0)..<0x20).map { Character(Unicode.Scalar($0)) })),
        HostileText(
            "DEL and C1 control characters", String((UInt8(0x7F)..<0xA0).map { Character(Unicode.Scalar($0)) })),
        HostileText("line and paragraph separators", "a\u{2028}b\u{2029}c\u{85}d"),
        HostileText("a terminal's escape sequence", "\u{1B}[2J\u{1B}]0;title\u{07}"),
        HostileText(
            "repaired invalid UTF-8", String(decoding: [0x61, 0xFF, 0xC0, 0x80, 0xED, 0xA0, 0x80, 0x62], as: UTF8.self)
        ),
        HostileText("text beside the escaped ranges", "\u{A0}\u{C2}\u{E2}\u{2027}\u{202A}\u{20A8}"),
        HostileText("text beyond the basic plane", "👩‍🚀\u{FFFF}\u{10FFFF}"),
    ]
}

/// Everything that a reader or a terminal could take for the end of a line, or for a command.
private func controls(in line: String) -> [Unicode.Scalar] {
    line.unicodeScalars.filter { scalar in
        scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
    }
}

@Suite("A log line")
struct LogLineTests {
    @Test("the members of the contract lead, in its order, and the metadata follows sorted")
    func order() throws {
        let journal = Journal(trace: { trace })
        journal.logger.info("placed", metadata: ["zebra": "1", "apple": "2"])
        let line = try journal.line()
        let members = [
            "timestamp", "level", "message", "logger", "service", "trace_id", "span_id", "apple", "zebra",
        ]
        let positions = try members.map { member in
            try #require(line.range(of: "\"\(member)\":"), "no member \(member) in \(line)").lowerBound
        }
        #expect(positions == positions.sorted())
        #expect(line.hasPrefix("{\"timestamp\":\""))
        #expect(try Set(journal.object().keys) == Set(members))
    }

    @Test("the members hold what the logger was given")
    func members() throws {
        let journal = Journal(trace: { trace })
        journal.logger.warning("placed", metadata: ["order": "7"])
        let object = try journal.object()
        #expect(object["level"] as? String == "warning")
        #expect(object["message"] as? String == "placed")
        #expect(object["logger"] as? String == "order.http")
        #expect(object["service"] as? String == "order")
        #expect(object["trace_id"] as? String == "0af7651916cd43dd8448eb211c80319c")
        #expect(object["span_id"] as? String == "b7ad6b7169203331")
        #expect(object["order"] as? String == "7")
    }

    @Test("a line outside any span has no trace members")
    func noTrace() throws {
        let journal = Journal()
        journal.logger.info("started")
        #expect(try Set(journal.object().keys) == ["timestamp", "level", "message", "logger", "service"])
    }

    @Test(
        "a metadata key that collides with a member is prefixed",
        arguments: ["timestamp", "level", "message", "logger", "service", "trace_id", "span_id"]
    )
    func collision(name: String) throws {
        let journal = Journal(trace: { trace })
        journal.logger.info("placed", metadata: [name: "forged"])
        let object = try journal.object()
        #expect(object["metadata.\(name)"] as? String == "forged")
        let own = try #require(object[name] as? String)
        #expect(own != "forged")
    }

    @Test(
        "whatever the text, the line stays one line of valid JSON that gives the text back", arguments: HostileText.all)
    func hostileJSON(_ hostile: HostileText) throws {
        let text = hostile.text
        let journal = Journal(service: text, label: text)
        journal.logger.info(
            "\(text)", metadata: [text: .string(text), "list": [.string(text)], "map": [text: .string(text)]])
        #expect(try controls(in: journal.line()).isEmpty)

        let object = try journal.object()
        // By bytes: == on strings would take one normal form for another.
        func bytes(_ value: Any?) -> [UInt8]? { (value as? String).map { Array($0.utf8) } }
        let expected = Array(text.utf8)
        #expect(bytes(object["message"]) == expected)
        #expect(bytes(object["service"]) == expected)
        #expect(bytes(object["logger"]) == expected)
        #expect(bytes(object[text]) == expected)
        #expect(bytes((object["list"] as? [Any])?.first) == expected)
        #expect(bytes((object["map"] as? [String: Any])?[text]) == expected)
    }

    @Test("whatever the text, the line for people stays one line", arguments: HostileText.all)
    func hostilePretty(_ hostile: HostileText) throws {
        let text = hostile.text
        let journal = Journal(service: text, label: text, format: .pretty)
        journal.logger.info(
            "\(text)", metadata: [text: .string(text), "list": [.string(text)], "map": [text: .string(text)]])
        #expect(try controls(in: journal.line()).isEmpty)
    }

    @Test("the line for people has the level, the logger, the message, sorted metadata and the start of the trace id")
    func pretty() throws {
        let journal = Journal(format: .pretty, trace: { trace })
        journal.logger.info("a\nb", metadata: ["user": "x\u{1B}[2Jy", "password": "hunter2"])
        let line = try journal.line()
        #expect(line.hasSuffix("Z INFO     order.http  a\\nb password=*** user=x\u{FFFD}[2Jy trace=0af76519"))
    }

    @Test("numbers and booleans keep their type, what JSON has no number for is text")
    func types() throws {
        let journal = Journal()
        journal.logger.info(
            "measured",
            metadata: [
                "count": .stringConvertible(3), "large": .stringConvertible(Int64.max),
                "ratio": .stringConvertible(0.25),
                "flag": .stringConvertible(true), "nothing": .stringConvertible(Double.nan),
                "endless": .stringConvertible(Double.infinity),
            ]
        )
        let object = try journal.object()
        #expect(object["count"] as? Int == 3)
        #expect(object["large"] as? Int64 == Int64.max)
        #expect(object["ratio"] as? Double == 0.25)
        #expect(object["flag"] as? Bool == true)
        #expect(object["nothing"] is String)
        #expect(object["endless"] is String)
    }

    @Test("nested values stay nested")
    func nested() throws {
        let journal = Journal()
        journal.logger.info("placed", metadata: ["order": ["id": "7", "lines": ["a", ["sku": "b"]], "notes": []]])
        let object = try journal.object()
        let order = try #require(object["order"] as? [String: Any])
        let lines = try #require(order["lines"] as? [Any])
        #expect(order["id"] as? String == "7")
        #expect(lines.count == 2)
        #expect(lines.first as? String == "a")
        #expect((lines.last as? [String: Any])?["sku"] as? String == "b")
        #expect((order["notes"] as? [Any])?.isEmpty == true)
    }

    @Test("values nested without end are cut, and the line stays valid")
    func depth() throws {
        var value: Logger.MetadataValue = "innermost"
        for level in 0..<1_000 { value = level.isMultiple(of: 2) ? .array([value]) : .dictionary(["in": value]) }
        let journal = Journal()
        journal.logger.info("deep", metadata: ["deep": value])
        #expect(try journal.object()["deep"] != nil)
        #expect(try !journal.line().contains("innermost"))
    }

    @Test("an error is written as metadata")
    func error() throws {
        let journal = Journal()
        journal.logger.error("payment failed", error: Refused())
        #expect(try journal.object()["error"] as? String == "refused by the bank")
    }

    @Test("an error that the caller describes keeps that description")
    func describedError() throws {
        let journal = Journal()
        journal.logger.error("payment failed", error: Refused(), metadata: ["error": "declined"])
        #expect(try journal.object()["error"] as? String == "declined")
    }

    @Test("a record's metadata wins over the provider's, and that over the logger's")
    func precedence() throws {
        let sink = MemorySink()
        var handler = LanternLogHandler(
            label: "order", output: LogOutput(service: "order", format: .json, sink: sink)
        )
        handler.metadata = ["a": "logger", "b": "logger", "c": "logger"]
        handler.metadataProvider = Logger.MetadataProvider { ["b": "provider", "c": "provider"] }
        let configured = handler
        Logger(label: "order") { _ in configured }.info("placed", metadata: ["c": "record"])
        let line = try #require(sink.lines.first)
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        #expect(object?["a"] as? String == "logger")
        #expect(object?["b"] as? String == "provider")
        #expect(object?["c"] as? String == "record")
    }

    @Test("only records at or above the logger's level are written", arguments: Logger.Level.allCases)
    func levels(minimum: Logger.Level) throws {
        let journal = Journal(level: minimum)
        for level in Logger.Level.allCases { journal.logger.log(level: level, "something happened") }
        let written = try journal.sink.lines.compactMap { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return object?["level"] as? String
        }
        #expect(written == Logger.Level.allCases.filter { $0 >= minimum }.map(\.rawValue))
    }
}

@Suite("Secrets in a log line")
struct RedactionTests {
    @Test(
        "a value whose key names a secret is masked",
        arguments: [
            "password", "Password", "new_password", "client_secret", "authorization", "Proxy-Authorization", "cookie",
            "set-cookie", "access_token", "refresh_token", "api_key", "private_key",
        ]
    )
    func keys(key: String) throws {
        let journal = Journal()
        journal.logger.info("request", metadata: [key: "hunter2"])
        #expect(try journal.object()[key] as? String == "***")
    }

    @Test("other values are not", arguments: ["user", "path", "status", "author", "key"])
    func otherKeys(key: String) throws {
        let journal = Journal()
        journal.logger.info("request", metadata: [key: "visible"])
        #expect(try journal.object()[key] as? String == "visible")
    }

    @Test("a value marked sensitive is masked, and one marked public is not, whatever its key")
    func attributes() throws {
        let journal = Journal()
        journal.logger.info(
            "request",
            metadata: [
                "email": .attributed("hunter2@example.org", attributes: [Sensitivity.sensitive]),
                "token_count": .attributed(3, attributes: [Sensitivity.public]),
            ]
        )
        let object = try journal.object()
        #expect(object["email"] as? String == "***")
        #expect(object["token_count"] as? String == "3")
    }

    @Test("a list under the key of a secret is masked as a whole")
    func list() throws {
        let journal = Journal()
        journal.logger.info("request", metadata: ["tokens": ["hunter2", "hunter3"]])
        #expect(try journal.object()["tokens"] as? String == "***")
    }

    @Test("no format shows a secret, however deep it lies", arguments: LogOutput.Format.allCases)
    func nested(format: LogOutput.Format) throws {
        let journal = Journal(format: format)
        let marked = Logger.MetadataValue.attributed("hunter2", attributes: [Sensitivity.sensitive])
        journal.logger.info(
            "request",
            metadata: [
                "password": "hunter2", "email": marked, "list": ["open", marked],
                "headers": ["authorization": "Bearer hunter2", "accept": "open"], "bodies": [["password": "hunter2"]],
            ]
        )
        let line = try journal.line()
        #expect(!line.contains("hunter2"))
        #expect(line.contains("open"))
    }
}

@Suite("The sink in memory")
struct MemorySinkTests {
    @Test("it forgets the oldest lines, not the newest")
    func bounded() {
        let sink = MemorySink(limit: 10)
        for number in 0..<100 { sink.write(Array("line \(number)\n".utf8).span.bytes, level: .info, stamp: 0) }
        #expect(sink.lines.count <= 10)
        #expect(sink.lines.last == "line 99")
    }
}
