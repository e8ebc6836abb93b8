/// The statements that one connection has prepared, by their text. Used by the driver's thread only.
///
/// A statement is prepared when it comes the second time, so that what is asked once leaves nothing behind. The least
/// recently used makes room for another.
final class StatementCache {
    final class Entry {
        let text: String
        let types: [UInt32]
        /// On the server; `nil` where it was seen once only.
        var name: String?
        /// All columns are understood in binary format; known after the first answer.
        var isBinary = false
        fileprivate var lastUse: UInt64 = 0

        init(text: String, types: [UInt32]) {
            self.text = text
            self.types = types
        }
    }

    private let capacity: Int
    private var entries: [String: Entry] = [:]
    private var uses: UInt64 = 0
    private var names: UInt64 = 0
    /// Of no use any more, but still on the server.
    private var obsolete: [String] = []

    /// - Parameter capacity: Statements to keep; none where it is 0.
    init(capacity: Int) { self.capacity = capacity }

    /// The entry of a statement, and whether it is new; `nil` where it is not to be kept.
    func entry(for sql: SQL) -> (entry: Entry, isNew: Bool)? {
        guard self.capacity > 0, sql.isLiteral else { return nil }
        self.uses += 1
        if let entry = self.entries[sql.text] {
            // The same text with values of other types is another statement; rare enough to go unprepared.
            guard entry.types.elementsEqual(sql.parameters.items, by: { $0 == $1.type }) else { return nil }
            entry.lastUse = self.uses
            return (entry, false)
        }
        let entry = Entry(text: sql.text, types: sql.parameters.items.map { $0.type })
        entry.lastUse = self.uses
        self.entries[sql.text] = entry
        return (entry, true)
    }

    func nextName() -> String {
        self.names += 1
        return "lantern_\(self.names)"
    }

    /// Name of a statement to deallocate on the server, where there are more than there may be.
    func evict() -> String? {
        if let name = self.obsolete.popLast() { return name }
        while self.entries.count > self.capacity, let oldest = self.entries.values.min(by: { $0.lastUse < $1.lastUse })
        {
            self.entries[oldest.text] = nil
            if let name = oldest.name { return name }
        }
        return nil
    }

    /// Forgets one that the server does not know.
    func remove(_ entry: Entry) {
        entry.name = nil
        if self.entries[entry.text] === entry { self.entries[entry.text] = nil }
    }

    /// Forgets one that the server still has.
    func discard(_ entry: Entry) {
        if let name = entry.name { self.obsolete.append(name) }
        self.remove(entry)
    }

    /// Forgets all: somebody discarded them.
    func removeAll() {
        for entry in self.entries.values { entry.name = nil }
        self.entries = [:]
        self.obsolete = []
    }

    var count: Int { self.entries.count }
}
