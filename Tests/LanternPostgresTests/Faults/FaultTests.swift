import Foundation
@testable import LanternPostgres
import Logging
import Synchronization
import Testing
import TestSupport

@Suite("A pool whose server or network fails", .serialized, .timeLimit(.minutes(2)))
struct FaultTests {
    private static let starting = Task.detached { try await FaultyCluster.start("faults") }

    private let cluster: FaultyCluster

    init() async throws {
        self.cluster = try await Self.starting.value
        // Whatever the test before has left.
        try await self.cluster.start()
    }

    // MARK: - A server that goes away

    @Test("when it dies and comes back, what was done is there once, and the pool is back within five seconds")
    func crash() async throws {
        try await self.makeTable()
        let client = self.cluster.client { $0.maximumConnections = 8 }
        let ledger = try await Ledger(in: client)
        let load = Load(tasks: 32, on: client, ledger)
        defer {
            load.stop()
            client.close()
        }
        for _ in 1...2 {
            #expect(try await load.proceeds(by: 300, within: .seconds(10)))
            try await self.cluster.stopImmediately()
            try await self.cluster.start()
            #expect(try await load.proceeds(by: 100, within: .seconds(5)))
        }
        try await load.end()
        #expect(client.pool.counts.used == 0)
        #expect(client.pool.counts.waiting == 0)
        #expect(client.pool.counts.total <= 8)
        #expect(try await ledger.contradictions(client).prefix(10) == [])
    }

    @Test("a task that waits while there is no server is served when there is one")
    func absent() async throws {
        try await self.cluster.stopImmediately()
        let client = self.cluster.client { $0.acquireTimeout = .seconds(30) }
        defer { client.close() }
        let waiting = Attempt { try await client.query("SELECT 1 AS one").count }
        #expect(try await eventually(within: .seconds(5)) { client.pool.counts.waiting == 1 ? true : nil } == true)
        try await self.cluster.start()
        #expect(try await waiting.value(within: .seconds(5)) == 1)
    }

    @Test("when it is frozen nobody waits longer than the time limits, and it is used again when it goes on")
    func frozen() async throws {
        func client(_ maximum: Int) -> PostgresClient {
            self.cluster.client {
                $0.maximumConnections = maximum
                $0.acquireTimeout = .seconds(2)
                $0.connectTimeout = .seconds(2)
                $0.statementTimeout = .milliseconds(300)
                $0.cancelTimeout = .seconds(1)
            }
        }
        let clients = (asking: client(2), full: client(1), new: client(2), cancelling: client(1))
        let all = [clients.asking, clients.full, clients.new, clients.cancelling]
        defer { for client in all { client.close() } }
        for client in [clients.asking, clients.full, clients.cancelling] { try await client.answer("SELECT 1") }

        let statementLimit: Duration = .milliseconds(300) + .seconds(5) + .seconds(2)
        try await self.cluster.whileFrozen {
            let asking = Attempt { try await clients.asking.query("SELECT 1") }
            let holding = Attempt { try await clients.full.transaction { tx in try await tx.query("SELECT 1") } }
            let cancelled = Attempt { try await clients.cancelling.query("SELECT 1") }
            let isHeld = try await eventually(within: .seconds(1)) {
                clients.full.pool.counts.used == 1 && clients.cancelling.pool.counts.used == 1 ? true : nil
            }
            #expect(isHeld == true)
            let waiting = Attempt { try await clients.full.query("SELECT 1") }
            let new = Attempt { try await clients.new.query("SELECT 1") }
            cancelled.cancel()
            #expect(try await cancelled.error(within: .seconds(3))?.code == .cancelled)
            #expect(try await waiting.error(within: .seconds(3))?.code == .poolExhausted)
            let refusal = try await new.error(within: .seconds(3))?.code
            #expect(refusal == .poolExhausted || refusal == .connect)
            for attempt in [asking, holding] {
                #expect(try await attempt.error(within: statementLimit)?.code == .timeout)
                #expect(attempt.duration.map { $0 < statementLimit } == true)
            }
        }
        let recovering = all.map { client in Attempt { try await client.recovers() } }
        for attempt in recovering { #expect(try await attempt.value()) }
        for client in all { #expect(client.pool.counts.used == 0) }
    }

    // MARK: - Sessions that it ends

    @Test("an idle connection that it ends is given up unused, and the next statement simply works")
    func idleTerminated() async throws {
        let client = self.cluster.client { $0.maximumConnections = 1 }
        defer { client.close() }
        let pid = try await client.pid()
        try await self.terminate(pid)
        #expect(try await eventually(within: .seconds(5)) { client.pool.counts.total == 0 ? true : nil } == true)
        #expect(try await client.pid() != pid)
    }

    @Test("a statement whose connection it ends is told so, and the next one works")
    func runningTerminated() async throws {
        let client = self.cluster.client { $0.maximumConnections = 1 }
        defer { client.close() }
        let pid = try await client.pid()
        let sleeping = Attempt { try await client.query("SELECT pg_sleep(30)") }
        try await self.waitUntilSleeping(pid)
        try await self.terminate(pid)
        #expect(try await sleeping.error(within: .seconds(2))?.code == .connectionLost)
        #expect(try await client.pid() != pid)
    }

    @Test("a transaction whose connection it ends fails once, and leaves nothing behind")
    func transactionTerminated() async throws {
        let client = self.cluster.client { $0.maximumConnections = 1 }
        defer { client.close() }
        try await self.makeTable()
        let attempts = Atomic(0)
        let transaction = Attempt {
            try await client.transaction { tx in
                attempts.add(1, ordering: .relaxed)
                try await tx.query("INSERT INTO entry VALUES (1, 0)")
                let rows = try await tx.query("SELECT pg_backend_pid()::bigint")
                try await self.terminate(try #require(rows.first).decode(Int.self))
                try await tx.query("INSERT INTO entry VALUES (2, 0)")
            }
        }
        #expect(try await transaction.error()?.code == .connectionLost)
        #expect(attempts.load(ordering: .relaxed) == 1)
        #expect(try await client.number("SELECT count(*) FROM entry") == 0)
        try await Attempt { try await client.transaction { tx in try await tx.query("SELECT 1") } }.value()
    }

    // MARK: - A network that fails

    @Test("connections that are cut anywhere lose nothing and double nothing", arguments: UInt64(1)...20)
    func cut(seed: UInt64) async throws {
        let proxy = try FaultyProxy(to: self.cluster.port, seed: seed)
        defer { proxy.close() }
        let delay: Duration = seed % 3 == 0 ? .milliseconds(2) : .zero
        proxy.behave(.init(cutsWithin: 1...9_000, longestDelay: delay))
        let client = self.cluster.client(port: proxy.port) { $0.maximumConnections = 4 }
        let observer = self.cluster.client()
        defer {
            client.close()
            observer.close()
        }
        // Sessions of the last seed may be at their end still, and no table is taken away under them.
        let ledger = try await Ledger(in: observer, from: Int(seed) * 1_000_000)
        let writing = (0..<12).map { number in
            Attempt {
                for index in 0..<8 {
                    let kinds = Ledger.Kind.allCases
                    try? await ledger.write(kinds[(number + index) % kinds.count], with: client)
                }
            }
        }
        for attempt in writing { try await attempt.value(within: .seconds(30)) }
        #expect(proxy.counts.cuts > 0)
        proxy.behave(.pass)
        #expect(try await client.recovers())
        #expect(client.pool.counts.used == 0)
        #expect(client.pool.counts.waiting == 0)
        #expect(try await ledger.contradictions(observer) == [])
    }

    /// What is under way when the network fails, and what is lost.
    enum Loss: CaseIterable {
        case answerOfCommit, requestOfCommit, answerOfInsert, answerOfBatch, answerOfSelect

        var direction: FaultyProxy.Direction { self == .requestOfCommit ? .requests : .answers }
        var isDone: Bool { [.answerOfCommit, .answerOfInsert, .answerOfBatch].contains(self) }
    }

    @Test("an answer that is lost leaves the outcome unknown, but for a SELECT", arguments: Loss.allCases)
    func lost(loss: Loss) async throws {
        let proxy = try FaultyProxy(to: self.cluster.port)
        let client = self.cluster.client(port: proxy.port) { $0.maximumConnections = 1 }
        let observer = self.cluster.client()
        defer {
            client.close()
            observer.close()
            proxy.close()
        }
        try await self.makeTable()
        try await client.answer("SELECT 1")
        let swallow: @Sendable () -> Void = { proxy.behave(.swallows(loss.direction)) }
        let attempt = Attempt {
            switch loss {
            case .answerOfCommit, .requestOfCommit:
                try await client.transaction { tx in
                    try await tx.query("INSERT INTO entry VALUES (1, 0)")
                    swallow()
                }
            case .answerOfInsert:
                swallow()
                try await client.query("INSERT INTO entry VALUES (1, 0)")
            case .answerOfBatch:
                swallow()
                try await client.batch(["INSERT INTO entry VALUES (1, 0)", "SELECT 1"])
            case .answerOfSelect:
                swallow()
                try await client.query("SELECT 1")
            }
        }
        let isSwallowed = try await eventually(within: .seconds(5)) { () -> Bool? in
            guard proxy.counts.swallowed > 0 else { return nil }
            if !loss.isDone { return true }
            return try await observer.number("SELECT count(*) FROM entry") == 1 ? true : nil
        }
        #expect(isSwallowed == true)
        proxy.cut()
        let code = try await attempt.error(within: .seconds(3))?.code
        #expect(code == (loss == .answerOfSelect ? .connectionLost : .unknownOutcome))
        #expect(try await client.recovers())
        #expect(try await observer.number("SELECT count(*) FROM entry") == (loss.isDone ? 1 : 0))
        #expect(client.pool.counts.used == 0)
    }

    @Test("somebody who accepts and never answers costs no more than the time to wait for a connection")
    func silent() async throws {
        let proxy = try FaultyProxy(to: self.cluster.port)
        proxy.behave(.swallows(.requests))
        let client = self.cluster.client(port: proxy.port) {
            $0.acquireTimeout = .milliseconds(500)
            $0.connectTimeout = .seconds(2)
        }
        defer {
            client.close()
            proxy.close()
        }
        let statement = Attempt { try await client.query("SELECT 1") }
        let transaction = Attempt { try await client.transaction { tx in try await tx.query("SELECT 1") } }
        for code in [try await statement.error()?.code, try await transaction.error()?.code] {
            #expect(code == .poolExhausted || code == .connect)
        }
        for duration in [statement.duration, transaction.duration] {
            #expect(duration.map { $0 < .milliseconds(1_500) } == true)
        }
        #expect(client.pool.counts.waiting == 0)
        proxy.cut()
        #expect(try await client.recovers())
    }

    // MARK: - A server that refuses

    @Test("where it takes no more connections tasks share those that there are, and those without wait for one")
    func full() async throws {
        let admin = self.cluster.client()
        let proxy = try FaultyProxy(to: self.cluster.port)
        try await admin.answer("DROP ROLE IF EXISTS narrow")
        // Text that is not known before: nothing is bound in a CREATE ROLE.
        try await admin.answer(
            SQL(unchecked: "CREATE ROLE narrow LOGIN PASSWORD '\(self.cluster.password)' CONNECTION LIMIT 1"))
        let holder = self.cluster.client { $0.url = self.cluster.url(user: "narrow") }
        let client = self.cluster.client {
            $0.url = self.cluster.url(port: proxy.port, user: "narrow")
            $0.maximumConnections = 6
        }
        defer {
            for client in [admin, holder, client] { client.close() }
            proxy.close()
        }
        try await holder.answer("SELECT 1")
        let waiting = (0..<20).map { _ in Attempt { try await client.query("SELECT 1 AS one").count } }
        // Refused, and tried again.
        let isRefused = try await eventually(within: .seconds(5)) {
            proxy.counts.connections >= 3 && client.pool.counts.waiting == 20 ? true : nil
        }
        #expect(isRefused == true)
        try await admin.answer("ALTER ROLE narrow CONNECTION LIMIT 3")
        for attempt in waiting { #expect(try await attempt.value(within: .seconds(5)) == 1) }
        let sleeping = (0..<6).map { _ in Attempt { try await client.query("SELECT pg_sleep(0.1)").count } }
        for attempt in sleeping { #expect(try await attempt.value(within: .seconds(5)) == 1) }
        #expect(client.pool.counts.total <= 2)
        #expect(client.pool.counts.used == 0)
    }

    @Test("a constraint that fails when all is committed is told as what it is, and the connection is used again")
    func deferred() async throws {
        let client = self.cluster.client { $0.maximumConnections = 1 }
        defer { client.close() }
        try await client.answer("DROP TABLE IF EXISTS single")
        try await client.answer(
            "CREATE TABLE single (n bigint CONSTRAINT only_one UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        let pid = try await client.pid()
        let transaction = Attempt {
            try await client.transaction { tx in
                try await tx.query("INSERT INTO single VALUES (1)")
                try await tx.query("INSERT INTO single VALUES (1)")
            }
        }
        // By itself, its answer comes before the error.
        let statement = Attempt { try await client.query("INSERT INTO single VALUES (2), (2)") }
        let batch = Attempt { try await client.batch(["INSERT INTO single VALUES (3), (3)", "SELECT 1"]) }
        for error in [try await transaction.error(), try await statement.error(), try await batch.error()] {
            #expect(error?.code == .uniqueViolation)
            #expect(error?.constraint == "only_one")
        }
        #expect(try await client.number("SELECT count(*) FROM single") == 0)
        #expect(try await client.pid() == pid)
    }

    @Test("a failure that the closure keeps to itself is told at the end, and nothing is committed")
    func kept() async throws {
        let client = self.cluster.client { $0.maximumConnections = 1 }
        defer { client.close() }
        try await self.makeTable()
        let pid = try await client.pid()
        let transaction = Attempt {
            try await client.transaction { tx in
                try await tx.query("INSERT INTO entry VALUES (1, 0)")
                _ = try? await tx.query("SELECT 1 / 0")
                _ = try? await tx.query("INSERT INTO entry VALUES (2, 0)")
            }
        }
        #expect(try await transaction.error()?.code == .server)
        #expect(try await client.number("SELECT count(*) FROM entry") == 0)
        #expect(try await client.pid() == pid)
    }

    // MARK: - TLS

    @Test("a server whose certificate bears its name and a known signature is trusted")
    func trusted() async throws {
        let client = self.cluster.client { $0.url = self.cluster.verifyingURL(trusting: .known) }
        defer { client.close() }
        let rows = try await client.answer("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        #expect(try rows.map { try $0("ssl", as: Bool.self) } == [true])
        // Answers of many TLS records each, one behind the other.
        let long = (1...8).map { _ in
            Attempt { try await client.query("SELECT repeat('x', 1000000) AS text").first?("text", as: String.self) }
        }
        for attempt in long { #expect(try await attempt.value()?.utf8.count == 1_000_000) }
    }

    @Test("a server that somebody else has signed for is refused, without the password in the error")
    func untrusted() async throws { try await self.expectRefusal(trusting: .unknown) }

    @Test("a server whose certificate bears another name is refused, without the password in the error")
    func misnamed() async throws {
        try await self.cluster.start(as: .elsewhere)
        try await self.expectRefusal(trusting: .known)
    }

    private func expectRefusal(trusting authority: Certificates.Authority) async throws {
        let client = self.cluster.client {
            $0.url = self.cluster.verifyingURL(trusting: authority)
            $0.acquireTimeout = .seconds(1)
        }
        defer { client.close() }
        let error = try await Attempt { try await client.query("SELECT 1") }.error(within: .seconds(4))
        #expect(error?.code == .connect)
        #expect(error?.message.contains("certificate") == true)
        #expect(error.map { !"\($0) \($0.message)".contains(self.cluster.password) } == true)
        #expect(client.pool.counts.total == 0)
    }

    // MARK: - What the tests need

    private func makeTable() async throws {
        let client = self.cluster.client()
        defer { client.close() }
        try await client.answer("DROP TABLE IF EXISTS entry")
        try await client.answer("CREATE TABLE entry (id bigint NOT NULL, part bigint NOT NULL)")
    }

    /// Ends a session, and waits until the server knows it no longer.
    private func terminate(_ pid: Int) async throws {
        let admin = self.cluster.client()
        defer { admin.close() }
        try await admin.answer("SELECT pg_terminate_backend(\(pid)::integer)")
        let isGone = try await eventually(within: .seconds(5)) {
            try await admin.number("SELECT count(*) FROM pg_stat_activity WHERE pid = \(pid)") == 0 ? true : nil
        }
        try #require(isGone == true, "the session has not ended")
    }

    private func waitUntilSleeping(_ pid: Int) async throws {
        let admin = self.cluster.client()
        defer { admin.close() }
        let isSleeping = try await eventually(within: .seconds(5)) {
            let sql: SQL = "SELECT count(*) FROM pg_stat_activity WHERE pid = \(pid) AND wait_event = 'PgSleep'"
            return try await admin.number(sql) == 1 ? true : nil
        }
        try #require(isSleeping == true, "nothing runs on the server")
    }
}

/// Tasks that write until they are told to end, whatever happens.
private final class Load: Sendable {
    private let ledger: Ledger
    private let isOver: Flag
    private let workers: [Attempt<Void>]

    private final class Flag: Sendable {
        let isSet = Atomic(false)
    }

    init(tasks: Int, on client: PostgresClient, _ ledger: Ledger) {
        let isOver = Flag()
        self.ledger = ledger
        self.isOver = isOver
        self.workers = (0..<tasks).map { task in
            Attempt {
                let kinds = Ledger.Kind.allCases
                var number = task
                while !isOver.isSet.load(ordering: .relaxed) {
                    number += 1
                    do {
                        try await ledger.write(kinds[number % kinds.count], with: client)
                    } catch {
                        // Where all is refused at once, the server that comes back is to find a processor.
                        try await Task.sleep(for: .milliseconds(5))
                    }
                }
            }
        }
    }

    /// Whether as many more are done within the limit.
    func proceeds(by count: Int, within limit: Duration) async throws -> Bool {
        let goal = self.ledger.done + count
        return try await eventually(within: limit) { self.ledger.done >= goal ? true : nil } == true
    }

    func stop() { self.isOver.isSet.store(true, ordering: .relaxed) }

    func end() async throws {
        self.stop()
        for worker in self.workers { try await worker.value(within: .seconds(20)) }
    }
}
