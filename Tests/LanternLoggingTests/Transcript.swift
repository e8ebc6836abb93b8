import Foundation
import Logging
import Testing

@testable import LanternLogging

/// What a logger writes, as the reader of its lines sees it.
struct Transcript {
    /// Bytes of the longest line, with its newline.
    static let longestLine = 32_768

    let sink = MemorySink()
    let logger: Logger

    init(
        service: String = "order", label: String = "order.http", format: LogOutput.Format = .json,
        resource: [(key: String, value: String)] = []
    ) {
        let output = LogOutput(
            service: service, format: format, levels: LogLevels(.trace), resource: resource, sink: self.sink)
        self.logger = Logger(label: label) { LanternLogHandler(label: $0, output: output) }
    }

    /// The one line that was written.
    func line() throws -> String {
        let lines = self.sink.lines
        #expect(lines.count == 1)
        return try #require(lines.first)
    }

    /// That line, parsed.
    func object() throws -> [String: Any] {
        try Self.object(self.line())
    }

    static func object(_ line: String) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }
}
