public import Logging
import Synchronization

/// Receives whole lines. Called from any thread; must keep lines whole, and must not wait for long.
public protocol LogSink: Sendable {
    /// - Parameters:
    ///   - line: One line with its newline, lent for the call.
    ///   - level: `error` and `critical` must be out when this returns, if that is possible at all; a repetition may be
    ///     counted first.
    ///   - stamp: How many bytes at the beginning hold the time, which differs between lines that are equal.
    func write(_ line: RawSpan, level: Logger.Level, stamp: Int)
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

    public func write(_ line: RawSpan, level: Logger.Level, stamp: Int) {
        let text = line.withUnsafeBytes {
            String(decoding: $0.last == UInt8(ascii: "\n") ? $0.dropLast() : $0[...], as: UTF8.self)
        }
        self.kept.withLock { kept in
            if kept.count >= self.limit { kept.removeFirst(kept.count / 2) }
            kept.append(text)
        }
    }
}
