import Foundation
import Logging
import Testing

@testable import LanternLogging

/// What arrives of that which `log` tells a logger whose sink counts equal lines.
private func arriving(
    _ format: LogOutput.Format = .json, within interval: Duration = .seconds(60), _ log: (Logger) -> Void
) throws -> [String] {
    let pipe = try LogPipe()
    let reader = pipe.read()
    let sink = try FileDescriptorSink(
        descriptor: pipe.writing, overflow: .block, collapse: .init(interval, format: format))
    let output = LogOutput(service: "order", format: format, levels: LogLevels(.trace), sink: sink)
    log(Logger(label: "order") { LanternLogHandler(label: $0, output: output) })
    #expect(sink.flush(timeout: .seconds(20)))
    pipe.closeWriting()
    return try reader.lines()
}

private func object(_ line: String) throws -> [String: Any] {
    try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
}

/// How many lines a line stands for.
private func count(_ line: String, _ format: LogOutput.Format = .json) throws -> Int {
    switch format {
    case .json: return try object(line)["repeated"] as? Int ?? 1
    case .pretty:
        guard let at = line.range(of: " repeated=", options: .backwards) else { return 1 }
        return try #require(Int(line[at.upperBound...]))
    }
}

@Suite("Lines that are equal but for their time")
struct RepeatedLinesTests {
    @Test("a thousand become a few, which say how many they are", arguments: LogOutput.Format.allCases)
    func thousand(format: LogOutput.Format) throws {
        let lines = try arriving(format) { logger in
            for _ in 0..<1_000 {
                logger.warning("broker away", metadata: ["broker": "b-1", "attempt": .stringConvertible(3)])
            }
        }
        // A count stands for as many bytes as the ring has at most, which a killed process would lose.
        #expect(lines.count <= 10)
        #expect(try lines.reduce(0) { try $0 + count($1, format) } == 1_000)
        #expect(lines.allSatisfy { $0.contains("broker away") && $0.contains("b-1") })
    }

    @Test("they add up, whatever their length", arguments: [1, 100, 3_900, 4_000, 4_100, 8_000])
    func lengths(length: Int) throws {
        let message = String(repeating: "x", count: length)
        let lines = try arriving { logger in
            for _ in 0..<50 { logger.info("\(message)") }
        }
        #expect(try lines.map { try count($0) }.reduce(0, +) == 50)
        #expect(try lines.allSatisfy { try object($0)["message"] as? String == message })
    }

    @Test("they add up, from however many threads they come", arguments: LogOutput.Format.allCases)
    func threads(format: LogOutput.Format) throws {
        let lines = try arriving(format, within: .milliseconds(1)) { logger in
            onThreads(8) { _ in
                for _ in 0..<1_000 { logger.info("broker away") }
            }
        }
        #expect(try lines.map { try count($0, format) }.reduce(0, +) == 8_000)
    }

    @Test("a line that differs ends the run, and stands behind its count")
    func runs() throws {
        let lines = try arriving { logger in
            for message in ["a", "a", "a", "b", "a", "a", "c", "c"] { logger.info("\(message)") }
        }
        let told = try lines.map { "\(try object($0)["message"] ?? "") \(try count($0))" }
        #expect(told == ["a 1", "a 2", "b 1", "a 1", "a 1", "c 1", "c 1"])
    }

    @Test("lines of another level, or with another value, are not equal")
    func differing() throws {
        let lines = try arriving { logger in
            logger.info("broker away", metadata: ["broker": "b-1"])
            logger.warning("broker away", metadata: ["broker": "b-1"])
            logger.warning("broker away", metadata: ["broker": "b-2"])
        }
        #expect(try lines.map { try object($0)["level"] as? String } == ["info", "warning", "warning"])
        #expect(try lines.map { try object($0)["broker"] as? String } == ["b-1", "b-1", "b-2"])
        #expect(try lines.map { try count($0) } == [1, 1, 1])
    }

    @Test("the count bears the time of the last of them")
    func time() throws {
        let pipe = try LogPipe()
        let sink = try FileDescriptorSink(descriptor: pipe.writing, collapse: .init(.seconds(60), format: .json))
        for time in 1...5 { sink.write("{\"time\":\"\(time)\",\"message\":\"news\"}\n", stamp: 10) }
        #expect(sink.flush(timeout: .seconds(20)))
        let lines = pipe.available(lines: 2)
        #expect(
            lines == [
                "{\"time\":\"1\",\"message\":\"news\"}", "{\"time\":\"5\",\"message\":\"news\",\"repeated\":4}",
            ])
    }

    @Test("the count is told when its time is over, though nobody asks and nothing else is logged")
    func interval() throws {
        let pipe = try LogPipe()
        let sink = try FileDescriptorSink(descriptor: pipe.writing, collapse: .init(.milliseconds(20), format: .pretty))
        for _ in 0..<3 { sink.write("news\n") }
        #expect(try pipe.available(lines: 2).map { try count($0, .pretty) }.reduce(0, +) == 3)
        withExtendedLifetime(sink) {}
    }

    @Test("the count is told when the sink goes away")
    func goesAway() throws {
        let pipe = try LogPipe()
        var sink: FileDescriptorSink? = try FileDescriptorSink(
            descriptor: pipe.writing, collapse: .init(.seconds(60), format: .pretty))
        for _ in 0..<5 { sink?.write("news\n") }
        sink = nil
        #expect(pipe.available() == "news\nnews repeated=4\n")
    }

    @Test("without an interval each is written")
    func each() throws {
        let lines = try arriving(within: .zero) { logger in
            for _ in 0..<100 { logger.info("broker away") }
        }
        #expect(try lines.map { try count($0) } == Array(repeating: 1, count: 100))
    }

    @Test("lines that are shorter than what stands behind a count do not stop those that follow")
    func short() throws {
        let pipe = try LogPipe()
        let sink = try FileDescriptorSink(descriptor: pipe.writing, collapse: .init(.seconds(60), format: .json))
        sink.write("\n")
        sink.write("\n")
        sink.write("{\"message\":\"news\"}\n")
        #expect(sink.flush(timeout: .seconds(1)))
        #expect(pipe.available(within: 1_000).hasSuffix("{\"message\":\"news\"}\n"))
    }
}
