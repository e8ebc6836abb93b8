import Glibc
import Synchronization

/// Receives encoded lines, each with its newline. Called from any thread; must keep lines whole.
public protocol LogSink: Sendable {
    func write(_ line: [UInt8])
}

/// Writes lines to a file descriptor, standard output unless told otherwise.
///
/// Lines of several threads never mix. A line that the descriptor refuses (closed pipe, full disk) is dropped and
/// counted; logging never fails its caller.
public final class FileDescriptorSink: LogSink {
    private let descriptor: Int32
    private let state = Mutex(State())

    private struct State {
        var dropped = 0
        /// Half a line was written: the next one must not be glued to it.
        var isMidLine = false
    }

    public init(descriptor: Int32 = 1) {
        self.descriptor = descriptor
    }

    /// Lines that could not be written since the start.
    public var droppedLines: Int { self.state.withLock { $0.dropped } }

    public func write(_ line: [UInt8]) {
        self.state.withLock { state in
            let line = state.isMidLine ? [UInt8(ascii: "\n")] + line : line
            var offset = 0
            func giveUp() {
                state.dropped += 1
                if offset > 0 { state.isMidLine = true }
            }
            while offset < line.count {
                let count = line.withUnsafeBytes { bytes in
                    Glibc.write(self.descriptor, bytes.baseAddress?.advanced(by: offset), bytes.count - offset)
                }
                if count > 0 {
                    offset += count
                } else if count < 0, errno == EINTR {
                    continue
                } else if count < 0, errno == EAGAIN {
                    var waiting = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                    // A pipe that nobody reads must not stop the service: give up on the line after 50 ms.
                    guard poll(&waiting, 1, 50) > 0 else { return giveUp() }
                } else {
                    return giveUp()
                }
            }
            state.isMidLine = false
        }
    }
}

/// Keeps lines in memory, for tests. Bounded: the oldest lines go first.
public final class MemorySink: LogSink {
    private let kept = Mutex<[String]>([])
    private let limit: Int

    public init(limit: Int = 100_000) {
        self.limit = limit
    }

    /// The lines so far, oldest first, without newline.
    public var lines: [String] { self.kept.withLock { $0 } }

    public func write(_ line: [UInt8]) {
        let text = String(decoding: line.last == UInt8(ascii: "\n") ? line.dropLast() : line[...], as: UTF8.self)
        self.kept.withLock { kept in
            if kept.count >= self.limit { kept.removeFirst(kept.count / 2) }
            kept.append(text)
        }
    }
}
