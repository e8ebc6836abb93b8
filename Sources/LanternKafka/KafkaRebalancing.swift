import CRDKafka
import Glibc

/// What the group has decided and the caller has not heard of yet, or has not finished with.
///
/// librdkafka calls back on the polling thread, inside `rd_kafka_consumer_poll`; a rebalance is complete when the
/// partitions are assigned or unassigned, which may come later.
struct KafkaRebalancing {
    /// For the caller, in order.
    private(set) var changes: [KafkaConsumer.Event] = []
    /// Revoked, told to the caller, and its own until it asks again.
    private var leaving: [KafkaPartition]?
    private(set) var assigned: Set<KafkaPartition> = []
    private var paused: Set<KafkaPartition> = []
    /// Where reading began, for partitions of which nothing was read yet.
    private var begun: [KafkaPartition: KafkaPosition.Offset] = [:]
    /// Nobody hears of anything any more.
    var isClosing = false

    mutating func next() -> KafkaConsumer.Event? {
        guard !self.changes.isEmpty else { return nil }
        let change = self.changes.removeFirst()
        if case .revoked(let partitions) = change { self.leaving = partitions }
        return change
    }

    /// Completes the revocation that the caller has finished with.
    mutating func giveUp(_ raw: OpaquePointer) {
        guard let partitions = self.leaving else { return }
        self.leaving = nil
        self.unassign(partitions, raw)
    }

    /// At the end: what nobody will ask about any more. librdkafka's close waits until each revocation is completed.
    mutating func giveUpAll(_ raw: OpaquePointer) {
        self.giveUp(raw)
        for case .revoked(let partitions) in self.changes { self.unassign(partitions, raw) }
        self.changes = []
    }

    /// What the callback is called with.
    mutating func rebalance(
        _ raw: OpaquePointer, _ error: rd_kafka_resp_err_t,
        _ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
    ) {
        let partitions = list.map { KafkaPartitionList.partitions($0) } ?? []
        switch error {
        case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
            // The group waits for an answer also where nothing is added.
            if partitions.isEmpty || self.isClosing {
                try? self.assign([], raw)
            } else {
                self.changes.append(.assigned(partitions))
            }
        case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
            if rd_kafka_assignment_lost(raw) != 0 {
                self.unassign(partitions, raw)
                self.drop(partitions)
                if !partitions.isEmpty { self.changes.append(.lost(partitions)) }
            } else if self.isClosing || partitions.isEmpty {
                self.unassign(partitions, raw)
            } else {
                self.changes.append(.revoked(partitions))
            }
        default:
            let all = Array(self.assigned)
            rd_kafka_assign(raw, nil)
            self.assigned = []
            self.drop(all)
            if !all.isEmpty { self.changes.append(.lost(all)) }
        }
    }

    mutating func assign(_ positions: [KafkaPosition], _ raw: OpaquePointer) throws {
        // librdkafka 2.0 remembers a pause from when the partition was here before.
        if !positions.isEmpty {
            try KafkaPartitionList.with(positions.map(\.partition)) { try check(rd_kafka_resume_partitions(raw, $0)) }
        }
        self.paused.subtract(positions.map(\.partition))
        try KafkaPartitionList.with(positions) { list in
            if Self.isCooperative(raw) {
                try check(rd_kafka_incremental_assign(raw, list))
            } else {
                try check(rd_kafka_assign(raw, list))
            }
        }
        self.note(positions)
    }

    private mutating func note(_ positions: [KafkaPosition]) {
        for position in positions {
            self.assigned.insert(position.partition)
            self.begun[position.partition] = position.offset
        }
    }

    mutating func pause(_ partitions: [KafkaPartition], _ raw: OpaquePointer) throws {
        try KafkaPartitionList.with(partitions) { try check(rd_kafka_pause_partitions(raw, $0)) }
        self.paused.formUnion(partitions)
    }

    /// Those that are paused only: resuming another reads it again from an old offset.
    mutating func resume(_ partitions: [KafkaPartition], _ raw: OpaquePointer) throws {
        let paused = partitions.filter { self.paused.contains($0) }
        guard !paused.isEmpty else { return }
        try KafkaPartitionList.with(paused) { try check(rd_kafka_resume_partitions(raw, $0)) }
        self.paused.subtract(paused)
        Self.wake(paused, raw)
    }

    /// Has what was resumed fetched at once: librdkafka 2.0 lets the thread that fetches sleep on for up to a second, until
    /// anything comes from its broker. So the brokers are asked for something small, and nobody waits for the answer. It need
    /// not succeed.
    private static func wake(_ partitions: [KafkaPartition], _ raw: OpaquePointer) {
        let latest = Dictionary(uniqueKeysWithValues: Set(partitions).map { ($0, Int64(RD_KAFKA_OFFSET_END)) })
        KafkaPartitionList.with(latest) { _ = rd_kafka_offsets_for_times(raw, $0, 0) }
    }

    mutating func seek(_ positions: [KafkaPosition], _ raw: OpaquePointer) throws {
        // Some may have gone meanwhile.
        let positions = positions.filter { self.assigned.contains($0.partition) }
        guard !positions.isEmpty else { return }
        if Self.isCooperative(raw) {
            // A seek fails on a partition that is not being fetched yet; beginning anew does not.
            try KafkaPartitionList.with(positions.map(\.partition)) {
                try check(rd_kafka_incremental_unassign(raw, $0))
            }
            try KafkaPartitionList.with(positions) { try check(rd_kafka_incremental_assign(raw, $0)) }
        } else {
            let moved = Set(positions.map(\.partition))
            let others = self.assigned.subtracting(moved)
            let kept = KafkaPartitionList.with(Array(others)) { list -> [KafkaPartition: Int64] in
                guard let list, rd_kafka_position(raw, list) == RD_KAFKA_RESP_ERR_NO_ERROR else { return [:] }
                return KafkaPartitionList.offsets(list)
            }
            let all =
                positions + others.map { KafkaPosition($0, kept[$0].map { .at($0) } ?? self.begun[$0] ?? .committed) }
            try KafkaPartitionList.with(all) { try check(rd_kafka_assign(raw, $0)) }
        }
        self.note(positions)
    }

    private mutating func unassign(_ partitions: [KafkaPartition], _ raw: OpaquePointer) {
        if Self.isCooperative(raw) {
            // Only what was assigned: librdkafka refuses them all for one that was not, and waits for ever. An empty list
            // completes the revocation too.
            KafkaPartitionList.with(partitions.filter(self.assigned.contains)) { list in
                // An error says that they are gone already.
                if let error = rd_kafka_incremental_unassign(raw, list) { rd_kafka_error_destroy(error) }
            }
            self.assigned.subtract(partitions)
            self.paused.subtract(partitions)
        } else {
            rd_kafka_assign(raw, nil)
            self.assigned = []
            self.paused = []
        }
    }

    /// What the caller has not heard of yet and is void now.
    private mutating func drop(_ partitions: [KafkaPartition]) {
        let gone = Set(partitions)
        self.leaving = self.leaving?.filter { !gone.contains($0) }
        if self.leaving?.isEmpty == true { self.leaving = nil }
        self.changes = self.changes.compactMap { change in
            switch change {
            case .assigned(let partitions):
                let left = partitions.filter { !gone.contains($0) }
                return left.isEmpty ? nil : .assigned(left)
            case .revoked(let partitions):
                let left = partitions.filter { !gone.contains($0) }
                return left.isEmpty ? nil : .revoked(left)
            case .records, .lost: return change
            }
        }
    }

    private static func isCooperative(_ raw: OpaquePointer) -> Bool {
        rd_kafka_rebalance_protocol(raw).map { strcmp($0, "COOPERATIVE") == 0 } ?? false
    }
}
