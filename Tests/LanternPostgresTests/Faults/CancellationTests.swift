import Foundation
@testable import LanternPostgres
import Logging
import Synchronization
import Testing
import TestSupport

@Suite("Statements whose task is cancelled", .serialized, .timeLimit(.minutes(1)))
struct CancellationTests {
    private let stage: Stage

    init() async throws { self.stage = try await Stage() }

    private var client: PostgresClient { self.stage.client }

    // MARK: - What runs

    @Test("one that runs ends within a second, on the server as well, and its connection is used again")
    func running() async throws {
        let pid = try await self.client.pid()
        let sleeping = try await self.stage.sleeping(pid)
        let start = ContinuousClock.now
        sleeping.cancel()
        #expect(try await sleeping.error()?.code == .cancelled)
        #expect(start.duration(to: .now) < .seconds(1))
        #expect(try await eventually(within: .seconds(1)) { try await self.stage.isRunning(pid) ? nil : true } == true)
        #expect(try await self.client.pid() == pid)
        #expect(self.client.pool.counts.used == 0)
    }

    @Test("those sent behind it succeed, each exactly once, and on the same connection")
    func innocents() async throws {
        let ledger = try await Ledger(in: self.client)
        let pid = try await self.client.pid()
        let sleeping = try await self.stage.sleeping(pid)
        let innocents = try await self.stage.sent(by: (0..<12).map { _ in .statement }, ledger)
        sleeping.cancel()
        #expect(try await sleeping.error()?.code == .cancelled)
        for innocent in innocents { try await innocent.value() }
        #expect(ledger.done == 12)
        #expect(try await ledger.contradictions(self.stage.observer) == [])
        #expect(try await self.client.pid() == pid)
    }

    @Test("a cancel that comes too late hits nobody else")
    func late() async throws {
        let ledger = try await Ledger(in: self.client)
        let pid = try await self.client.pid()
        for round in 0..<50 {
            // Done by itself at about the time that the server is asked to cancel it.
            let seconds = 0.003 + Double(round % 10) / 1_000
            let before = self.stage.proxy.counts.requests
            let first = Attempt { try await self.client.query("SELECT pg_sleep(\(seconds))") }
            try await self.stage.waitUntilSent(before + 1)
            let innocents = (0..<4).map { _ in Attempt { try await ledger.write(.slowStatement, with: self.client) } }
            first.cancel()
            for innocent in innocents {
                let error = try await innocent.error()
                #expect(error == nil, "round \(round)")
            }
            _ = try await first.result()
        }
        #expect(ledger.done == 200)
        #expect(try await ledger.contradictions(self.stage.observer) == [])
        #expect(try await self.client.pid() == pid)
    }

    @Test("one that waits behind a slow one does not disturb it, nor those around it")
    func queued() async throws {
        let ledger = try await Ledger(in: self.client)
        let pid = try await self.client.pid()
        let slow = Attempt { try await self.client.number("SELECT 7 FROM pg_sleep(1)") }
        try await self.stage.waitUntilSleeping(pid)
        let queued = try await self.stage.sent(by: (0..<8).map { _ in .statement }, ledger)
        for index in queued.indices where index % 2 == 0 { queued[index].cancel() }
        #expect(try await slow.value() == 7)
        for (index, attempt) in queued.enumerated() {
            let error = try await attempt.error()
            #expect(index % 2 == 0 ? error.map { $0.code == .cancelled } ?? true : error == nil)
        }
        #expect(ledger.done >= 4)
        #expect(try await ledger.contradictions(self.stage.observer) == [])
    }

    @Test("one that the server has finished already answers its result")
    func finished() async throws {
        let ledger = try await Ledger(in: self.client)
        let pid = try await self.client.pid()
        // The answer is on its way, and does not arrive before the cancel.
        self.stage.proxy.behave(.holds(.answers))
        let writing = Attempt { try await ledger.write(.statement, with: self.client) }
        try await self.stage.wait { try await self.stage.rows() == 1 }
        let before = self.stage.proxy.counts.connections
        writing.cancel()
        // The cancel request is a connection of its own.
        let isAsked = try await eventually(within: .seconds(3)) {
            self.stage.proxy.counts.connections > before ? true : nil
        }
        #expect(isAsked == true)
        self.stage.proxy.behave(.pass)
        try await writing.value(within: .seconds(2))
        #expect(try await ledger.contradictions(self.stage.observer) == [])
        #expect(try await self.client.pid() == pid)
    }

    @Test("one whose task was cancelled before does nothing at all")
    func before() async throws {
        let ledger = try await Ledger(in: self.client)
        let writing = Attempt {
            withUnsafeCurrentTask { $0?.cancel() }
            try await ledger.write(.statement, with: self.client)
        }
        #expect(try await writing.error()?.code == .cancelled)
        #expect(try await self.stage.rows() == 0)
        #expect(self.client.pool.counts.used == 0)
    }

    @Test("one that takes longer than it may is ended by the server, and its connection is used again")
    func statementTimeout() async throws {
        let client = self.stage.another { $0.statementTimeout = .milliseconds(200) }
        defer { client.close() }
        let pid = try await client.pid()
        let sleeping = Attempt { try await client.query("SELECT pg_sleep(30)") }
        let error = try await sleeping.error(within: .seconds(3))
        #expect(error?.code == .cancelled)
        #expect(error?.sqlState == "57014")
        #expect(try await client.pid() == pid)
    }

    // MARK: - Transactions, and waiting

    @Test("a transaction rolls back, and its connection is used again")
    func transaction() async throws {
        _ = try await Ledger(in: self.client)
        let pid = try await self.client.pid()
        let running = Attempt {
            try await self.client.transaction { tx in
                try await tx.query("INSERT INTO entry VALUES (1, 0)")
                try await tx.query("SELECT pg_sleep(30)")
            }
        }
        try await self.stage.waitUntilSleeping(pid)
        running.cancel()
        #expect(try await running.error(within: .seconds(2))?.code == .cancelled)
        #expect(try await self.stage.rows() == 0)
        #expect(try await self.client.pid() == pid)
        #expect(self.client.pool.counts.used == 0)
    }

    @Test("one that waits for a connection waits no longer, and whoever has it is not disturbed")
    func waiting() async throws {
        let (gate, opener) = AsyncStream<Void>.makeStream()
        let holding = Attempt {
            try await self.client.transaction { tx in
                try await tx.query("SELECT 1")
                for await _ in gate { break }
                return try await tx.query("SELECT 7").count
            }
        }
        try await self.stage.wait { self.client.pool.counts.used == 1 }
        let waiting = Attempt { try await self.client.query("SELECT 2") }
        let alone = Attempt { try await self.client.transaction { tx in try await tx.query("SELECT 3") } }
        try await self.stage.wait { self.client.pool.counts.waiting == 2 }
        waiting.cancel()
        alone.cancel()
        #expect(try await waiting.error(within: .seconds(1))?.code == .cancelled)
        #expect(try await alone.error(within: .seconds(1))?.code == .cancelled)
        #expect(self.client.pool.counts.waiting == 0)
        opener.yield()
        #expect(try await holding.value() == 1)
        #expect(self.client.pool.counts.used == 0)
    }

    // MARK: - Streams and COPY

    @Test("a stream that is read ends, and its connection is used again")
    func stream() async throws {
        let pid = try await self.client.pid()
        let read = Atomic(0)
        let reading = Attempt {
            try await self.client.stream("SELECT generate_series(1, 1000000000) AS n") { rows in
                for try await _ in rows { read.add(1, ordering: .relaxed) }
            }
        }
        try await self.stage.wait { read.load(ordering: .relaxed) > 2_000 }
        reading.cancel()
        #expect(try await reading.error(within: .seconds(2))?.code == .cancelled)
        #expect(try await self.client.pid() == pid)
    }

    @Test("a COPY that is read ends, and its connection is used again")
    func copyOut() async throws {
        let pid = try await self.client.pid()
        let read = Atomic(0)
        let reading = Attempt {
            try await self.client.copyOut("COPY (SELECT generate_series(1, 1000000000)) TO STDOUT") { pieces in
                for try await piece in pieces { read.add(piece.count, ordering: .relaxed) }
            }
        }
        try await self.stage.wait { read.load(ordering: .relaxed) > 500_000 }
        reading.cancel()
        #expect(try await reading.error(within: .seconds(2))?.code == .cancelled)
        #expect(try await self.client.pid() == pid)
    }

    @Test("a COPY that is written leaves nothing behind, and its connection is used again")
    func copyIn() async throws {
        _ = try await Ledger(in: self.client)
        let pid = try await self.client.pid()
        let written = Atomic(0)
        let writing = Attempt {
            try await self.client.copyIn("entry", columns: ["id", "part"]) { writer in
                while true {
                    try await writer.write(written.load(ordering: .relaxed), 0)
                    written.add(1, ordering: .relaxed)
                }
            }
        }
        try await self.stage.wait { written.load(ordering: .relaxed) > 50_000 }
        writing.cancel()
        #expect(try await writing.error(within: .seconds(2))?.code == .cancelled)
        #expect(try await self.stage.rows() == 0)
        #expect(try await self.client.pid() == pid)
    }

    @Test("a COPY that is cancelled when all is written leaves a connection that can be used")
    func copyEnd() async throws {
        _ = try await Ledger(in: self.client)
        let writing = Attempt {
            try await self.client.copyIn("entry", columns: ["id", "part"]) { _ in
                withUnsafeCurrentTask { $0?.cancel() }
            }
        }
        _ = try await writing.result(within: .seconds(2))
        #expect(try await self.client.pid(within: .seconds(3)) > 0)
        #expect(self.client.pool.counts.used == 0)
    }
}

/// A pool of one connection through a proxy, and somebody who looks on from beside it.
private final class Stage: Sendable {
    let proxy: FaultyProxy
    let client: PostgresClient
    let observer: PostgresClient
    private let url: String

    init() async throws {
        let direct = try await TestCluster.shared.database("cancelled")
        let port = try #require(URLComponents(string: direct)?.port)
        let proxy = try FaultyProxy(to: port)
        self.proxy = proxy
        self.url = direct.replacingOccurrences(of: ":\(port)/", with: ":\(proxy.port)/")
        self.client = Self.client(self.url) { _ in }
        self.observer = Self.client(direct) { _ in }
    }

    deinit {
        self.client.close()
        self.observer.close()
        self.proxy.close()
    }

    private static func client(_ url: String, _ adjust: (inout PostgresConfiguration) -> Void) -> PostgresClient {
        var configuration = PostgresConfiguration(url: url, applicationName: "test")
        configuration.maximumConnections = 1
        adjust(&configuration)
        return PostgresClient(configuration: configuration, logger: Logger(label: "test"))
    }

    func another(_ adjust: (inout PostgresConfiguration) -> Void) -> PostgresClient { Self.client(self.url, adjust) }

    /// A statement that the server is at work on, for long.
    func sleeping(_ pid: Int) async throws -> Attempt<PostgresResult> {
        let sleeping = Attempt { [client] in try await client.query("SELECT pg_sleep(30)") }
        try await self.waitUntilSleeping(pid)
        return sleeping
    }

    func waitUntilSleeping(_ pid: Int) async throws {
        try await self.wait { try await self.isRunning(pid) }
    }

    /// Waits for what a test cannot go on without.
    func wait(_ condition: () async throws -> Bool) async throws {
        let isTrue = try await eventually(within: .seconds(5)) { try await condition() ? true : nil }
        try #require(isTrue == true, "it has not come to that")
    }

    /// Whether that process of the server is at work on something that sleeps.
    func isRunning(_ pid: Int) async throws -> Bool {
        let rows = try await self.observer.answer(
            "SELECT FROM pg_stat_activity WHERE pid = \(pid) AND state = 'active' AND wait_event = 'PgSleep'")
        return !rows.isEmpty
    }

    /// Begins to write, and returns when most of it is on its way to the server.
    func sent(by kinds: [Ledger.Kind], _ ledger: Ledger) async throws -> [Attempt<Void>] {
        let before = self.proxy.counts.requests
        let attempts = kinds.map { kind in Attempt { [client] in try await ledger.write(kind, with: client) } }
        // Less than one INSERT takes, in every way that it can travel.
        try await self.waitUntilSent(before + kinds.count * 50)
        return attempts
    }

    /// Waits until so many bytes have gone to the server, without losing time.
    func waitUntilSent(_ bytes: Int) async throws {
        let deadline = ContinuousClock.now + .seconds(5)
        while self.proxy.counts.requests < bytes {
            try #require(ContinuousClock.now < deadline, "not all was sent")
            await Task.yield()
        }
    }

    /// Rows that are there for others to see.
    func rows() async throws -> Int { try await self.observer.number("SELECT count(*) FROM entry") }
}

/// Something under way that a test can cancel, and wait for no longer than it wants to.
final class Attempt<Value: Sendable>: Sendable {
    struct StillRunning: Error, CustomStringConvertible {
        var limit: Duration
        var description: String { "it has not ended within \(self.limit)" }
    }

    private final class End: Sendable {
        let result = Mutex<(Result<Value, any Error>, after: Duration)?>(nil)
    }

    private let end: End
    private let task: Task<Void, Never>

    init(_ operation: @escaping @Sendable () async throws -> Value) {
        let end = End()
        let start = ContinuousClock.now
        self.end = end
        self.task = Task {
            let result: Result<Value, any Error>
            do { result = .success(try await operation()) } catch { result = .failure(error) }
            end.result.withLock { $0 = (result, start.duration(to: .now)) }
        }
    }

    func cancel() { self.task.cancel() }

    var hasEnded: Bool { self.end.result.withLock { $0 != nil } }

    /// How long it took; `nil` while it runs.
    var duration: Duration? { self.end.result.withLock { $0?.after } }

    /// - Throws: ``StillRunning`` where it has not ended in time.
    func result(within limit: Duration = .seconds(15)) async throws -> Result<Value, any Error> {
        let result = try await eventually(within: limit) { self.end.result.withLock { $0?.0 } }
        guard let result else { throw StillRunning(limit: limit) }
        return result
    }

    @discardableResult
    func value(within limit: Duration = .seconds(15)) async throws -> Value {
        try await self.result(within: limit).get()
    }

    /// What the client made of it; `nil` where it succeeded.
    func error(within limit: Duration = .seconds(15)) async throws -> PostgresError? {
        switch try await self.result(within: limit) {
        case .success: return nil
        case .failure(let error as PostgresError): return error
        case .failure(let error): throw error
        }
    }
}

extension PostgresClient {
    /// As ``query(_:)``, but the test goes on where it hangs.
    @discardableResult
    func answer(_ sql: SQL, within limit: Duration = .seconds(15)) async throws -> PostgresResult {
        try await Attempt { try await self.query(sql) }.value(within: limit)
    }

    /// The server's process that serves the connection of a pool of one.
    func pid(within limit: Duration = .seconds(15)) async throws -> Int {
        try await self.number("SELECT pg_backend_pid()::bigint", within: limit)
    }

    /// The one number that a statement answers.
    func number(_ sql: SQL, within limit: Duration = .seconds(15)) async throws -> Int {
        let row = try #require(try await self.answer(sql, within: limit).first)
        return try row.decode(Int.self)
    }

    /// Whether it answers by itself again within the limit.
    func recovers(within limit: Duration = .seconds(5)) async throws -> Bool {
        let end = ContinuousClock.now + limit
        let recovered = try await eventually(within: limit) {
            let rest = ContinuousClock.now.duration(to: end)
            return try? await self.answer("SELECT 1 AS one", within: max(.milliseconds(50), rest)).count
        }
        return recovered == 1
    }
}
