import CLanternLogging
public import Logging
import Synchronization

/// Writes lines to a file descriptor, standard output unless told otherwise: the wrapper of `lantern_ring.h`, which says
/// how threads share it.
///
/// Lines go into a bounded ring, which one thread writes out within a millisecond, so that logging costs a copy and no
/// call of the system. Lines of several threads never mix. Logging never fails its caller: what finds no room, and what
/// the descriptor refuses (closed pipe, full disk), is dropped and counted.
///
/// `@unchecked`: the C functions may be called from any thread, and the ring lives as long as this object.
public final class FileDescriptorSink: LogSink, @unchecked Sendable {
    /// What becomes of a line that finds the ring full, because the reader is slow (`LOG_OVERFLOW`).
    public enum Overflow: String, Sendable, CaseIterable {
        /// It is dropped and counted: no request waits for whoever reads the logs. One at `error` or `critical` waits up
        /// to 50 ms first, unless the reader is known to stand still.
        case drop
        /// Its caller waits until there is room.
        case block
    }

    /// How equal lines are counted instead of being written.
    public struct Collapse: Sendable {
        /// How long they are held back to be counted. Zero writes each.
        public var interval: Duration
        fileprivate var format: LogOutput.Format

        /// - Parameter format: That of the lines; says how the count is written.
        public init(_ interval: Duration = .seconds(1), format: LogOutput.Format) {
            self.interval = interval
            self.format = format
        }
    }

    private let ring: OpaquePointer
    private let how: Int32

    /// - Parameters:
    ///   - descriptor: Stays the caller's, who closes it after this sink is gone.
    ///   - collapse: Lines that are equal to their predecessor but for their time become one line with their number.
    ///   - capacity: Bytes of the ring: what a killed process can lose at most. Rounded up to a power of two from 64 KiB.
    /// - Throws: ``LogSinkError`` where there is no memory or thread for it.
    public init(
        descriptor: Int32 = 1, overflow: Overflow = .drop, collapse: Collapse? = nil, capacity: Int = 64 * 1_024
    ) throws(LogSinkError) {
        let size = UInt32(clamping: 1 << (Int.bitWidth - max(65_535, min(capacity, 1 << 30) - 1).leadingZeroBitCount))
        let interval = collapse.map { $0.interval.microseconds } ?? 0
        let isJSON = collapse?.format == .json
        guard
            let ring = lantern_ring_create(
                descriptor, size, interval, isJSON ? ",\"repeated\":" : " repeated=", isJSON ? "}\n" : "\n"
            )
        else {
            throw LogSinkError("no memory or no thread for the log's ring")
        }
        self.ring = ring
        self.how = overflow == .block ? Int32(LANTERN_RING_BLOCK) : 0
    }

    /// Writes what is there, for a second at most.
    deinit { lantern_ring_destroy(self.ring, 1_000_000) }

    /// Lines that were dropped since the start.
    public var droppedLines: Int { Int(clamping: lantern_ring_dropped(self.ring)) }

    public func write(_ line: RawSpan, level: Logger.Level, stamp: Int) {
        let through = level >= .error ? Int32(LANTERN_RING_THROUGH) : 0
        line.withUnsafeBytes { bytes in
            _ = lantern_ring_append(
                self.ring, bytes.bindMemory(to: UInt8.self).baseAddress, UInt32(clamping: bytes.count),
                UInt32(clamping: min(stamp, bytes.count)), self.how | through
            )
        }
    }

    /// Waits until all lines so far are written. Blocks the calling thread, `timeout` at most.
    /// - Returns: Whether none of them waits any more. What the descriptor refused is in ``droppedLines``.
    @discardableResult
    public func flush(timeout: Duration = .seconds(1)) -> Bool {
        lantern_ring_flush(self.ring, timeout.microseconds) != 0
    }

    /// From now on a signal that ends the process, a trap of Swift, and `exit` let all sinks write first what they have,
    /// half a second at most. Changes the process's signal handlers, so it is for executables; call it once, early. What
    /// others handle is passed on to them.
    public static func surviveSignals() { lantern_rings_survive_signals() }
}

/// Why a sink could not be made.
public struct LogSinkError: Error, CustomStringConvertible {
    public var description: String

    init(_ description: String) { self.description = description }
}

extension Duration {
    fileprivate var microseconds: Int64 {
        let (seconds, attoseconds) = self.components
        // A year is as good as for ever.
        return min(max(seconds, 0), 31_536_000) * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}
