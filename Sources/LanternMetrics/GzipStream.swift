import CZlib

/// gzip (RFC 1952) piece by piece, by zlib.
///
/// One task at a time: it is not `Sendable`.
public final class GzipStream {
    private let stream: UnsafeMutablePointer<lantern_gzip_stream>

    /// `nil` where memory is out.
    public init?(level: Int32 = 5) {
        guard let stream = lantern_gzip_open(level) else { return nil }
        self.stream = stream
    }

    deinit { lantern_gzip_close(self.stream) }

    /// Compresses a piece; what comes out may be empty, and belongs to pieces before as well. `nil` ends the stream, after
    /// which nothing may follow.
    public func compress(_ piece: [UInt8]?) -> [UInt8] {
        var output: [UInt8] = []
        let input = piece ?? []
        let bound = lantern_gzip_bound(input.count) + 1_024
        // zlib reads the input until everything is drained, so it must not move before.
        input.withUnsafeBufferPointer { input in
            lantern_gzip_feed(self.stream, input.baseAddress, input.count)
            var isFinished = false
            while !isFinished {
                output += [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
                    count = lantern_gzip_drain(self.stream, buffer.baseAddress, bound, piece == nil ? 1 : 0)
                    isFinished = count < bound
                }
            }
        }
        return output
    }
}
