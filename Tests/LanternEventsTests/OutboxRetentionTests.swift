import Foundation
import LanternKafka
import LanternPostgres
import TestSupport
import Testing

@testable import LanternEvents

/// Partitions of the outbox: made ahead of the rows, dropped behind them, and never before all that is in them is safe.
@Suite("What an outbox keeps, and what it forgets", .serialized)
struct OutboxRetentionTests {
    /// An outbox whose partitions have ten rows each, and a store that knows it.
    private func small() async throws -> (outbox: TestOutbox, store: OutboxStore) {
        let outbox = try await TestOutbox.make()
        // The first one is as large as those of a service.
        try await outbox.client.query("DROP TABLE outbox_p0")
        var store = outbox.store
        store.rowsPerPartition = 10
        try await store.ensurePartitions()
        return (outbox, store)
    }

    /// Appends rows, with their partitions ahead of them as a relay would make them. The first one has position 1.
    private func append(_ count: Int, to outbox: TestOutbox, _ store: OutboxStore) async throws {
        for event in ThingHappened.some(count) {
            try await outbox.append([event])
            try await store.ensurePartitions()
        }
    }

    private func seal(_ leadership: OutboxStore.Leadership, _ store: OutboxStore) async throws -> Int64 {
        let last = try await store.seal(leadership, limit: 1_000)
        try await store.markPublished(leadership, through: last)
        return last
    }

    private func acknowledge(_ store: OutboxStore, epoch: Int64 = 1, _ sequence: Int64) async throws {
        try await store.acknowledge([ControlMessage.EpochSequence(epoch: epoch, sequence: sequence)])
    }

    private func partitions(_ outbox: TestOutbox) async throws -> [String] {
        try await outbox.client.query(
            """
            SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'outbox'::regclass ORDER BY name
            """
        ).map { try $0("name") }
    }

    private func rows(_ outbox: TestOutbox) async throws -> [String: Int] {
        let rows = try await outbox.client.query(
            "SELECT tableoid::regclass::text AS name, count(*) AS rows FROM outbox GROUP BY tableoid")
        return Dictionary(
            uniqueKeysWithValues: try rows.map { (try $0("name", as: String.self), try $0("rows", as: Int.self)) })
    }

    // MARK: - Dropping

    @Test("a row that came in at the last moment, in an epoch of which nothing is acknowledged, keeps its partition")
    func newEpoch() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(25, to: outbox, store)
        _ = try await self.seal(store.takeOver(), store)
        try await self.acknowledge(store, 25)
        try await outbox.client.query("UPDATE outbox SET epoch = 2, sequence = 1 WHERE position = 5")
        #expect(try await store.drop(0) == false)
        try await self.acknowledge(store, epoch: 2, 1)
        #expect(try await store.drop(0))
        #expect(try await self.rows(outbox) == ["outbox_p1": 10, "outbox_p2": 6])
        outbox.client.close()
    }

    @Test("what is sealed, acknowledged and old enough goes, oldest first; the partition that is written to stays")
    func drops() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(25, to: outbox, store)
        #expect(try await self.rows(outbox) == ["outbox_p0": 9, "outbox_p1": 10, "outbox_p2": 6])
        #expect(try await self.seal(store.takeOver(), store) == 25)
        try await self.acknowledge(store, 25)
        #expect(try await store.dropPartitions(olderThan: .zero) == ["outbox_p0", "outbox_p1"])
        #expect(try await self.rows(outbox) == ["outbox_p2": 6])
        #expect(try await store.dropPartitions(olderThan: .zero) == [], "there is nothing more")
        // What is left is numbered on.
        try await self.append(1, to: outbox, store)
        #expect(try await self.seal(store.takeOver(), store) == 26)
    }

    @Test("a partition is full before it goes, also where all that is in it is acknowledged")
    func newest() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(9, to: outbox, store)
        #expect(try await self.seal(store.takeOver(), store) == 9)
        try await self.acknowledge(store, 9)
        #expect(try await store.dropPartitions(olderThan: .zero) == [])
        try await self.append(1, to: outbox, store)
        #expect(try await store.dropPartitions(olderThan: .zero) == ["outbox_p0"])
    }

    @Test("without an acknowledgement everything stays, however old")
    func unacknowledged() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(25, to: outbox, store)
        #expect(try await self.seal(store.takeOver(), store) == 25)
        try await outbox.client.query("UPDATE outbox SET time = time - interval '1 year'")
        #expect(try await store.dropPartitions(olderThan: .zero) == [])
        #expect(try await self.rows(outbox).count == 3)
    }

    @Test(
        "one row that is not acknowledged keeps its partition",
        arguments: [(8, []), (9, ["outbox_p0"]), (18, ["outbox_p0"])] as [(Int64, [String])])
    func partlyAcknowledged(through: Int64, dropped: [String]) async throws {
        let (outbox, store) = try await self.small()
        try await self.append(25, to: outbox, store)
        #expect(try await self.seal(store.takeOver(), store) == 25)
        try await self.acknowledge(store, through)
        #expect(try await store.dropPartitions(olderThan: .zero) == dropped)
        try await self.acknowledge(store, 19)
        _ = try await store.dropPartitions(olderThan: .zero)
        #expect(try await self.rows(outbox) == ["outbox_p2": 6])
    }

    @Test("a row without a number keeps its partition, whatever is acknowledged")
    func unsealed() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(25, to: outbox, store)
        let leadership = try await store.takeOver()
        #expect(try await store.seal(leadership, limit: 8) == 8)
        try await self.acknowledge(store, 1_000)
        #expect(try await store.dropPartitions(olderThan: .zero) == [])
        #expect(try await store.seal(leadership, limit: 1) == 9)
        #expect(try await store.dropPartitions(olderThan: .zero) == ["outbox_p0"])
    }

    @Test("a row that is too young keeps its partition, and all behind it")
    func young() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(35, to: outbox, store)
        #expect(try await self.seal(store.takeOver(), store) == 35)
        try await self.acknowledge(store, 35)
        #expect(try await store.dropPartitions(olderThan: .seconds(3_600)) == [])
        try await outbox.client.query("UPDATE outbox SET time = time - interval '2 hours' WHERE position <> 15")
        #expect(try await store.dropPartitions(olderThan: .seconds(3_600)) == ["outbox_p0"])
        #expect(try await self.rows(outbox) == ["outbox_p1": 10, "outbox_p2": 10, "outbox_p3": 6])
        try await outbox.client.query("UPDATE outbox SET time = time - interval '2 hours' WHERE position = 15")
        #expect(try await store.dropPartitions(olderThan: .seconds(3_600)) == ["outbox_p1", "outbox_p2"])
    }

    @Test("rows of an older epoch are kept until that epoch is acknowledged, whatever is of the present one")
    func olderEpoch() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(12, to: outbox, store)
        #expect(try await self.seal(store.takeOver(), store) == 12)
        let second = try await store.takeOver(newEpoch: true)
        try await self.append(13, to: outbox, store)
        #expect(try await self.seal(second, store) == 13)
        try await self.acknowledge(store, epoch: 2, 13)
        #expect(try await store.dropPartitions(olderThan: .zero) == [])
        try await self.acknowledge(store, epoch: 1, 11)
        #expect(try await store.dropPartitions(olderThan: .zero) == ["outbox_p0"])
        try await self.acknowledge(store, epoch: 1, 12)
        #expect(try await store.dropPartitions(olderThan: .zero) == ["outbox_p1"])
    }

    @Test("what another source was acknowledged says nothing of this one")
    func otherSource() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(25, to: outbox, store)
        #expect(try await self.seal(store.takeOver(), store) == 25)
        let other = OutboxStore(database: outbox.client, source: "/services/other", rowsPerPartition: 10)
        try await self.acknowledge(other, 25)
        #expect(try await store.dropPartitions(olderThan: .zero) == [])
    }

    @Test("an acknowledgement never goes back, and takes nothing back")
    func acknowledgements() async throws {
        let outbox = try await TestOutbox.make()
        for (told, kept) in [(5, 5), (3, 5), (5, 5), (6, 6), (0, 6)] as [(Int64, Int64)] {
            try await self.acknowledge(outbox.store, told)
            #expect(try await outbox.acknowledged() == kept)
        }
        try await self.acknowledge(outbox.store, epoch: 2, 1)
        #expect(try await outbox.acknowledged() == 6)
        #expect(try await outbox.acknowledged(epoch: 2) == 1)
        try await outbox.store.acknowledge([])
    }

    @Test("a transaction that appends while partitions go loses nothing", .timeLimit(.minutes(1)))
    func whileAppending() async throws {
        let (outbox, store) = try await self.small()
        try await self.append(25, to: outbox, store)
        #expect(try await self.seal(store.takeOver(), store) == 25)
        try await self.acknowledge(store, 25)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<40 {
                group.addTask { try await outbox.append([ThingHappened(thing: "during", number: Int64(number))]) }
            }
            group.addTask {
                // Where an append is in its way, it waits for a second, and comes again later.
                _ = try await eventually { () -> Bool? in
                    let dropped = (try? await store.dropPartitions(olderThan: .zero)) ?? []
                    return dropped.isEmpty ? nil : true
                }
            }
            try await group.waitForAll()
        }
        let kept = try await outbox.client.query("SELECT count(*) AS kept FROM outbox WHERE key = 'during'")
        #expect(try kept.first?("kept", as: Int.self) == 40)
        #expect(try await self.rows(outbox)["outbox_p0"] == nil)
        #expect(try await self.seal(store.takeOver(), store) == 65)
    }

    @Test("a row that is committed while its partition is about to go is kept", .timeLimit(.minutes(1)))
    func committedMeanwhile() async throws {
        let (outbox, store) = try await self.small()
        let gate = Gate()
        let slow = Task {
            try await outbox.client.transaction { tx in
                try await outbox.outbox.append(ThingHappened(thing: "slow", number: 1), in: tx)
                await gate.pass()
            }
        }
        try await wait(for: "the row that nobody sees yet") { gate.arrived == 1 }
        // Without making partitions, which would wait for the transaction as well.
        try await outbox.append(ThingHappened.some(24))
        #expect(try await self.seal(store.takeOver(), store) == 24)
        try await self.acknowledge(store, 24)
        let ended = NoteBook<[String]>()
        let dropping = Task { ended.note((try? await store.dropPartitions(olderThan: .zero)) ?? []) }
        // Either it waits for the transaction, or it leaves the partition alone.
        try await wait(for: "the dropping") {
            let waiting = try await outbox.client.query(
                """
                SELECT pid FROM pg_locks
                WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                """
            ).count
            return waiting > 0 || !ended.all.isEmpty
        }
        gate.open()
        try await slow.value
        await dropping.value
        let kept = try await outbox.client.query("SELECT count(*) AS kept FROM outbox WHERE key = 'slow'")
        #expect(try kept.first?("kept", as: Int.self) == 1)
        #expect(try await self.seal(store.takeOver(), store) == 25)
    }

    // MARK: - Making

    @Test("rows that were faster than their partition stay where they fell, have their numbers, and later ones go on")
    func tooFast() async throws {
        let (outbox, store) = try await self.small()
        try await outbox.append(ThingHappened.some(25))
        #expect(try await self.rows(outbox) == ["outbox_p0": 9, "outbox_p1": 10, "outbox_default": 6])
        try await store.ensurePartitions()
        #expect(try await self.partitions(outbox) == ["outbox_default", "outbox_p0", "outbox_p1", "outbox_p3"])
        try await self.append(10, to: outbox, store)
        #expect(
            try await self.rows(outbox)
                == ["outbox_p0": 9, "outbox_p1": 10, "outbox_default": 10, "outbox_p3": 6])
        #expect(try await self.seal(store.takeOver(), store) == 35)
        #expect(
            try await store.sealed(epoch: 1, after: 0, limit: 100).map(\.event.sequence) == (1...35).map { Int64($0) })
        try await self.acknowledge(store, 35)
        #expect(try await store.dropPartitions(olderThan: .zero) == ["outbox_p0", "outbox_p1"])
        #expect(try await self.rows(outbox) == ["outbox_default": 10, "outbox_p3": 6])
    }

    @Test("making partitions again changes nothing")
    func twice() async throws {
        let (outbox, store) = try await self.small()
        let before = try await self.partitions(outbox)
        #expect(before == ["outbox_default", "outbox_p0", "outbox_p1"])
        try await store.ensurePartitions()
        #expect(try await self.partitions(outbox) == before)
        #expect(try await store.size() > 0)
    }

    @Test("rows that come before any relay ever led are in a partition that can be dropped one day")
    func beforeAnyRelay() async throws {
        let outbox = try await TestOutbox.make()
        try await outbox.append(ThingHappened.some(3))
        #expect(try await self.rows(outbox) == ["outbox_p0": 3])
        try await outbox.store.ensurePartitions()
        #expect(try await self.partitions(outbox) == ["outbox_default", "outbox_p0", "outbox_p1"])
    }

    @Test("a database that had rows before that keeps them, and goes on")
    func oldDatabase() async throws {
        let client = try await TestCluster.shared.client()
        let outbox = TestOutbox(client: client)
        try await client.migrate(
            OutboxSchema.component, Array(OutboxSchema.migrations.prefix(1)), logger: .ofTests)
        try await outbox.append(ThingHappened.some(3))
        try await client.migrate(OutboxSchema.component, OutboxSchema.migrations, logger: .ofTests)
        #expect(try await self.rows(outbox) == ["outbox_default": 3])
        try await outbox.store.ensurePartitions()
        #expect(try await self.partitions(outbox) == ["outbox_default", "outbox_p1"])
        #expect(try await self.seal(outbox.store.takeOver(), outbox.store) == 3)
        #expect(try await outbox.store.dropPartitions(olderThan: .zero) == [])
    }
}
