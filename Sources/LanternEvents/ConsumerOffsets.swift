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

    /// Moves one partition on, in the transaction of the work.
    /// - Throws: ``EventError`` with code `fenced` where the row no longer holds `expected`.
    func move(
        _ partition: KafkaPartition, from expected: Int64, to next: Int64, lastID: String, in tx: PostgresTransaction
    ) async throws {
        let result = try await tx.query(
            """
            UPDATE consumer_offset SET next = \(next), last_id = \(lastID), updated_at = clock_timestamp()
            WHERE consumer_group = \(self.group) AND topic = \(partition.topic) AND partition = \(partition.partition)
              AND next = \(expected)
            """
        )
        guard result.affectedRows == 1 else {
            throw EventError(code: .fenced, message: "\(partition) of \(self.group) was moved by another member")
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
