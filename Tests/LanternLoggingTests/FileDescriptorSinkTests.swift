import Foundation
import Logging
import Testing

@testable import LanternLogging

/// A descriptor that takes nothing.
enum RefusingDescriptor: CaseIterable {
    case closedPipe
    case fullDisk
    case none

    /// Lends it.
    func use(_ body: (Int32) throws -> Void) throws {
        switch self {
        case .closedPipe:
            let pipe = try LogPipe()
            pipe.closeReading()
            try body(pipe.writing)
        case .fullDisk:
            let full = open("/dev/full", O_WRONLY)
            defer { close(full) }
            try body(full)
        case .none: try body(-1)
        }
    }
}

@Suite("The sink of a descriptor")
struct FileDescriptorSinkTests {
    private let clock = ContinuousClock()

    /// The numbers with which lines begin.
    private func numbers(_ lines: [String]) -> [Int] {
        lines.compactMap { $0.split(separator: " ").first.flatMap { Int($0) } }
    }

    private func line(_ number: Int) -> String { "\(number) \(String(repeating: "x", count: 50 + number % 97)).\n" }

    @Test("lines of eight threads arrive whole, once each, and in each thread's order")
    func threads() throws {
        let pipe = try LogPipe()
        let reader = pipe.read()
        let sink = try FileDescriptorSink(descriptor: pipe.writing, overflow: .block)
        onThreads(8) { thread in
            let end = String(repeating: String(thread), count: 20 + thread * 30)
            for number in 0..<2_000 { sink.write("\(thread) \(number) \(end)\n") }
        }
        #expect(sink.flush(timeout: .seconds(20)))
        pipe.closeWriting()
        let lines = try reader.lines()
        #expect(lines.count == 16_000)
        for thread in 0..<8 {
            let own = lines.filter { $0.hasPrefix("\(thread) ") }
            let end = String(repeating: String(thread), count: 20 + thread * 30)
            #expect(own == (0..<2_000).map { "\(thread) \($0) \(end)" })
        }
    }

    @Test("lines of every size that there is arrive whole, wherever in the ring they begin")
    func sizes() throws {
        let pipe = try LogPipe()
        let reader = pipe.read()
        let sink = try FileDescriptorSink(descriptor: pipe.writing, overflow: .block)
        let sizes = Array(stride(from: 1, through: 32_767, by: 131)) + [32_767, 32_767, 32_767]
        for size in sizes { sink.write(String(repeating: "x", count: size) + "\n") }
        #expect(sink.flush(timeout: .seconds(20)))
        pipe.closeWriting()
        #expect(try reader.lines().map(\.utf8.count) == sizes)
        #expect(sink.droppedLines == 0)
    }

    @Test("where the reader stands still nobody waits: what finds no room is dropped and counted")
    func drop() throws {
        let pipe = try LogPipe()
        let sink = try FileDescriptorSink(descriptor: pipe.writing, overflow: .drop)
        let took = self.clock.measure {
            for number in 0..<10_000 { sink.write(self.line(number)) }
        }
        #expect(took < .seconds(5))
        #expect(sink.droppedLines > 0)

        let reader = pipe.read()
        #expect(sink.flush(timeout: .seconds(20)))
        pipe.closeWriting()
        let lines = try reader.lines()
        #expect(lines.count + sink.droppedLines == 10_000)
        let numbers = self.numbers(lines)
        #expect(lines == numbers.map { String(self.line($0).dropLast()) })
        #expect(numbers == Set(numbers).sorted())
    }

    @Test("where the caller waits for room, a slow reader loses nothing")
    func block() throws {
        let pipe = try LogPipe()
        let reader = pipe.read(piece: 8_192, pause: 500)
        let sink = try FileDescriptorSink(descriptor: pipe.writing, overflow: .block)
        for number in 0..<6_000 { sink.write(self.line(number)) }
        #expect(sink.flush(timeout: .seconds(20)))
        pipe.closeWriting()
        #expect(try self.numbers(reader.lines()) == Array(0..<6_000))
        #expect(sink.droppedLines == 0)
    }

    @Test("lines stay whole where the descriptor does not block, and takes a part of what it is given")
    func nonBlocking() throws {
        let pipe = try LogPipe()
        #expect(fcntl(pipe.writing, F_SETFL, fcntl(pipe.writing, F_GETFL) | O_NONBLOCK) == 0)
        let reader = pipe.read(piece: 8_000, pause: 300)
        let sink = try FileDescriptorSink(descriptor: pipe.writing, overflow: .block)
        for number in 0..<6_000 { sink.write(self.line(number)) }
        #expect(sink.flush(timeout: .seconds(20)))
        pipe.closeWriting()
        let broken = try reader.lines().filter { !$0.hasSuffix("x.") || $0.first?.isNumber != true }
        #expect(broken.prefix(3) == [])
    }

    @Test(
        "an error is in the pipe when the call that writes it returns, and what came before it too",
        arguments: [Logger.Level.error, .critical]
    )
    func writeThrough(level: Logger.Level) throws {
        let pipe = try LogPipe()
        let sink = try FileDescriptorSink(descriptor: pipe.writing)
        for number in 0..<20 {
            sink.write("news \(number)\n")
            sink.write("failure \(number)\n", level: level)
            // Both, though the news may have been written by itself.
            #expect(pipe.available() == "news \(number)\nfailure \(number)\n")
        }
    }

    @Test("where the reader stands still one error waits for a moment, and those behind it do not")
    func stalledError() throws {
        // The least of some, because another process may be in the way once.
        var seconds: [Duration] = []
        for _ in 0..<5 {
            let pipe = try LogPipe()
            pipe.fill()
            let sink = try FileDescriptorSink(descriptor: pipe.writing)
            #expect(self.clock.measure { sink.write("failure\n", level: .error) } < .seconds(1))
            seconds.append(self.clock.measure { sink.write("failure\n", level: .error) })
            #expect(
                self.clock.measure {
                    for _ in 0..<100 { sink.write("failure\n", level: .error) }
                } < .seconds(1))

            let reader = pipe.read()
            #expect(sink.flush(timeout: .seconds(20)))
            pipe.closeWriting()
            // The first is what filled the pipe.
            #expect(try reader.lines().dropFirst() == Array(repeating: "failure", count: 102)[...])
        }
        #expect(try #require(seconds.min()) < .milliseconds(25))
    }

    @Test(
        "what the descriptor refuses is dropped and counted, and harms nobody", arguments: RefusingDescriptor.allCases)
    func refused(by refusing: RefusingDescriptor) throws {
        try refusing.use { descriptor in
            let sink = try FileDescriptorSink(descriptor: descriptor, overflow: .block)
            for number in 0..<5_000 { sink.write(self.line(number)) }
            sink.write("failure\n", level: .error)
            sink.flush(timeout: .seconds(20))
            #expect(sink.droppedLines == 5_001)
        }
    }

    @Test("flush answers whether all is written, and waits no longer than it may")
    func flush() throws {
        let pipe = try LogPipe()
        let sink = try FileDescriptorSink(descriptor: pipe.writing)
        #expect(sink.flush(timeout: .seconds(20)))
        pipe.fill()
        sink.write("news\n")
        let took = self.clock.measure { #expect(!sink.flush(timeout: .milliseconds(100))) }
        #expect(took >= .milliseconds(100))
        #expect(took < .seconds(2))

        let reader = pipe.read()
        #expect(sink.flush(timeout: .seconds(20)))
        pipe.closeWriting()
        #expect(try reader.lines().last == "news")
    }

    @Test("a line of which all is said to be its time arrives")
    func stampBeyondTheLine() throws {
        for collapse in [nil, FileDescriptorSink.Collapse(.seconds(60), format: .pretty)] {
            let pipe = try LogPipe()
            let sink = try FileDescriptorSink(descriptor: pipe.writing, collapse: collapse)
            sink.write("short\n", stamp: 1_000)
            sink.write("longer\n", stamp: 1_000)
            sink.write("negative\n", stamp: -1)
            #expect(sink.flush(timeout: .seconds(20)))
            #expect(pipe.available(lines: 3) == ["short", "longer", "negative"])
        }
    }

    @Test("a sink that goes away writes what it has")
    func goesAway() throws {
        let pipe = try LogPipe()
        var sink: FileDescriptorSink? = try FileDescriptorSink(descriptor: pipe.writing)
        for number in 0..<100 { sink?.write(self.line(number)) }
        sink = nil
        #expect(self.numbers(pipe.available().split(separator: "\n").map(String.init)) == Array(0..<100))
    }

    @Test("a sink that goes away while its reader stands still waits for a second, and leaves the descriptor alone")
    func goesAwayStalled() throws {
        let pipe = try LogPipe()
        pipe.fill()
        var sink: FileDescriptorSink? = try FileDescriptorSink(descriptor: pipe.writing)
        // The first hangs in the pipe, the second is behind it.
        sink?.write("first\n", level: .error)
        sink?.write("second\n", level: .error)
        #expect(self.clock.measure { sink = nil } < .seconds(4))

        // The number of the descriptor means another file from now on.
        let other = try LogPipe()
        #expect(dup2(other.writing, pipe.writing) == pipe.writing)
        #expect(pipe.available(lines: 2).last == "first")
        #expect(other.available(within: 300) == "")
    }
}
