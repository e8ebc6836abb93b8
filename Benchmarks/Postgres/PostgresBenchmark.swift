import BenchmarkSupport
import Foundation
import Glibc
import LanternPostgres
import Logging
import Metrics
import TestSupport
import Tracing

/// The client beside PostgreSQL's own tools, on one server, over one socket, with the same statements: selects by key beside
/// `pgbench -M prepared`, COPY beside `psql \copy`, a transaction in one round trip beside one of four.
@main
enum PostgresBenchmark {
    static func main() async throws {
        let url = try await TestCluster.shared.socketDatabase("bench")
        let seconds = CommandLine.arguments.dropFirst().compactMap { Int($0) }.first ?? 4
        let only = CommandLine.arguments.dropFirst().first { Int($0) == nil }
        let setup = Self.client(url, connections: 1)
        try await setup.query("CREATE TABLE product (id bigint PRIMARY KEY, name text NOT NULL)")
        try await setup.query("INSERT INTO product SELECT n, 'lamp ' || n FROM generate_series(1, 1000) AS n")
        try await setup.query("CREATE TABLE line (id bigint, product bigint, note text)")
        try await setup.query("ANALYZE")

        func runs(_ name: String) -> Bool { only.map { name.contains($0) } ?? true }
        for (name, tasks, connections, bar) in [
            ("select-64x8", 64, 8, "at least as many"), ("select-64x1", 64, 1, "at least 2.5 times as many"),
            ("select-1x1", 1, 1, "at least 0.65 times as many"),
        ] where runs(name) {
            try await Self.selects(name, url, tasks: tasks, connections: connections, seconds: seconds, bar: bar)
        }
        if runs("transaction") { try await Self.transactions(url) }
        if runs("copy") || runs("unnest") { try await Self.rows(setup, url) }
        setup.close()
    }

    static func client(_ url: String, connections: Int) -> PostgresClient {
        var configuration = PostgresConfiguration(url: url, applicationName: "bench")
        configuration.maximumConnections = connections
        configuration.minimumConnections = connections
        configuration.pipelineDepth = 64
        return PostgresClient(
            configuration: configuration, logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() })
    }

    // MARK: - Selects

    static func selects(
        _ name: String, _ url: String, tasks: Int, connections: Int, seconds: Int, bar: String
    ) async throws {
        let client = Self.client(url, connections: connections)
        var ours: [(rate: Double, cpu: Double)] = []
        var theirs: [(rate: Double, cpu: Double)] = []
        _ = try await Self.measure(client, tasks: tasks, seconds: 1)
        // In turns, so that what disturbs one disturbs both. The middle one counts: with one client, where the kernel puts the
        // two processes decides about a factor of five.
        for _ in 0..<5 {
            let (rate, cpu) = try await Self.measure(client, tasks: tasks, seconds: seconds)
            ours.append((rate, cpu))
            theirs.append(
                try await Self.pgbench(url, connections: connections, count: Int(rate) * seconds / connections))
        }
        ours.sort { $0.rate < $1.rate }
        theirs.sort { $0.rate < $1.rate }
        let (median, baseline) = (ours[2], theirs[2])
        func range(_ rounds: [(rate: Double, cpu: Double)]) -> String {
            "\(Int(rounds[2].rate)) a second (\(Int(rounds[0].rate)) to \(Int(rounds[4].rate)))"
        }
        client.close()
        Comparison(
            name: name, ours: 1e9 / median.rate, baseline: 1e9 / baseline.rate, unit: "ns",
            what: "pgbench -M prepared -c \(connections); bar: \(bar); \(range(ours)), \(range(theirs));"
                + " client's processor time \(Self.rounded(median.cpu)) and \(Self.rounded(baseline.cpu)) µs a query"
        ).report()
    }

    /// Queries a second, and microseconds of processor that one takes in this process.
    static func measure(_ client: PostgresClient, tasks: Int, seconds: Int) async throws -> (Double, Double) {
        let start = ContinuousClock.now
        let end = start + .seconds(seconds)
        let before = Self.processorTime(__rusage_who_t(RUSAGE_SELF.rawValue))
        let count = try await withThrowingTaskGroup(of: Int.self) { group in
            for task in 0..<tasks {
                group.addTask {
                    var count = 0
                    var id = Int64(task)
                    while ContinuousClock.now < end {
                        id = (id &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407)
                        let key = abs(id >> 33) % 1_000 + 1
                        let rows = try await client.query("SELECT name FROM product WHERE id = \(key)")
                        guard rows.count == 1 else { throw CancellationError() }
                        count += 1
                    }
                    return count
                }
            }
            return try await group.reduce(0, +)
        }
        let time = start.duration(to: .now).inNanoseconds / 1e9
        return (
            Double(count) / time,
            (Self.processorTime(__rusage_who_t(RUSAGE_SELF.rawValue)) - before) * 1e6 / Double(count)
        )
    }

    /// By count and not by time, for which pgbench wants a signal that threads of this process have blocked.
    static func pgbench(_ url: String, connections: Int, count: Int) async throws -> (Double, Double) {
        let script = FileManager.default.temporaryDirectory.appendingPathComponent("lantern-bench-\(getpid()).sql")
        try Data("\\set id random(1, 1000)\nSELECT name FROM product WHERE id = :id;\n".utf8).write(to: script)
        defer { try? FileManager.default.removeItem(at: script) }
        let before = Self.processorTime(__rusage_who_t(RUSAGE_CHILDREN.rawValue))
        let text = try await Self.run(
            "pgbench",
            [
                "-n", "-M", "prepared", "-c", "\(connections)", "-j", "\(min(2, connections))", "-t", "\(count)",
                "-f", script.path, url,
            ])
        let cpu = Self.processorTime(__rusage_who_t(RUSAGE_CHILDREN.rawValue)) - before
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("tps = ") }),
            let rate = Double(line.split(separator: " ")[2])
        else { throw Failure(text) }
        return (rate, cpu * 1e6 / Double(count * connections))
    }

    // MARK: - Transactions

    static func transactions(_ url: String) async throws {
        let client = Self.client(url, connections: 1)
        let count = 2_000
        let batch = try await Self.best {
            for index in 0..<count {
                try await client.batch(
                    [
                        "INSERT INTO line VALUES (\(index), 1, 'a')", "INSERT INTO line VALUES (\(index), 2, 'b')",
                    ], isolation: .repeatableRead)
            }
        }
        let known = try await Self.best {
            for index in 0..<count {
                try await client.batch([
                    "INSERT INTO line VALUES (\(index), 1, 'a')", "INSERT INTO line VALUES (\(index), 2, 'b')",
                ])
            }
        }
        let single = try await Self.best {
            for index in 0..<count {
                try await client.transaction { tx in
                    try await tx.query("SELECT 1")
                    try await tx.query("INSERT INTO line VALUES (\(index), 1, 'a')")
                    try await tx.query("INSERT INTO line VALUES (\(index), 2, 'b')")
                }
            }
        }
        client.close()
        for (name, time, what) in [
            ("transaction-pipelined", batch, "BEGIN, two inserts, COMMIT in one round trip; baseline: in four"),
            ("transaction-implicit", known, "two inserts under one Sync; baseline: four round trips"),
        ] {
            Comparison(
                name: name, ours: time / Double(count) * 1e6, baseline: single / Double(count) * 1e6, unit: "µs",
                what: what
            ).report()
        }
    }

    // MARK: - Many rows

    static func rows(_ client: PostgresClient, _ url: String) async throws {
        let count = 100_000
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("lantern-bench-\(getpid()).tsv")
        let text = (0..<count).map { "\($0)\t\($0 % 1_000)\tnote \($0)\n" }.joined()
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }

        let copy = try await Self.best(before: { try await client.query("TRUNCATE line") }) {
            let rows = try await client.copyIn("line", columns: ["id", "product", "note"]) { writer in
                for index in 0..<count { try await writer.write(index, index % 1_000, "note \(index)") }
            }
            guard rows == count else { throw Failure("\(rows) rows") }
        }
        let unnest = try await Self.best(before: { try await client.query("TRUNCATE line") }) {
            let ids = Array(0..<count)
            try await client.query(
                """
                INSERT INTO line SELECT * FROM unnest(\(ids), \(ids.map { $0 % 1_000 }), \(ids.map { "note \($0)" }))
                """
            )
        }
        let psql = try await Self.best(before: { try await client.query("TRUNCATE line") }) {
            _ = try await Self.run("psql", ["-q", "-c", "\\copy line FROM '\(file.path)'", url])
        }
        for (name, time, bar) in [("copy-100k", copy, 0.8), ("unnest-100k", unnest, 0.35)] {
            Comparison(
                name: name, ours: time * 1e3, baseline: psql * 1e3, unit: "ms",
                what: "psql \\copy of the same rows; bar: ratio \(bar)"
            ).report()
        }
    }

    // MARK: - Measuring

    struct Failure: Error, CustomStringConvertible {
        var description: String
        init(_ description: String) { self.description = description }
    }

    /// Seconds of the best of several rounds.
    static func best(before: () async throws -> Void = {}, _ body: () async throws -> Void) async throws -> Double {
        var best = Double.infinity
        for _ in 0..<5 {
            try await before()
            let start = ContinuousClock.now
            try await body()
            best = min(best, start.duration(to: .now).inNanoseconds / 1e9)
        }
        return best
    }

    /// Seconds that this process, or its children that have ended, used of the processors.
    static func processorTime(_ who: __rusage_who_t) -> Double {
        var usage = rusage()
        getrusage(who, &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    static func rounded(_ value: Double) -> Double { (value * 10).rounded() / 10 }

    static func run(_ tool: String, _ arguments: [String]) async throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/\(tool)")
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let text = await Task.detached {
            String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        }.value
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure(text) }
        return text
    }
}
