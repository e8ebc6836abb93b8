import Foundation
@testable import LanternPostgres
import Logging
import Synchronization
import Testing
import TestSupport

@Suite("A pool that a thousand tasks share", .serialized, .timeLimit(.minutes(3)))
struct StressTests {
    /// A whole minute with `LANTERN_STRESS_SECONDS=60`.
    private static let duration: Duration = .seconds(
        ProcessInfo.processInfo.environment["LANTERN_STRESS_SECONDS"].flatMap { Double($0) } ?? 8)
    /// What a task may wait for a connection, and then for its answer.
    private static let patience: Duration = .seconds(10)
    private static let slack: Duration = .seconds(5)

    @Test("a thousand tasks that are cancelled at random all get their turn, and leave all connections free")
    func thousand() async throws {
        var configuration = PostgresConfiguration(
            url: try await TestCluster.shared.database("stress"), applicationName: "stress")
        configuration.maximumConnections = 8
        configuration.maximumWaiters = 2_000
        configuration.acquireTimeout = Self.patience
        let client = PostgresClient(configuration: configuration, logger: Logger(label: "test"))
        defer { client.close() }
        let ledger = try await Ledger(in: client)
        let tally = Tally()
        let end = ContinuousClock.now + Self.duration
        let load = Attempt {
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<1_000 {
                    group.addTask {
                        var dice = SeededGenerator(seed: UInt64(number))
                        // What it does first it waits for.
                        var mayChange = false
                        while ContinuousClock.now < end {
                            await Self.step(number, client, ledger, tally, mayChange, &dice)
                            mayChange = true
                        }
                    }
                }
            }
        }
        try await load.value(within: Self.duration + Self.patience + Self.slack)

        let counts = client.pool.counts
        #expect(counts.used == 0)
        #expect(counts.waiting == 0)
        #expect(counts.total <= 8)
        #expect(tally.complaints.prefix(10) == [])
        // One that never had an answer starved.
        #expect(tally.tasksWithAnswers == 1_000)
        #expect(tally.cancelled > 0)
        #expect(tally.longest < Self.patience + Self.slack)
        #expect(try await ledger.contradictions(client).prefix(10) == [])
        let sessions = try await client.number(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stress'")
        #expect(sessions <= 8)
    }

    /// One thing that a task does, which it may change its mind about.
    private static func step(
        _ number: Int, _ client: PostgresClient, _ ledger: Ledger, _ tally: Tally, _ mayChange: Bool,
        _ dice: inout SeededGenerator
    ) async {
        let kind = Ledger.Kind.allCases.randomElement(using: &dice) ?? .statement
        let isReading = Int.random(in: 0..<4, using: &dice) == 0
        let isChanging = Int.random(in: 0..<3, using: &dice) == 0 && mayChange
        let delay: Duration = .microseconds(Int.random(in: 0...20_000, using: &dice))
        let start = ContinuousClock.now
        let work = Task {
            if isReading {
                try await client.query("SELECT pg_sleep(0.01)")
            } else {
                try await ledger.write(kind, with: client)
            }
        }
        if isChanging {
            try? await Task.sleep(for: delay)
            work.cancel()
        }
        let result = await work.result
        tally.add(number, result, isCancelled: isChanging, start.duration(to: .now))
    }
}

/// How it went for all tasks.
private final class Tally: Sendable {
    private struct State {
        var answered: Set<Int> = []
        var cancelled = 0
        var longest: Duration = .zero
        var complaints: [String] = []
    }

    private let state = Mutex(State())

    var tasksWithAnswers: Int { self.state.withLock { $0.answered.count } }
    var cancelled: Int { self.state.withLock { $0.cancelled } }
    var longest: Duration { self.state.withLock { $0.longest } }
    var complaints: [String] { self.state.withLock { $0.complaints } }

    func add(_ task: Int, _ result: Result<Void, any Error>, isCancelled: Bool, _ duration: Duration) {
        self.state.withLock { state in
            state.longest = max(state.longest, duration)
            switch result {
            case .success:
                state.answered.insert(task)
            case .failure(let error as PostgresError) where error.code == .cancelled && isCancelled:
                state.cancelled += 1
            case .failure(let error):
                state.complaints.append("\(isCancelled ? "cancelled" : "not cancelled"): \(error)")
            }
        }
    }
}

/// What tasks were told of the rows that they wrote, to be held against those that are there.
final class Ledger: Sendable {
    enum Kind: CaseIterable {
        /// An INSERT by itself, and one that takes its time.
        case statement, slowStatement
        /// Two INSERTs that belong together, one by one and in one round trip.
        case transaction, batch

        fileprivate var whole: [Int: Int] {
            switch self {
            case .statement, .slowStatement: [0: 1]
            case .transaction, .batch: [1: 1, 2: 1]
            }
        }
    }

    private enum Word { case nothing, done, unknown, refused(any Error) }

    private struct State {
        var next: Int
        var entries: [Int: (kind: Kind, word: Word)] = [:]
        var done = 0
    }

    private let first: Int
    private let state: Mutex<State>

    /// Makes the table where there is none.
    /// - Parameter first: Number of the first row; another ledger may have those before it.
    init(in client: PostgresClient, from first: Int = 1) async throws {
        self.first = first
        self.state = Mutex(State(next: first))
        // Without a key, so that a row that was written twice is there twice.
        try await client.answer("CREATE TABLE IF NOT EXISTS entry (id bigint NOT NULL, part bigint NOT NULL)")
    }

    /// How many were told to be done.
    var done: Int { self.state.withLock { $0.done } }

    func write(_ kind: Kind, with client: PostgresClient) async throws {
        let id = self.state.withLock { state in
            defer { state.next += 1 }
            state.entries[state.next] = (kind, .nothing)
            return state.next
        }
        do {
            try await Self.write(kind, id, client)
            self.state.withLock { state in
                state.entries[id]?.word = .done
                state.done += 1
            }
        } catch {
            let isUnknown = (error as? PostgresError)?.code == .unknownOutcome
            self.state.withLock { $0.entries[id]?.word = isUnknown ? .unknown : .refused(error) }
            throw error
        }
    }

    private static func write(_ kind: Kind, _ id: Int, _ client: PostgresClient) async throws {
        switch kind {
        case .statement:
            try await client.query("INSERT INTO entry (id, part) VALUES (\(id), 0)")
        case .slowStatement:
            try await client.query("INSERT INTO entry (id, part) SELECT \(id), 0 FROM pg_sleep(0.003)")
        case .transaction:
            try await client.transaction { tx in
                try await tx.query("INSERT INTO entry (id, part) VALUES (\(id), 1)")
                try await tx.query("INSERT INTO entry (id, part) VALUES (\(id), 2)")
            }
        case .batch:
            try await client.batch([
                "INSERT INTO entry (id, part) VALUES (\(id), 1)", "INSERT INTO entry (id, part) VALUES (\(id), 2)",
            ])
        }
    }

    /// Where what is there is not what the tasks were told. Nothing may be under way.
    func contradictions(_ observer: PostgresClient) async throws -> [String] {
        let (end, entries) = self.state.withLock { ($0.next, $0.entries) }
        let rows = try await observer.answer(
            """
            SELECT id, part, count(*) AS copies FROM entry WHERE id >= \(self.first) AND id < \(end) GROUP BY id, part
            """
        )
        var found: [Int: [Int: Int]] = [:]
        for row in rows {
            let (id, part, copies) = try row.decode(Int.self, Int.self, Int.self)
            found[id, default: [:]][part] = copies
        }
        return entries.sorted { $0.key < $1.key }.compactMap { id, entry in
            let parts = found[id] ?? [:]
            let isWhole = parts == entry.kind.whole
            switch entry.word {
            case .done: return isWhole ? nil : "\(id), a \(entry.kind) that was done: \(parts)"
            case .unknown, .nothing:
                return isWhole || parts.isEmpty ? nil : "\(id), a \(entry.kind) that may be done: \(parts)"
            case .refused(let error):
                return parts.isEmpty ? nil : "\(id), a \(entry.kind) that failed with \(error): \(parts)"
            }
        }
    }
}
