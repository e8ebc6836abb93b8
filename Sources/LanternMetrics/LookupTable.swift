import Synchronization

/// Finds the recorder of a name and its labels exactly as a caller wrote them, so that nothing is sorted, cleaned or
/// allocated for a recorder that was asked for before. Sharded: callers rarely wait for each other.
///
/// Keys compare by their bytes: two spellings of one set of labels are two keys, and may lead to the same series.
final class LookupTable<Value: AnyObject & Sendable>: Sendable {
    private let shards: InlineArray<16, Mutex<Table>>
    private let seed: UInt64

    init(seed: UInt64) {
        self.seed = seed
        self.shards = InlineArray { _ in Mutex(Table()) }
    }

    /// Hash of a key, which every other call wants: a caller that finds nothing needs it again.
    @inline(__always)
    func hash(_ name: String, _ labels: [(String, String)]) -> UInt64 {
        var hash = TextHash(seed: self.seed)
        hash.add(name)
        for index in labels.indices {
            hash.add(labels[index].0)
            hash.add(labels[index].1)
        }
        // 0 and 1 mark free places.
        return hash.value | 2
    }

    /// The value of a key, marked as used in `generation`.
    @inline(__always)
    func find(
        _ hash: UInt64, _ name: String, _ labels: [(String, String)], generation: UInt32
    ) -> Value? {
        // The upper bits choose the shard, the lower ones the place in it.
        self.shards[Int(truncatingIfNeeded: hash >> 60)].withLock { $0.find(hash, name, labels, generation) }
    }

    /// Adds a key, which must not be there.
    func insert(_ hash: UInt64, _ name: String, _ labels: [(String, String)], _ value: Value, generation: UInt32) {
        self.shards[Int(truncatingIfNeeded: hash >> 60)].withLock { $0.insert(hash, name, labels, value, generation) }
    }

    /// Takes out every entry that `shouldRemove` says yes to; answers what was taken out.
    func removeAll(where shouldRemove: (_ value: Value) -> Bool) -> [Value] {
        var removed: [Value] = []
        for index in self.shards.indices {
            removed += self.shards[index].withLock { table in
                table.removeAll { _, value in shouldRemove(value) }
            }
        }
        return removed
    }

    /// Takes out every entry that nobody else holds and that was not used in `generation` nor in the one before. To be held
    /// is to be used.
    func removeIdle(generation: UInt32) -> [Value] {
        var removed: [Value] = []
        for index in self.shards.indices {
            removed += self.shards[index].withLock { $0.removeIdle(generation: generation) }
        }
        return removed
    }

    /// Open addressing with linear probing. The parts of an entry lie in arrays of their own: a search reads hashes one
    /// behind the other, and touches no reference count but that of what it found.
    private struct Table {
        /// 0: never used; 1: removed; else the key's hash.
        private var hashes: ContiguousArray<UInt64> = ContiguousArray(repeating: 0, count: 8)
        private var names: ContiguousArray<String> = ContiguousArray(repeating: "", count: 8)
        private var labels: ContiguousArray<[(String, String)]> = ContiguousArray(repeating: [], count: 8)
        private var lastUsed: ContiguousArray<UInt32> = ContiguousArray(repeating: 0, count: 8)
        private var values: ContiguousArray<Value?> = ContiguousArray(repeating: nil, count: 8)
        private var count = 0
        /// Places that are not 0.
        private var used = 0

        @inline(__always)
        mutating func find(
            _ hash: UInt64, _ name: String, _ labels: [(String, String)], _ generation: UInt32
        ) -> Value? {
            let mask = self.hashes.count - 1
            var place = Int(truncatingIfNeeded: hash >> 2) & mask
            while true {
                let found = self.hashes[place]
                if found == 0 { return nil }
                if found == hash, self.matches(place, name, labels) {
                    self.lastUsed[place] = generation
                    return self.values[place]
                }
                place = (place + 1) & mask
            }
        }

        @inline(__always)
        private func matches(
            _ place: Int, _ name: String, _ labels: [(String, String)]
        ) -> Bool {
            guard self.labels[place].count == labels.count, self.names[place] == name else { return false }
            for index in labels.indices {
                if self.labels[place][index].1 != labels[index].1 || self.labels[place][index].0 != labels[index].0 {
                    return false
                }
            }
            return true
        }

        mutating func insert(
            _ hash: UInt64, _ name: String, _ labels: [(String, String)], _ value: Value, _ generation: UInt32
        ) {
            if self.used * 4 >= self.hashes.count * 3 { self.grow() }
            self.place(hash, name, labels, value, generation)
            self.count += 1
        }

        private mutating func place(
            _ hash: UInt64, _ name: String, _ labels: [(String, String)], _ value: Value, _ generation: UInt32
        ) {
            let mask = self.hashes.count - 1
            var place = Int(truncatingIfNeeded: hash >> 2) & mask
            while self.hashes[place] > 1 { place = (place + 1) & mask }
            if self.hashes[place] == 0 { self.used += 1 }
            self.hashes[place] = hash
            self.names[place] = name
            self.labels[place] = labels
            self.values[place] = value
            self.lastUsed[place] = generation
        }

        private mutating func grow() {
            let old = self
            let size = self.count * 2 >= self.hashes.count ? self.hashes.count * 2 : self.hashes.count
            self.hashes = ContiguousArray(repeating: 0, count: size)
            self.names = ContiguousArray(repeating: "", count: size)
            self.labels = ContiguousArray(repeating: [], count: size)
            self.lastUsed = ContiguousArray(repeating: 0, count: size)
            self.values = ContiguousArray(repeating: nil, count: size)
            self.used = 0
            for index in old.hashes.indices {
                if let value = old.values[index] {
                    self.place(old.hashes[index], old.names[index], old.labels[index], value, old.lastUsed[index])
                }
            }
        }

        mutating func removeIdle(generation: UInt32) -> [Value] {
            var held: [Int] = []
            let lastUsed = self.lastUsed
            let removed = self.removeAll { place, value in
                if !isKnownUniquelyReferenced(&value) { held.append(place) }
                return held.last != place && generation &- lastUsed[place] >= 2
            }
            for place in held { self.lastUsed[place] = generation }
            return removed
        }

        mutating func removeAll(where shouldRemove: (_ place: Int, inout Value) -> Bool) -> [Value] {
            var removed: [Value] = []
            for place in self.values.indices {
                // Out of the table while it is looked at, or the table's own reference would count as one that holds it.
                guard var value = self.values[place].take() else { continue }
                if shouldRemove(place, &value) {
                    removed.append(value)
                    self.hashes[place] = 1
                    self.names[place] = ""
                    self.labels[place] = []
                    self.count -= 1
                } else {
                    self.values[place] = value
                }
            }
            return removed
        }
    }
}
