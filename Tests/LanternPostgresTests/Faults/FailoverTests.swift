import Foundation
@testable import LanternPostgres
import Logging
import Synchronization
import Testing
import TestSupport

@Suite("A pool whose URI names several hosts", .serialized, .timeLimit(.minutes(2)))
struct FailoverTests {
    // MARK: - A primary and a standby

    @Test("when the standby takes over, what was done is there once, and the pool is back within five seconds")
    func failover() async throws {
        try await StandbyCluster.run("failover") { pair in
            // It comes to the one that it cannot write to first.
            let client = pair.client([.standby, .primary], for: .readWrite) { $0.maximumConnections = 8 }
            defer { client.close() }
            #expect(try await client.isInRecovery() == false)
            let ledger = try await Ledger(in: client)
            let writers = Writers(12, on: client, ledger)
            defer { writers.stop() }
            try #require(try await writers.proceed(by: 20, within: .seconds(20)))

            try await pair.stopImmediately(.primary)
            try await pair.promote()
            #expect(try await writers.proceed(by: 10, within: .seconds(5)))
            try await writers.end()

            #expect(client.pool.counts.used == 0)
            #expect(client.pool.counts.waiting == 0)
            #expect(client.pool.counts.total <= 8)
            // Whoever comes later, whatever the order, writes to the same one.
            let late = pair.client([.primary, .standby], for: .readWrite)
            defer { late.close() }
            try await ledger.write(.transaction, with: late)
            #expect(try await ledger.contradictions(late).prefix(10) == [])
        }
    }

    @Test("who wants to write where only a standby is left is told so in time, without the password")
    func onlyStandby() async throws {
        try await StandbyCluster.run("only-standby") { pair in
            try await pair.stopImmediately(.primary)
            let client = pair.client([.standby, .primary], for: .readWrite) { $0.acquireTimeout = .seconds(1) }
            defer { client.close() }
            let writing = Attempt { try await client.query("CREATE TABLE entry (id bigint NOT NULL)") }
            let error = try await writing.error(within: .seconds(4))
            #expect(error?.code == .connect)
            #expect(error?.message.contains("read-only") == true)
            #expect(error?.everything.contains(pair.password) == false)
            #expect(writing.duration.map { $0 < .seconds(2) } == true)
        }
    }

    @Test("who asks for a standby reads there what was committed, and cannot write")
    func standby() async throws {
        try await StandbyCluster.run("standby") { pair in
            let writer = pair.client([.standby, .primary], for: .readWrite)
            defer { writer.close() }
            try await writer.answer("CREATE TABLE note (id bigint NOT NULL)")
            try await writer.answer("INSERT INTO note VALUES (1)")
            for session in [StandbyCluster.Session.standby, .preferStandby] {
                // It comes to the primary first.
                let reader = pair.client([.primary, .standby], for: session)
                defer { reader.close() }
                #expect(try await reader.isInRecovery())
                // It has what was committed, and shows it a little later.
                let isSeen = try await eventually(within: .seconds(5)) { () -> Bool? in
                    let count = try? await reader.number("SELECT count(*) FROM note")
                    return count == 1 ? true : nil
                }
                #expect(isSeen == true)
                let error = try await Attempt { try await reader.query("INSERT INTO note VALUES (2)") }.error()
                #expect(error?.sqlState == "25006")
            }
        }
    }

    @Test("where no standby is left, who only prefers one reads from the primary, and who must have one is told so")
    func noStandby() async throws {
        try await StandbyCluster.run("no-standby") { pair in
            try await pair.stopImmediately(.standby)
            let preferring = pair.client([.standby, .primary], for: .preferStandby)
            let insisting = pair.client([.standby, .primary], for: .standby) { $0.acquireTimeout = .seconds(1) }
            defer {
                preferring.close()
                insisting.close()
            }
            #expect(try await preferring.isInRecovery() == false)
            let error = try await Attempt { try await insisting.query("SELECT 1") }.error(within: .seconds(4))
            #expect(error?.code == .connect)
            #expect(error?.message.contains("not in hot standby mode") == true)
            #expect(error?.everything.contains(pair.password) == false)
        }
    }

    // MARK: - Hosts that are away

    @Test("where the first host is away the second is used", arguments: DeadHost.Manner.allCases)
    func second(manner: DeadHost.Manner) async throws {
        let url = try await TestCluster.shared.database("second_host")
        let dead = try DeadHost(manner)
        var configuration = PostgresConfiguration(
            url: url.replacingOccurrences(of: "@", with: "@127.0.0.1:\(dead.port),"), applicationName: "test")
        configuration.connectTimeout = .seconds(2)
        let client = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
        defer {
            client.close()
            dead.close()
        }
        // The first has its time, and the second is asked only then.
        #expect(try await client.number("SELECT 7", within: .seconds(8)) == 7)
    }

    @Test(
        "where no host is there, who waits is told of both in time, without the password",
        arguments: DeadHost.Manner.allCases)
    func nobody(manner: DeadHost.Manner) async throws {
        let hosts = [try DeadHost(manner), try DeadHost(manner)]
        let password = UUID().uuidString
        let list = hosts.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        var configuration = PostgresConfiguration(
            url: "postgresql://lantern:\(password)@\(list)/postgres?target_session_attrs=read-write",
            applicationName: "test")
        configuration.connectTimeout = .seconds(2)
        // Longer than it takes to find that both are silent.
        configuration.acquireTimeout = manner == .refuses ? .seconds(1) : .seconds(6)
        let deadline = configuration.acquireTimeout + .seconds(1)
        let client = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
        defer {
            client.close()
            for host in hosts { host.close() }
        }
        let statement = Attempt { try await client.query("SELECT 1") }
        let transaction = Attempt { try await client.transaction { tx in try await tx.query("SELECT 1") } }
        for error in [try await statement.error(), try await transaction.error()] {
            #expect(error?.code == .connect)
            for host in hosts { #expect(error?.message.contains("port \(host.port) failed") == true) }
            #expect(error?.everything.contains(password) == false)
        }
        for duration in [statement.duration, transaction.duration] {
            #expect(duration.map { $0 < deadline } == true)
        }
        #expect(client.pool.counts.waiting == 0)
    }
}

@Suite("Answers longer than a TLS record", .serialized, .timeLimit(.minutes(1)))
struct LongAnswerTests {
    @Test("rows of a megabyte and answers of every length come whole")
    func whole() async throws {
        let cluster = try await FaultyCluster.start("long-answers")
        let client = cluster.client {
            $0.url = cluster.url(options: "sslmode=require")
            $0.maximumConnections = 1
        }
        defer { client.close() }
        do {
            try await Self.read(client)
        } catch {
            try? await cluster.stopImmediately()
            throw error
        }
        try await cluster.stopImmediately()
    }

    private static func read(_ client: PostgresClient) async throws {
        let rows = try await client.answer("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        #expect(try rows.first?("ssl", as: Bool.self) == true)
        let long: SQL = """
            SELECT md5(n::text) AS seed, repeat(md5(n::text), 31250 + n) AS text FROM generate_series(1, 40) AS n
            """
        let answered = try await client.answer(long)
        #expect(answered.count == 40)
        for (index, row) in answered.enumerated() { #expect(try Self.isWhole(row, index + 1)) }
        let streaming: Attempt<Int> = Attempt {
            try await client.stream(long) { rows -> Int in
                var number = 0
                for try await row in rows {
                    number += 1
                    #expect(try Self.isWhole(row, number))
                }
                return number
            }
        }
        #expect(try await streaming.value() == 40)
        // One at a time: what is left unread within the library nothing else would bring to light.
        for length in stride(from: 7_900, through: 34_000, by: 211) {
            let rows = try await client.answer("SELECT repeat('x', \(length)::integer) AS text", within: .seconds(5))
            #expect(try rows.first?("text", as: String.self).utf8.count == length)
        }
    }

    private static func isWhole(_ row: PostgresRow, _ number: Int) throws -> Bool {
        let seed: String = try row("seed")
        return try row("text", as: String.self) == String(repeating: seed, count: 31_250 + number)
    }
}

/// Tasks that write one row behind the other until they are told to end, whatever happens.
private final class Writers: Sendable {
    private final class Progress: Sendable {
        let isOver = Atomic(false)
        /// How many rows each task was told to be done.
        let done: Mutex<[Int]>

        init(tasks: Int) { self.done = Mutex(Array(repeating: 0, count: tasks)) }
    }

    private let progress: Progress
    private let workers: [Attempt<Void>]

    init(_ tasks: Int, on client: PostgresClient, _ ledger: Ledger) {
        let progress = Progress(tasks: tasks)
        self.progress = progress
        self.workers = (0..<tasks).map { task in
            Attempt {
                let kinds = Ledger.Kind.allCases
                var number = task
                while !progress.isOver.load(ordering: .relaxed) {
                    number += 1
                    do {
                        try await ledger.write(kinds[number % kinds.count], with: client)
                        progress.done.withLock { $0[task] += 1 }
                    } catch {
                        // Where all is refused at once, the server that comes back is to find a processor.
                        try await Task.sleep(for: .milliseconds(5))
                    }
                }
            }
        }
    }

    /// Whether each of them gets as many more done within the limit.
    func proceed(by count: Int, within limit: Duration) async throws -> Bool {
        let goals = self.progress.done.withLock { done in done.map { $0 + count } }
        return try await eventually(within: limit) { () -> Bool? in
            let done = self.progress.done.withLock { $0 }
            return zip(done, goals).allSatisfy { $0.0 >= $0.1 } ? true : nil
        } == true
    }

    func stop() { self.progress.isOver.store(true, ordering: .relaxed) }

    func end() async throws {
        self.stop()
        for worker in self.workers { try await worker.value(within: .seconds(20)) }
    }
}

extension PostgresClient {
    /// Whether it was led to a standby.
    fileprivate func isInRecovery() async throws -> Bool {
        let row = try #require(try await self.answer("SELECT pg_is_in_recovery()").first)
        return try row.decode(Bool.self)
    }
}

extension PostgresError {
    /// All that anybody could print of it.
    fileprivate var everything: String {
        var text = "\(self) \(String(reflecting: self)) \(self.message) \(self.hint ?? "") \(self.detail ?? "")"
        dump(self, to: &text)
        return text
    }
}
