import Foundation
import Logging
import Synchronization

@testable import LanternLogging

/// A pipe of the system, with its reader in the hand of the test.
///
/// Keeps its ends until they are closed, or it is gone itself.
final class LogPipe: Sendable {
    let reading: Int32
    let writing: Int32
    private let open: Mutex<Set<Int32>>

    init() throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw CocoaError(.fileWriteUnknown) }
        self.reading = ends[0]
        self.writing = ends[1]
        self.open = Mutex([ends[0], ends[1]])
    }

    deinit {
        self.closeReading()
        self.closeWriting()
    }

    func closeReading() { self.close(self.reading) }
    func closeWriting() { self.close(self.writing) }

    private func close(_ end: Int32) {
        if self.open.withLock({ $0.remove(end) }) != nil { _ = Glibc.close(end) }
    }

    /// Fills it to the brim with one line, so that the next write stands still.
    func fill() {
        // F_GETPIPE_SZ, which is not imported.
        var line = [UInt8](repeating: UInt8(ascii: "."), count: max(1, Int(fcntl(self.writing, 1_032))))
        line[line.count - 1] = UInt8(ascii: "\n")
        precondition(
            Glibc.write(self.writing, line, line.count) == line.count, "an empty pipe takes what it has room for")
    }

    /// What there is, without waiting for more; empty where there is nothing within the time, a time of zero by default.
    func available(within milliseconds: Int32 = 0) -> String {
        var ready = pollfd(fd: self.reading, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, milliseconds) == 1 else { return "" }
        var piece = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(self.reading, &piece, piece.count)
        return String(decoding: piece.prefix(max(0, count)), as: UTF8.self)
    }

    /// What is there once so many lines are, or ten seconds are over.
    func available(lines: Int) -> [String] {
        let deadline = ContinuousClock.now + .seconds(10)
        var text = ""
        while text.utf8.count(where: { $0 == UInt8(ascii: "\n") }) < lines, ContinuousClock.now < deadline {
            text += self.available(within: 100)
        }
        return text.split(separator: "\n").map(String.init)
    }

    /// Begins to read on a thread of its own, until the writing end is closed.
    /// - Parameters:
    ///   - piece: How much is read at once.
    ///   - pause: Microseconds between two pieces: how slow the reader is.
    func read(piece: Int = 65_536, pause: UInt32 = 0) -> LogReader {
        let reader = LogReader()
        // The thread keeps the pipe.
        Thread {
            var bytes = [UInt8](repeating: 0, count: piece)
            while true {
                let count = Glibc.read(self.reading, &bytes, piece)
                guard count > 0 else { break }
                reader.take(bytes.prefix(count))
                if pause > 0 { usleep(pause) }
            }
            reader.end()
        }.start()
        return reader
    }
}

/// What a thread reads from a pipe.
final class LogReader: Sendable {
    private let bytes = Mutex<[UInt8]>([])
    private let ended = DispatchSemaphore(value: 0)

    fileprivate func take(_ piece: ArraySlice<UInt8>) { self.bytes.withLock { $0 += piece } }
    fileprivate func end() { self.ended.signal() }

    /// The lines, once the writing end is closed, which is waited for. What lacks its newline is not among them.
    func lines() throws -> [String] {
        guard self.ended.wait(timeout: .now() + 30) == .success else { throw CocoaError(.fileReadUnknown) }
        self.ended.signal()
        let lines = self.bytes.withLock { $0.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) }
        return lines.dropLast().map { String(decoding: $0, as: UTF8.self) }
    }
}

/// Runs `body` on so many threads at once, and waits for all of them.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let running = DispatchGroup()
    for index in 0..<count {
        running.enter()
        Thread {
            body(index)
            running.leave()
        }.start()
    }
    running.wait()
}

extension LogSink {
    func write(_ line: String, level: Logger.Level = .info, stamp: Int = 0) {
        self.write(Array(line.utf8).span.bytes, level: level, stamp: stamp)
    }
}
