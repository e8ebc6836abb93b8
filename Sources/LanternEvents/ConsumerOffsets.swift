import Crypto
import LanternKafka
import LanternPostgres

/// The offsets of a consumer group, kept in the database of its work. Kafka's own are a hint only.
struct ConsumerOffsets: Sendable {
    let group: String

    /// Reads where the group is, and makes the rows that do not exist yet.
    func load(
        _ partitions: [KafkaPartition], from database: PostgresClient
    ) async throws
        -> [KafkaPartition: PartitionProgress]
    {
        let topics = partitions.map(\.topic)
        let numbers = partitions.map(\.partition)
        try await database.query(
            """
            INSERT INTO consumer_offset (consumer_group, topic, partition, next)
            SELECT \(self.group), t.topic, t.partition, 0
            FROM unnest(\(topics), \(numbers)) AS t (topic, partition)
            ON CONFLICT DO NOTHING
            """
        )
        let rows = try await database.query(
            """
            SELECT o.topic, o.partition, o.next, o.last_id
            FROM consumer_offset o
            JOIN unnest(\(topics), \(numbers)) AS t (topic, partition) USING (topic, partition)
            WHERE o.consumer_group = \(self.group)
            """
        )
        var progress: [KafkaPartition: PartitionProgress] = [:]
        for row in rows {
            let partition = KafkaPartition(topic: try row("topic"), partition: try row("partition"))
            progress[partition] = PartitionProgress(stored: try row("next"), lastID: try row("last_id"))
        }
        return progress
    }

    /// How far one partition moves.
    struct Move: Sendable {
        var partition: KafkaPartition
        var expected: Int64
        var next: Int64
        var lastID: String
    }

    /// Moves partitions on, in the transaction of the work; in one order for all members, so that two never wait for each
    /// other.
    /// - Throws: ``EventError`` with code `fenced` where a row no longer holds what is expected.
    func move(_ moves: [Move], in tx: PostgresTransaction) async throws {
        let sorted = moves.sorted {
            ($0.partition.topic, $0.partition.partition) < ($1.partition.topic, $1.partition.partition)
        }
        let results = try await tx.batch(
            sorted.map { move in
                """
                UPDATE consumer_offset
                SET next = \(move.next), last_id = \(move.lastID), updated_at = clock_timestamp()
                WHERE consumer_group = \(self.group) AND topic = \(move.partition.topic)
                  AND partition = \(move.partition.partition) AND next = \(move.expected)
                """
            }
        )
        for (move, result) in zip(sorted, results) where result.affectedRows != 1 {
            throw EventError(
                code: .fenced, message: "\(move.partition) of \(self.group) was moved by another member")
        }
    }
}

/// What tells one record from another at the same offset: the event's id, or a digest where it has none.
func fingerprint(_ record: KafkaRecord) -> String {
    if let id = record.header("ce_id"), !id.isEmpty, id.utf8.count <= 256, !id.utf8.contains(0) { return id }
    var hash = SHA256()
    hash.update(data: record.key ?? [])
    hash.update(data: record.value ?? [])
    for header in record.headers { hash.update(data: header.value ?? []) }
    return hash.finalize().prefix(16).hexadecimal
}
