import ActivityService
import BenchmarkSupport
import CEventsBaseline
import Foundation
import LanternEvents
import LanternKafka
import LanternPostgres

/// The timeline's ingest, with its fence, its key for each event, its salts and hashes, beside COPY of the very same rows
/// into the same tables with the same indexes, as many to a transaction.
enum IngestComparison {
    private static let count = 40_000
    private static let batch = 500
    private static let tables = [
        ("event_key", "source, event_id, digest"), ("entry", "*"),
        ("unsealed", "kind, entry_id, time, hash, source, epoch, sequence, partition, partitions"),
    ]

    static func run() async throws {
        let (url, client) = try await EventsBenchmark.database("bench")
        try await client.migrate("activity", ActivitySchema.migrations, logger: EventsBenchmark.logger)
        try await client.migrate(ConsumerSchema.component, ConsumerSchema.migrations, logger: EventsBenchmark.logger)
        let records = Self.records()
        var rows: [[[UInt8]]] = []
        let result = try await EventsBenchmark.medians(rounds: 5) {
            try await client.query("TRUNCATE event_key, entry, unsealed, consumer_offset, dead_letter")
            let seconds = try await Self.ingest(records, client)
            rows = try await Self.export(client)
            return seconds
        } _: {
            try await client.query("TRUNCATE event_key, entry, unsealed, consumer_offset, dead_letter")
            return try Self.copy(rows, url)
        }
        let count = Double(Self.count)
        Comparison(
            name: "ingest", ours: result.ours / count * 1e6, baseline: result.theirs / count * 1e6, unit: "µs",
            what:
                "COPY of the same rows, an event; bar: at least 0.5 times as many; \(Int(count / result.ours)) a second"
                + " and \(Int(count / result.theirs)); \(result.spread)"
        ).report()
        client.close()
    }

    private static func records() -> [KafkaRecord] {
        (0..<Self.count).map { number in
            let key = "order-\(number % 1_000)"
            let trace = String(format: "%032x", number + 1)
            let event = EventEnvelope(
                id: UUID().uuidString.lowercased(), source: EventsBenchmark.source, type: "bench.order.placed.v1",
                time: .now, subject: "order/\(key)", subjectVersion: Int64(1 + number / 1_000),
                dataContentType: "application/json", epoch: 1, sequence: Int64(number + 1), partitionKey: key,
                actor: EventActor(id: "0198a4b2-7c00-7000-8000-000000000002", type: "user", ip: "127.0.0.1"),
                outcome: .success, traceparent: "00-\(trace)-\(trace.suffix(16))-01",
                data: Array(
                    #"{"customer_id":"0198a4b2-7c00-7000-8000-000000000002","lines":[{"name":"Storm lantern","quantity":2}],"number":\#(number)}"#
                        .utf8)
            )
            return CloudEvents.record(event, topic: EventsBenchmark.topic)
        }
    }

    private static func ingest(_ records: [KafkaRecord], _ client: PostgresClient) async throws -> Double {
        let transport = InProcessTransport(partitions: 4, maximumRecords: Self.count)
        let producer = try transport.makeProducer("bench", logger: EventsBenchmark.logger)
        try await producer.send(records)
        let consumer = EventConsumer(
            transport: transport, topics: [EventsBenchmark.topic], group: "activity", database: client,
            handler: Ingest(group: "activity", wake: WakeSignal()), logger: EventsBenchmark.logger
        )
        let start = ContinuousClock.now
        let running = Task { try await consumer.run() }
        try await EventsBenchmark.until {
            try await client.query("SELECT coalesce(sum(next), 0)::bigint AS done FROM consumer_offset")
                .first?("done", as: Int.self) == Self.count
        }
        let seconds = EventsBenchmark.seconds(since: start)
        running.cancel()
        _ = await running.result
        return seconds
    }

    /// The rows of each transaction, a text for each table.
    private static func export(_ client: PostgresClient) async throws -> [[[UInt8]]] {
        var lines: [[[UInt8]]] = []
        for (table, columns) in Self.tables {
            var text: [UInt8] = []
            let order = table == "entry" ? "time, id" : table == "event_key" ? "source, event_id" : "position"
            try await client.copyOut(
                SQL(unchecked: "COPY (SELECT \(columns) FROM \(table) ORDER BY \(order)) TO STDOUT")
            ) { stream in
                for try await part in stream { text += part }
            }
            lines.append(text.split(separator: UInt8(ascii: "\n")).map { Array($0) + [UInt8(ascii: "\n")] })
        }
        return stride(from: 0, to: Self.count, by: Self.batch).map { start in
            lines.map { Array($0[start..<min($0.count, start + Self.batch)].joined()) }
        }
    }

    private static func copy(_ transactions: [[[UInt8]]], _ url: String) throws -> Double {
        let statements = Self.tables.map { table, columns in
            strdup("COPY \(table)\(columns == "*" ? "" : " (\(columns))") FROM STDIN")
        }
        let buffers = transactions.joined().map { bytes -> UnsafeMutablePointer<CChar> in
            let memory = UnsafeMutablePointer<CChar>.allocate(capacity: max(1, bytes.count))
            bytes.withUnsafeBytes {
                UnsafeMutableRawPointer(memory).copyMemory(
                    from: $0.baseAddress ?? UnsafeRawPointer(memory), byteCount: bytes.count)
            }
            return memory
        }
        defer {
            statements.forEach { free($0) }
            buffers.forEach { $0.deallocate() }
        }
        let texts = statements.map { $0.map { UnsafePointer($0) } }
        let bytes = buffers.map { Optional(UnsafePointer($0)) }
        let sizes = transactions.joined().map(\.count)
        return try EventsBenchmark.c {
            lantern_c_copy_all(url, texts, bytes, sizes, Self.tables.count, transactions.count, $0, $1, $2)
        }
    }
}
