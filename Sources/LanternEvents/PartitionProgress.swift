/// How far a consumer is in one partition, and whether the partition is still the one it knows. A plain value.
///
/// A topic that was made anew (an embedded broker that restarted) starts at offset 0 with other records. So reading
/// begins one record *before* the stored offset, and that record must bear the id that was stored.
struct PartitionProgress: Sendable, Equatable {
    /// What the database holds: the fence of the next transaction.
    private(set) var stored: Int64
    private(set) var lastID: String?
    private var verifying: Bool
    /// Offsets that the broker no longer had.
    private(set) var skipped: Int64 = 0

    init(stored: Int64, lastID: String?) {
        self.stored = stored
        self.lastID = lastID
        self.verifying = stored > 0
    }

    /// Where to begin reading; `nil` is the earliest record. One before, until that one was compared.
    var start: Int64? {
        guard self.stored > 0 else { return nil }
        return self.verifying ? self.stored - 1 : self.stored
    }

    enum Decision: Equatable {
        /// Not new: the record before the stored offset.
        case skip
        case take
        /// Not the partition we knew: read from its earliest record.
        case restart
    }

    /// - Parameter id: Worked out for the first record only.
    mutating func decide(offset: Int64, id: @autoclosure () -> String) -> Decision {
        guard self.verifying else { return .take }
        self.verifying = false
        if offset == self.stored - 1 {
            return id() == self.lastID ? .skip : .restart
        }
        // The record before is gone by retention: nothing to compare, and what is between is lost to this consumer.
        if offset >= self.stored { self.skipped += offset - self.stored }
        // An offset below: the broker had nothing at ours and answered from its earliest. Duplicates are absorbed.
        return .take
    }

    /// After the transaction that handled everything below `next` has committed.
    mutating func committed(next: Int64, lastID: String) {
        self.stored = next
        self.lastID = lastID
    }
}
