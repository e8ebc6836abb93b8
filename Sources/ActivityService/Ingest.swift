import CoreMetrics
import Foundation
package import Lantern
import Synchronization

/// Takes records into the timeline: one transaction a batch, each event once.
package struct Ingest: RecordHandler {
    private let group: String
    private let wake: WakeSignal
    private let duplicates = DuplicateWatch()

    package init(group: String, wake: WakeSignal) {
        self.group = group
        self.wake = wake
    }

    /// What is known of records without the database.
    private struct Prepared: Sendable {
        var heads: [(head: SourceHead, partition: Int32)] = []
        var entries: [(record: KafkaRecord, entry: Result<IncomingEntry, EventError>)] = []
        /// Those that are events, in the order of their keys, so that two members never wait for each other.
        var claims: [IncomingEntry] = []
    }

    package func prepare(_ records: [KafkaRecord]) async -> (any Sendable)? { self.read(records) }

    package func handle(_ records: [KafkaRecord], in tx: PostgresTransaction) async throws {
        try await self.handle(records, prepared: nil, in: tx)
    }

    /// Tells heads from events; reads, checks and hashes the events.
    private func read(_ records: [KafkaRecord]) -> Prepared {
        let now = Timestamp.now
        var prepared = Prepared()
        prepared.entries.reserveCapacity(records.count)
        for (record, leaf) in zip(records, Leaf.make(records.count)) {
            let isStructured = CloudEvents.isStructured(record)
            if !isStructured, record.header("ce_type")?.hasPrefix("lantern.") == true {
                // Nobody announces for another source: a forged head would make gaps, or hide them.
                if let head = SourceHead(record), head.source == record.header("ce_source"),
                    head.source.split(separator: "/").last.map({ "\($0).events.v1" }) == record.topic
                {
                    prepared.heads.append((head, record.partition ?? 0))
                }
                continue
            }
            let entry = Result { () throws(EventError) in try IncomingEntry(record, now: now, leaf: leaf) }
            // Control types are never entries, however they are written.
            if isStructured, case .success(let entry) = entry, entry.event.type.hasPrefix("lantern.") { continue }
            prepared.entries.append((record, entry))
        }
        prepared.claims = prepared.entries.compactMap { try? $0.entry.get() }
            .sorted { ($0.event.source, $0.event.id) < ($1.event.source, $1.event.id) }
        return prepared
    }

    package func handle(
        _ records: [KafkaRecord], prepared: (any Sendable)?, in tx: PostgresTransaction
    ) async throws {
        let start = ContinuousClock.now
        let traces = BatchTraces(records, group: self.group)
        let prepared = prepared as? Prepared ?? self.read(records)
        try await traces.batch {
            let heads = prepared.heads
            var entries: [IncomingEntry] = []
            entries.reserveCapacity(prepared.entries.count)
            for (record, entry) in prepared.entries {
                switch entry {
                case .success(let entry): entries.append(entry)
                case .failure(let error): try await self.putAside(record, error, traces, in: tx)
                }
            }
            let (new, duplicates) = try await self.sort(entries, claims: prepared.claims, traces, in: tx)
            try await EntryStore.insert(new, in: tx)
            try await EntryStore.handToSealer(new, duplicates: duplicates, heads: heads, in: tx)
            for (source, count) in Dictionary(grouping: duplicates, by: \.event.source).mapValues(\.count) {
                tx.afterCommit {
                    Counter(label: "lantern_duplicates_total", dimensions: [("source", source)]).increment(by: count)
                }
            }
        }
        tx.afterCommit {
            traces.end()
            let duration = start.duration(to: .now) / max(1, records.count)
            for (topic, group) in Dictionary(grouping: records, by: \.topic) {
                let timer = Timer(
                    label: "messaging_process_duration_seconds",
                    dimensions: [
                        ("messaging_system", "kafka"), ("messaging_destination_name", topic),
                        ("messaging_consumer_group_name", self.group),
                    ]
                )
                for _ in group {
                    timer.recordNanoseconds(
                        duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000
                    )
                }
            }
        }
    }

    package func deadLettered(_ record: KafkaRecord, _ error: EventError, in tx: PostgresTransaction) async throws {
        // A sequence that was put aside is accounted for: it is no gap, also where the rest of the event cannot be read. But
        // nobody speaks for another source.
        guard let number = CloudEvents.number(of: record),
            (try? IncomingEntry.checkSource(number.source, topic: record.topic)) != nil
        else { return }
        try await EntryStore.handToSealer(dead: number, in: tx)
    }

    package func committed() { self.wake.signal() }

    private func putAside(
        _ record: KafkaRecord, _ error: EventError, _ traces: BatchTraces, in tx: PostgresTransaction
    ) async throws {
        traces.putAside(record, error)
        let letters = DeadLetters(consumer: self.group)
        try await letters.trace(record, error, logger: .current) {
            try await letters.add(record, error, in: tx)
            try await self.deadLettered(record, error, in: tx)
        }
    }

    /// Tells new events from those that were here before. An id that comes with other content is put aside.
    private func sort(
        _ entries: [IncomingEntry], claims: [IncomingEntry], _ traces: BatchTraces, in tx: PostgresTransaction
    ) async throws -> (new: [IncomingEntry], duplicates: [IncomingEntry]) {
        guard !entries.isEmpty else { return ([], []) }
        if claims.count >= EntryStore.copyFrom, self.duplicates.areUnlikely {
            do {
                try await EntryStore.claimNew(claims, in: tx)
                return (entries, [])
            } catch let error as PostgresError where error.code == .uniqueViolation {
                self.duplicates.seen()
            }
        }
        let inserted = try await EntryStore.claim(claims, in: tx)
        var unclaimed = inserted
        var new: [IncomingEntry] = []
        var seen: [IncomingEntry] = []
        for entry in entries {
            if unclaimed.remove(EventKey(entry.event)) != nil { new.append(entry) } else { seen.append(entry) }
        }
        guard !seen.isEmpty else { return (new, []) }
        let digests = try await EntryStore.digests(of: seen, in: tx)
        var duplicates: [IncomingEntry] = []
        for entry in seen {
            if digests[EventKey(entry.event)] == entry.digest {
                duplicates.append(entry)
            } else {
                try await self.putAside(
                    entry.record, EventError(code: .idConflict, message: "another event has the id \(entry.event.id)"),
                    traces, in: tx
                )
            }
        }
        return (new, duplicates)
    }
}

/// Whether it is worth trying to claim keys as if all were new: where events come again there are more of them behind.
private final class DuplicateWatch: Sendable {
    private let batches = Atomic<Int>(0)

    /// Asked once for each batch.
    var areUnlikely: Bool {
        let left = self.batches.load(ordering: .relaxed)
        if left > 0 { self.batches.store(left - 1, ordering: .relaxed) }
        return left == 0
    }

    func seen() { self.batches.store(20, ordering: .relaxed) }
}

/// What makes an event itself.
struct EventKey: Hashable, Sendable {
    var source: String
    var id: String

    init(source: String, id: String) {
        self.source = source
        self.id = id
    }

    init(_ event: EventEnvelope) { self.init(source: event.source, id: event.id) }
}
