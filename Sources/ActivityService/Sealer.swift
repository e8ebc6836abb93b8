import CoreMetrics
import Foundation
import Lantern

/// Gives log indexes and advances what is known of each source. One replica leads; what it writes is fenced by its term.
///
/// Only the log index never has anything appear behind it: times can be late, and insertion ids commit out of order.
struct Sealer: Service {
    let database: PostgresClient
    let direct: PostgresClient
    let wake: WakeSignal
    let transport: any EventTransport
    let outbox: Outbox
    let logger: Logger

    private static let interval: Duration = .milliseconds(50)
    private static let batchSize = 1_000

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown {
                var attempt = 0
                while true {
                    let began = ContinuousClock.now
                    do {
                        try await AdvisoryLock(client: self.direct, name: "lantern-sealer").withLock {
                            try await self.lead()
                        }
                    } catch is CancellationError where Task.isCancelled {
                        throw CancellationError()
                    } catch {
                        // Whoever led for a while begins to count anew.
                        attempt = ContinuousClock.now - began > .seconds(30) ? 1 : attempt + 1
                        if attempt.nonzeroBitCount == 1 {
                            self.logger.warning(
                                "the sealer cannot work", error: error, metadata: ["attempt": "\(attempt)"])
                        }
                    }
                    try await Task.sleep(for: .milliseconds(min(5_000, 100 << min(attempt, 6))))
                }
            }
        } catch is CancellationError {
            return
        }
    }

    private func lead() async throws {
        let term = try await SealerStore.takeOver(self.database)
        self.logger.info("sealer leads", metadata: ["term": .stringConvertible(term)])
        let keeper = GapKeeper(
            store: GapStore(database: self.database, term: term), transport: self.transport, outbox: self.outbox,
            logger: self.logger
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.seal(SealerStore(database: self.database, term: term)) }
            group.addTask { try await keeper.run() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func seal(_ store: SealerStore) async throws {
        var measured = ContinuousClock.now - .seconds(60)
        let size = Meter(label: "lantern_log_size")
        while true {
            try Task.checkCancellation()
            let sealed = try await store.seal(limit: Self.batchSize)
            if let sealed {
                size.set(sealed.logSize)
                let now = Timestamp.now
                for entry in sealed.entries {
                    // A source whose clock is ahead would make it negative.
                    Timer(label: "lantern_event_visible_seconds", dimensions: [("source", entry.source)])
                        .recordNanoseconds(Int64(max(0, now.seconds(since: entry.time)) * 1_000_000_000))
                }
            }
            if ContinuousClock.now - measured > .seconds(1) {
                measured = .now
                for source in try await SourceStore(database: self.database).all() {
                    Counter(label: "lantern_duplicates_total", dimensions: [("source", source.source)]).increment(by: 0)
                    Meter(label: "lantern_source_gap_events", dimensions: [("source", source.source)]).set(source.gaps)
                }
                try await store.ensurePartitions(now: .now)
            }
            if (sealed?.taken ?? 0) < Self.batchSize { await self.wake.wait(atMost: Self.interval) }
        }
    }
}
