import CLanternLogging
import Logging

extension Logger.Metadata {
    /// Calls `body` for each pair in order of the keys. Compares the first eight bytes of
    /// keys as a number, because comparing strings would take longer than writing them.
    @inline(__always)
    func forEachSorted(_ body: (String, Logger.MetadataValue) -> Void) {
        guard self.count > 1 else {
            if let (key, value) = self.first { body(key, value) }
            return
        }
        guard self.count <= 64 else {
            for (key, value) in self.sorted(by: { $0.key < $1.key }) { body(key, value) }
            return
        }
        let keys = self.keys
        let values = self.values
        withUnsafeTemporaryAllocation(of: (prefix: UInt64, place: Index).self, capacity: self.count) { places in
            var count = 0
            var place = keys.startIndex
            while place != keys.endIndex {
                let prefix = Self.prefix(keys[place])
                var slot = count
                while slot > 0, Self.isOrdered(prefix, place, before: places[slot - 1], keys) {
                    places.initializeElement(at: slot, to: places[slot - 1])
                    slot -= 1
                }
                places.initializeElement(at: slot, to: (prefix, place))
                count += 1
                keys.formIndex(after: &place)
            }
            for slot in 0..<count { body(keys[places[slot].place], values[places[slot].place]) }
        }
    }

    @inline(__always)
    private static func isOrdered(
        _ prefix: UInt64, _ place: Index, before other: (prefix: UInt64, place: Index), _ keys: Keys
    ) -> Bool {
        prefix == other.prefix ? keys[place] < keys[other.place] : prefix < other.prefix
    }

    /// The first eight bytes, so that numbers compare as the bytes do.
    @inline(__always)
    private static func prefix(_ key: String) -> UInt64 {
        key.utf8.withContiguousStorageIfAvailable { lantern_prefix($0.baseAddress, UInt64($0.count)) } ?? 0
    }
}
