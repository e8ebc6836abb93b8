import CZlib

/// gzip (RFC 1952) of a whole body, by zlib.
public enum Gzip {
    /// The compressed bytes, or `nil` where zlib refuses (out of memory, or more than 4 GiB).
    public static func compress(_ bytes: [UInt8], level: Int32 = 5) -> [UInt8]? {
        let bound = lantern_gzip_bound(bytes.count)
        let compressed = [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            count = bytes.withUnsafeBufferPointer { input in
                lantern_gzip(input.baseAddress, input.count, output.baseAddress, bound, level)
            }
        }
        return compressed.isEmpty ? nil : compressed
    }
}
