/// A record to send, or one that was read.
public struct KafkaRecord: Sendable {
    public var topic: String
    /// `nil` lets the partitioner choose, by the key.
    public var partition: Int32?
    public var key: [UInt8]?
    /// `nil` is a tombstone.
    public var value: [UInt8]?
    /// In order; a key may occur more than once.
    public var headers: [KafkaHeader]
    /// Where it stands in its partition, once it is there.
    public var offset: Int64?

    public init(
        topic: String, partition: Int32? = nil, key: [UInt8]? = nil, value: [UInt8]?, headers: [KafkaHeader] = [],
        offset: Int64? = nil
    ) {
        self.topic = topic
        self.partition = partition
        self.key = key
        self.value = value
        self.headers = headers
        self.offset = offset
    }

    /// The value of the last header of that name, if it is text.
    public func header(_ name: String) -> String? {
        self.headers.last { $0.name == name }?.value.flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// Bytes that count against the producer's bound.
    var size: Int {
        (self.key?.count ?? 0) + (self.value?.count ?? 0)
            + self.headers.reduce(0) { $0 + $1.name.utf8.count + ($1.value?.count ?? 0) }
    }
}

/// A header of a record.
public struct KafkaHeader: Sendable, Equatable {
    public var name: String
    public var value: [UInt8]?

    public init(_ name: String, _ value: [UInt8]?) {
        self.name = name
        self.value = value
    }

    public init(_ name: String, _ value: String) {
        self.init(name, Array(value.utf8))
    }
}

/// A partition of a topic.
public struct KafkaPartition: Hashable, Sendable, CustomStringConvertible {
    public var topic: String
    public var partition: Int32

    public init(topic: String, partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    public var description: String { "\(self.topic)/\(self.partition)" }
}

/// Where to begin reading a partition.
public struct KafkaPosition: Sendable, Equatable {
    public enum Offset: Sendable, Equatable {
        case earliest
        /// What is written from now on.
        case latest
        /// Where the group's own committed offset is; the earliest record where there is none.
        case committed
        case at(Int64)
    }

    public var partition: KafkaPartition
    public var offset: Offset

    public init(_ partition: KafkaPartition, _ offset: Offset) {
        self.partition = partition
        self.offset = offset
    }
}
