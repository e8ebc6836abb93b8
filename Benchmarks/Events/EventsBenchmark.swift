import BenchmarkSupport
import BrokerProcess
import Foundation
import LanternEvents
import LanternKafka
import LanternPostgres
import Logging
import TestSupport

/// The event path beside the same loops in C, on one server and one broker: the relay beside SELECT-and-produce, the
/// timeline's ingest beside COPY into the same tables; and the memory of both over a million events.
@main
enum EventsBenchmark {
    static let topic = "bench.events.v1"
    static let source = "/services/bench"
    static let logger = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }

    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == BrokerProcess.argument { return try BrokerProcess.serve(arguments.dropFirst()) }
        let only = arguments.first
        func runs(_ name: String) -> Bool { only.map { name.contains($0) } ?? true }
        let broker = try BrokerProcess(
            topics: [Self.topic: 32, "lantern-baseline-warm-up": 1, ControlMessage.topic: 1])
        defer { broker.stop() }
        if runs("relay") { try await RelayComparison.run(broker.servers) }
        if runs("ingest") { try await IngestComparison.run() }
        if runs("memory") { try await MemoryRun.run(broker.servers) }
    }

    static func transport(_ servers: String) -> KafkaTransport {
        KafkaTransport(
            KafkaConfiguration(
                bootstrapServers: servers, properties: ["fetch.wait.max.ms": "10"], clientID: "bench"))
    }

    static func database(_ name: String) async throws -> (url: String, client: PostgresClient) {
        let url = try await TestCluster.shared.socketDatabase(name)
        var configuration = PostgresConfiguration(url: url, applicationName: "bench")
        configuration.maximumConnections = 8
        return (url, PostgresClient(configuration: configuration, logger: Self.logger))
    }

    /// The middle of several rounds in turns: seconds for each.
    static func medians(
        rounds: Int, _ ours: () async throws -> Double, _ theirs: () async throws -> Double
    ) async throws -> (ours: Double, theirs: Double, spread: String) {
        var own: [Double] = []
        var other: [Double] = []
        for _ in 0..<rounds {
            own.append(try await ours())
            other.append(try await theirs())
        }
        own.sort()
        other.sort()
        func range(_ values: [Double]) -> String {
            let median = values[rounds / 2]
            return "-\(Int((1 - values[0] / median) * 100))/+\(Int((values[rounds - 1] / median - 1) * 100)) %"
        }
        return (own[rounds / 2], other[rounds / 2], "spread \(range(own)), \(range(other))")
    }

    /// Calls C; the error that it tells ends the benchmark.
    static func c(_ body: (UnsafeMutablePointer<CChar>, Int, UnsafeMutablePointer<Double>) -> Int32) throws -> Double {
        var seconds = 0.0
        var error = [CChar](repeating: 0, count: 512)
        guard body(&error, error.count, &seconds) == 0 else {
            throw BaselineError(
                description: String(decoding: error.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        return seconds
    }

    struct BaselineError: Error, CustomStringConvertible { var description: String }

    static func seconds(since start: ContinuousClock.Instant) -> Double {
        start.duration(to: .now).inNanoseconds / 1e9
    }

    /// Waits without a limit: a benchmark that hangs is seen.
    static func until(_ condition: () async throws -> Bool) async throws {
        while try await !condition() { try await Task.sleep(for: .milliseconds(2)) }
    }

    /// Appends events as `Outbox` does, by one statement.
    static func append(_ count: Int, to client: PostgresClient) async throws {
        try await client.query(
            """
            INSERT INTO outbox (id, topic, key, type, subject, subject_version, data_schema, content_type, data, tenant,
                                actor_id, actor_type, actor_ip, outcome, traceparent)
            SELECT gen_random_uuid(), \(Self.topic), 'order-' || n % 1000, 'bench.order.placed.v1',
                   'order/order-' || n % 1000, 1 + n / 1000, 'urn:lantern:event:bench.order.placed.v1', 'application/json',
                   convert_to('{"customer_id":"0198a4b2-7c00-7000-8000-000000000002","lines":[{"name":"Storm lantern",'
                     || '"product_id":"0198a4b2-7c00-7000-8000-000000000020","quantity":2}],"number":' || n || '}', 'UTF8'),
                   'default', '0198a4b2-7c00-7000-8000-000000000002', 'user', '127.0.0.1', 'success',
                   '00-' || md5(n::text) || '-' || substr(md5(n::text), 1, 16) || '-01'
            FROM generate_series(1, \(count)) AS n
            """
        )
    }
}
