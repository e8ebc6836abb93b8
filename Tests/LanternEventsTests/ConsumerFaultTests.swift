import Foundation
import LanternKafka
import LanternPostgres
import Synchronization
import TestSupport
import Testing

@testable import LanternEvents

/// Whatever befalls a consumer: each event has its effect once, nothing is lost, and the events of a thing keep their order.
@Suite("A consumer whose transport, handler or database fails it", .serialized)
struct ConsumerFaultTests {
    private let transport = InProcessTransport()

    private func produce(_ events: [ThingHappened]) async throws {
        try await self.transport.produce(events.map { $0.record() })
    }

    /// Notes every record that it is given, whether it was here before or not: only the offsets keep it from doing so twice.
    private struct Recorder: RecordHandler {
        let consumer: TestConsumer

        func handle(_ records: [KafkaRecord], in tx: PostgresTransaction) async throws {
            for record in records {
                let thing = String(decoding: record.key ?? [], as: UTF8.self)
                try await self.consumer.note(thing, PublishedEvents.sequence(record) ?? -1, in: tx)
            }
        }
    }

    // MARK: - The transport

    @Test(
        "what comes again, and what comes mixed, has its effect once", .timeLimit(.minutes(1)),
        arguments: [1, 2, 3] as [UInt64])
    func repeated(seed: UInt64) async throws {
        let consumer = try await TestConsumer.make()
        let events = ThingHappened.some(200, things: (0..<9).map { "thing \($0)" })
        var faulty = FaultyTransport(self.transport)
        faulty.onRead = { RepeatingReader($0, seed: seed) }
        try await consumer.consuming(from: faulty, with: consumer.inbox()) {
            // As a relay that died between publishing and marking, twice.
            for part in [0..<80, 40..<120, 0..<90, 90..<200] { try await self.produce(Array(events[part])) }
            try await consumer.handleAll(of: self.transport)
        }
        try await consumer.expectEffects(of: events)
        #expect(try await consumer.letters().isEmpty)
    }

    @Test("a topic that is made anew is read from its start, and nothing is doubled", .timeLimit(.minutes(1)))
    func madeAnew() async throws {
        let consumer = try await TestConsumer.make()
        let events = ThingHappened.some(60)
        try await consumer.consuming(from: self.transport, with: consumer.inbox()) {
            try await self.produce(Array(events[..<40]))
            try await consumer.handleAll(of: self.transport)
        }
        // A broker that lost all, and a source that sends again some of it and what is new: of another length.
        let second = InProcessTransport()
        try await second.produce(events[20...].map { $0.record() })
        try await consumer.consuming(from: second, with: consumer.inbox()) {
            try await consumer.handleAll(of: second, round: 2)
        }
        try await consumer.expectEffects(of: events)
    }

    // MARK: - The handler

    @Test("what a handler did before it failed is rolled back, and it is tried again", .timeLimit(.minutes(1)))
    func handlerFails() async throws {
        struct Refusal: Error {}
        let consumer = try await TestConsumer.make()
        let events = ThingHappened.some(40)
        let failures = NoteBook<ThingHappened>()
        let inbox = consumer.inbox { event, _ in
            // Its effect is there already. Each time but the last.
            if event.number == 3, failures.all.count(where: { $0 == event }) < 3 {
                failures.note(event)
                throw Refusal()
            }
        }
        try await consumer.consuming(from: self.transport, with: inbox) {
            try await self.produce(events)
            try await consumer.handleAll(of: self.transport)
        }
        #expect(failures.all.count == 15, "five events failed three times each")
        try await consumer.expectEffects(of: events)
        #expect(try await consumer.letters().isEmpty)
    }

    // MARK: - The database

    @Test("a connection that dies in the middle of a transaction takes its effects with it", .timeLimit(.minutes(1)))
    func connectionDies() async throws {
        let consumer = try await TestConsumer.make()
        let events = ThingHappened.some(40)
        let deaths = NoteBook<ThingHappened>()
        let inbox = consumer.inbox { event, tx in
            if event.number == 4, !deaths.all.contains(event) {
                deaths.note(event)
                try await tx.query("SELECT pg_terminate_backend(pg_backend_pid())")
            }
        }
        try await consumer.consuming(from: self.transport, with: inbox) {
            try await self.produce(events)
            try await consumer.handleAll(of: self.transport)
        }
        #expect(Set(deaths.all).count == 5)
        try await consumer.expectEffects(of: events)
        #expect(try await consumer.letters().isEmpty)
    }

    @Test("connections that are ended from outside, again and again, cost no event", .timeLimit(.minutes(1)))
    func connectionsAreEnded() async throws {
        let consumer = try await TestConsumer.make()
        let events = ThingHappened.some(75)
        let inbox = consumer.inbox { _, tx in try await tx.query("SELECT pg_sleep(0.02)") }
        try await consumer.consuming(from: self.transport, with: inbox) {
            for start in stride(from: 0, to: events.count, by: 15) {
                try await self.produce(Array(events[start..<start + 15]))
                try await wait(for: "a transaction") {
                    try await consumer.client.query(
                        """
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND state <> 'idle'
                        """
                    ).count > 0
                }
            }
            try await consumer.handleAll(of: self.transport)
        }
        try await consumer.expectEffects(of: events)
        #expect(try await consumer.letters().isEmpty)
    }

    @Test("a commit whose outcome is unknown, and that did not happen, happens in the end", .timeLimit(.minutes(1)))
    func commitLost() async throws {
        let consumer = try await TestConsumer.make()
        // At COMMIT, and only once: sequences do not roll back.
        for statement in [
            "CREATE SEQUENCE death",
            """
            CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF NEW.number = 3 THEN
                IF nextval('death') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
              END IF;
              RETURN NULL;
            END $$
            """,
            """
            CREATE CONSTRAINT TRIGGER die AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION die()
            """,
        ] { try await consumer.client.query(SQL(unchecked: statement)) }
        let events = ThingHappened.some(40)
        try await consumer.consuming(from: self.transport, with: Recorder(consumer: consumer)) {
            try await self.produce(events)
            try await consumer.handleAll(of: self.transport)
        }
        let deaths = try await consumer.client.query("SELECT last_value >= 1 AND is_called AS died FROM death")
        #expect(try deaths.first?("died", as: Bool.self) == true)
        try await consumer.expectEffects(of: events)
    }

    @Test("a commit whose outcome is unknown, and that did happen, does not happen again", .timeLimit(.minutes(1)))
    func commitUnheard() async throws {
        let consumer = try await TestConsumer.make()
        let waits = Mutex(true)
        // Such a commit waits for a standby that is not there; ended then, it has happened all the same. Nobody else's waits.
        let handler = Waiter(recorder: Recorder(consumer: consumer)) { waits.withLock { $0 } }
        func configure(_ statement: String) async throws {
            try await consumer.client.query(SQL(unchecked: statement))
            try await consumer.client.query("SELECT pg_reload_conf()")
        }
        try await configure("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        var events: [ThingHappened] = []
        let outcome: Result<Void, any Error>
        do {
            try await consumer.consuming(from: self.transport, with: handler) {
                // The server takes the setting over sooner or later.
                try await wait(for: "a commit that waits") {
                    let next = ThingHappened(thing: "a", number: Int64(events.count) + 1)
                    events.append(next)
                    try await self.produce([next])
                    return try await self.isCommitWaiting(consumer)
                }
                waits.withLock { $0 = false }
                try await consumer.client.query(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE wait_event = 'SyncRep' AND datname = current_database()
                    """
                )
                try await consumer.handleAll(of: self.transport)
            }
            outcome = .success(())
        } catch { outcome = .failure(error) }
        try await configure("ALTER SYSTEM RESET synchronous_standby_names")
        try outcome.get()
        try await consumer.expectEffects(of: events)
    }

    private func isCommitWaiting(_ consumer: TestConsumer) async throws -> Bool {
        try await consumer.client.query(
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()"
        ).count > 0
    }

    /// Lets commits wait for a standby while it is told to.
    private struct Waiter: RecordHandler {
        let recorder: Recorder
        let isWaiting: @Sendable () -> Bool

        init(recorder: Recorder, isWaiting: @escaping @Sendable () -> Bool) {
            self.recorder = recorder
            self.isWaiting = isWaiting
        }

        func handle(_ records: [KafkaRecord], in tx: PostgresTransaction) async throws {
            if self.isWaiting() { try await tx.query("SET LOCAL synchronous_commit = on") }
            try await self.recorder.handle(records, in: tx)
        }
    }

    // MARK: - Other members

    @Test(
        "members that join and leave under load lose nothing and double nothing, with an inbox and without",
        .timeLimit(.minutes(2)), arguments: [true, false])
    func members(hasInbox: Bool) async throws {
        let consumer = try await TestConsumer.make()
        let transport = InProcessTransport(partitions: 8)
        let slow = consumer.inbox { _, tx in try await tx.query("SELECT pg_sleep(0.001)") }
        let handler: any RecordHandler = hasInbox ? slow as any RecordHandler : Recorder(consumer: consumer)
        let events = ThingHappened.some(800, things: (0..<20).map { "thing \($0)" })
        var running: [Task<Void, any Error>] = [consumer.start(from: transport, with: handler)]
        for (step, start) in stride(from: 0, to: events.count, by: 100).enumerated() {
            try await transport.produce(events[start..<start + 100].map { $0.record() })
            // In the middle of the work of all before.
            try await wait(for: "some of it") { try await consumer.effects().count > start - 60 }
            if step.isMultiple(of: 2) {
                running.append(consumer.start(from: transport, with: handler))
            } else {
                // Some leave in the middle of a transaction.
                let leaving = running.removeFirst()
                leaving.cancel()
                _ = await leaving.result
            }
        }
        if running.isEmpty { running.append(consumer.start(from: transport, with: handler)) }
        try await consumer.handleAll(of: transport)
        for task in running { task.cancel() }
        for task in running { _ = await task.result }
        try await consumer.expectEffects(of: events)
    }

    @Test("a member that lost its partitions and does not know it is fenced", .timeLimit(.minutes(1)))
    func zombie() async throws {
        let consumer = try await TestConsumer.make()
        let events = ThingHappened.some(60)
        let gate = Gate()
        // To each of the two the transport has given all partitions.
        var undead = FaultyTransport(self.transport)
        undead.onRead = { HoldingReader($0, gate: gate) }
        undead.onJoin = { "\($0).undead" }
        let recorder = Recorder(consumer: consumer)
        try await self.produce(Array(events[..<40]))
        let zombie = consumer.start(from: undead, with: recorder)
        try await wait(for: "the zombie to have read") { gate.arrived == 1 }
        try await consumer.consuming(from: self.transport, with: recorder) {
            try await consumer.handleAll(of: self.transport)
        }
        try await consumer.expectEffects(of: Array(events[..<40]))
        // Now it goes on with what it once read, and then with what it finds in the database.
        gate.open()
        try await self.produce(Array(events[40...]))
        try await consumer.handleAll(of: self.transport, round: 2)
        zombie.cancel()
        _ = await zombie.result
        try await consumer.expectEffects(of: events)
    }
}
