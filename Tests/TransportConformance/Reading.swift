public import LanternEvents
public import LanternKafka

extension ConformanceContext {
    /// Sends records, within the patience of the suite.
    @discardableResult
    public func send(
        _ records: [KafkaRecord], by producer: any EventProducer
    ) async throws -> [KafkaProducer.Delivery] {
        let deliveries = try await self.within("\(records.count) records are sent") {
            try await producer.send(records)
        }
        try demand(deliveries.count, equals: records.count, "deliveries of \(records.count) records")
        return deliveries
    }

    /// Reads until it is enough.
    /// - Parameters:
    ///   - what: What is to come, for the message where it does not.
    ///   - start: Where partitions that are assigned meanwhile begin.
    /// - Returns: All that was read; it may be more than enough.
    public func read(
        _ reader: any EventReader, _ what: String, maximum: Int = 500, maximumBytes: Int = 8 << 20,
        start: (KafkaPartition) -> KafkaPosition.Offset = { _ in .earliest }, until isEnough: ([KafkaRecord]) -> Bool
    ) async throws -> [KafkaRecord] {
        let end = ContinuousClock.now + self.patience
        var records: [KafkaRecord] = []
        while !isEnough(records) {
            let event: KafkaConsumer.Event
            do {
                event = try await atMost(ContinuousClock.now.duration(to: end), what) {
                    try await reader.next(maximum: maximum, maximumBytes: maximumBytes)
                }
            } catch let failure as ConformanceFailure {
                throw ConformanceFailure("\(failure); seen \(records.count) records: \(short(records.places))")
            }
            switch event {
            case .assigned(let partitions): try reader.assign(partitions.map { KafkaPosition($0, start($0)) })
            case .revoked, .lost: break
            case .records(let new): records += new
            }
        }
        return records
    }

    /// Reads so many records.
    public func read(
        _ reader: any EventReader, count: Int,
        start: (KafkaPartition) -> KafkaPosition.Offset = { _ in .earliest }
    ) async throws -> [KafkaRecord] {
        try await self.read(reader, "\(count) records come", start: start) { $0.count >= count }
    }

    /// Waits until all these partitions are assigned, and begins them.
    /// - Returns: Records that came before the last was assigned.
    @discardableResult
    public func begin(
        _ reader: any EventReader, _ partitions: [KafkaPartition],
        at start: (KafkaPartition) -> KafkaPosition.Offset
    ) async throws -> [KafkaRecord] {
        let end = ContinuousClock.now + self.patience
        var missing = Set(partitions)
        var early: [KafkaRecord] = []
        while !missing.isEmpty {
            let event = try await atMost(
                ContinuousClock.now.duration(to: end), "\(partitions.count) partitions are assigned"
            ) { try await reader.next(maximum: 1, maximumBytes: 1) }
            switch event {
            case .assigned(let new):
                try reader.assign(new.map { KafkaPosition($0, start($0)) })
                missing.subtract(new)
            case .revoked(let gone), .lost(let gone): missing.formUnion(gone)
            case .records(let records): early += records
            }
        }
        return early
    }
}

/// Where a record is.
struct Place: Hashable, CustomStringConvertible {
    var partition: KafkaPartition
    var offset: Int64

    var description: String { "\(self.partition)@\(self.offset)" }
}

extension KafkaRecord {
    /// A record that the checks tell by its number.
    init(_ partition: KafkaPartition, number: Int) {
        self.init(topic: partition.topic, partition: partition.partition, value: Array("\(number)".utf8))
    }

    /// Where it was read; `nil` where the transport did not say.
    var place: Place? {
        guard let partition = self.partition, let offset = self.offset else { return nil }
        return Place(partition: KafkaPartition(topic: self.topic, partition: partition), offset: offset)
    }

    var number: Int? { self.value.flatMap { Int(String(decoding: $0, as: UTF8.self)) } }
}

extension [KafkaRecord] {
    var places: [Place] { self.compactMap(\.place) }
    /// -1 stands for what is none of ours.
    var numbers: [Int] { self.map { $0.number ?? -1 } }

    /// The records of one partition.
    func of(_ partition: KafkaPartition) -> [KafkaRecord] {
        self.filter { $0.topic == partition.topic && $0.partition == partition.partition }
    }
}
