import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import LanternHTTP
import LanternKafkaTesting
import LanternMetrics
import LanternPostgres
import Logging
import NIOCore
import Synchronization
import Testing
import TestSupport

@testable import Lantern

/// A service with a database and an outbox, as far as its probes go: assembled, and nothing of it runs.
private struct ProbedService {
    /// The body of `/readyz`.
    struct Answer: Decodable {
        struct Dependency: Decodable {
            var status: String
            var required: Bool
            var age_seconds: Double
            var detail: String?
        }

        var status: String
        var dependencies: [String: Dependency]
    }

    let readiness: Readiness
    private let database: PostgresClient
    private let application: Application<RouterResponder<PlatformContext>>

    /// - Parameter database: A connection URI; a new, empty database where it is `nil`.
    init(database: String? = nil, kafka: String) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let url: String
        if let database { url = database } else { url = try await TestCluster.shared.database("probed") }
        let platform = Platform(
            name: "probed", settings: Settings(environment: ["DATABASE_URL": url, "KAFKA_BOOTSTRAP_SERVERS": kafka]),
            logger: logger
        )
        let client = try platform.postgres(migrations: [])
        _ = try platform.outbox(in: client)
        let router = Router(context: PlatformContext.self)
        AdminRoutes(readiness: platform.readiness, registry: MetricsRegistry()).register(on: router)
        self.readiness = platform.readiness
        self.database = client
        self.application = Application(router: router, logger: logger)
    }

    func readyz() async throws -> (code: Int, answer: Answer) {
        let response = try await self.application.test(.router) { client in
            try await client.executeRequest(uri: "/readyz", method: .get, headers: [:], body: nil)
        }
        #expect(response.headers[.contentType] == "application/json")
        #expect(response.headers[.cacheControl] == "no-store")
        let body = Data(response.body.readableBytesView)
        return (response.status.code, try JSONDecoder().decode(Answer.self, from: body))
    }

    func close() { self.database.close() }
}

@Suite("Whether a service is ready, over HTTP")
struct ReadyzTests {
    /// A URI of a server that is not there: libpq finds no socket in a folder that does not exist.
    private static let noDatabase = "postgresql:///probed?host=/nonexistent"

    @Test("a service whose dependencies answer is up, and each dependency is shown with its age")
    func up() async throws {
        let broker = try EmbeddedBroker()
        defer { broker.stop() }
        let service = try await ProbedService(kafka: broker.bootstrapServers)
        defer { service.close() }
        service.readiness.started()

        let start = ContinuousClock.now
        let (code, answer) = try await service.readyz()
        let elapsed = start.duration(to: .now) / Duration.seconds(1)
        #expect(code == 200)
        #expect(answer.status == "up")
        #expect(Set(answer.dependencies.keys) == ["kafka", "postgres"])
        let kafka = try #require(answer.dependencies["kafka"])
        #expect(kafka.status == "up")
        #expect(!kafka.required)
        #expect(kafka.detail == nil)
        let postgres = try #require(answer.dependencies["postgres"])
        #expect(postgres.status == "up")
        #expect(postgres.required)
        #expect(postgres.detail == nil)
        // Both were asked for this answer.
        #expect((0...elapsed).contains(kafka.age_seconds))
        #expect((0...elapsed).contains(postgres.age_seconds))
    }

    @Test("without a broker a service is degraded, and ready all the same")
    func brokerAway() async throws {
        let broker = try EmbeddedBroker()
        defer { broker.stop() }
        broker.setDown(true)
        let service = try await ProbedService(kafka: broker.bootstrapServers)
        defer { service.close() }
        service.readiness.started()

        let (code, answer) = try await service.readyz()
        #expect(code == 200)
        #expect(answer.status == "degraded")
        let kafka = try #require(answer.dependencies["kafka"])
        #expect(kafka.status == "degraded")
        #expect(!kafka.required)
        #expect(kafka.detail == "unavailable")
        #expect(answer.dependencies["postgres"]?.status == "up")
    }

    @Test("a broker that goes is noticed, and so is its return; the service is ready all the while")
    func brokerGoesAndComesBack() async throws {
        let broker = try EmbeddedBroker()
        defer { broker.stop() }
        let service = try await ProbedService(kafka: broker.bootstrapServers)
        defer { service.close() }
        service.readiness.started()

        func becomes(_ status: String) async throws -> Bool {
            try await eventually { () -> Bool? in
                let (code, answer) = try await service.readyz()
                #expect(code == 200)
                return answer.dependencies["kafka"]?.status == status && answer.status == status ? true : nil
            } ?? false
        }
        #expect(try await becomes("up"))
        broker.setDown(true)
        #expect(try await becomes("degraded"))
        broker.setDown(false)
        #expect(try await becomes("up"))
    }

    @Test("one broker of several is enough")
    func oneOfSeveral() async throws {
        let away = try EmbeddedBroker()
        defer { away.stop() }
        away.setDown(true)
        let broker = try EmbeddedBroker()
        defer { broker.stop() }
        let service = try await ProbedService(kafka: "\(away.bootstrapServers),\(broker.bootstrapServers)")
        defer { service.close() }
        service.readiness.started()

        let (code, answer) = try await service.readyz()
        #expect(code == 200)
        #expect(answer.dependencies["kafka"]?.status == "up")
    }

    @Test("without its own database a service is not ready, whatever Kafka says", arguments: [false, true])
    func databaseAway(brokerIsAway: Bool) async throws {
        let broker = try EmbeddedBroker()
        defer { broker.stop() }
        broker.setDown(brokerIsAway)
        let service = try await ProbedService(database: Self.noDatabase, kafka: broker.bootstrapServers)
        defer { service.close() }
        service.readiness.started()

        let (code, answer) = try await service.readyz()
        #expect(code == 503)
        #expect(answer.status == "down")
        let postgres = try #require(answer.dependencies["postgres"])
        #expect(postgres.status == "down")
        #expect(postgres.required)
        #expect(postgres.detail == "connect")
        #expect(answer.dependencies["kafka"]?.status == (brokerIsAway ? "degraded" : "up"))
    }

    @Test("a service that starts is not ready, though its dependencies are up")
    func starting() async throws {
        let broker = try EmbeddedBroker()
        defer { broker.stop() }
        let service = try await ProbedService(kafka: broker.bootstrapServers)
        defer { service.close() }

        let (code, answer) = try await service.readyz()
        #expect(code == 503)
        #expect(answer.status == "starting")
        #expect(answer.dependencies.mapValues(\.status) == ["kafka": "up", "postgres": "up"])
    }

    @Test("a service that drains is not ready, though its dependencies are up, and a late start does not undo it")
    func draining() async throws {
        let broker = try EmbeddedBroker()
        defer { broker.stop() }
        let service = try await ProbedService(kafka: broker.bootstrapServers)
        defer { service.close() }
        service.readiness.draining()
        service.readiness.started()

        let (code, answer) = try await service.readyz()
        #expect(code == 503)
        #expect(answer.status == "draining")
        #expect(answer.dependencies.mapValues(\.status) == ["kafka": "up", "postgres": "up"])
    }
}

/// Holds whoever waits, until it is opened.
private struct Gate: Sendable {
    private let opening: AsyncStream<Void>.Continuation
    private let opened: Task<Void, Never>

    init() {
        let (stream, opening) = AsyncStream.makeStream(of: Void.self)
        self.opening = opening
        self.opened = Task { for await _ in stream {} }
    }

    func open() { self.opening.finish() }

    /// Goes on when the gate is open, and not because the task is cancelled.
    func wait() async { await self.opened.value }
}

private final class Counter: Sendable {
    private let count = Mutex(0)

    var value: Int { self.count.withLock { $0 } }

    /// - Returns: How many there are with this one.
    @discardableResult
    func add() -> Int {
        self.count.withLock { count in
            count += 1
            return count
        }
    }
}

@Suite("How dependencies are asked")
struct ReadinessTests {
    private struct Refused: Error, CustomStringConvertible {
        var description: String { "password s3cret of ada was refused" }
    }

    @Test("a dependency that only degrades leaves a service ready; a required one does not")
    func required() async {
        let readiness = Readiness()
        readiness.started()
        readiness.add("kafka", required: false) { throw Refused() }
        #expect(await readiness.report().ready)
        readiness.add("postgres", required: true) { throw Refused() }
        let report = await readiness.report()
        #expect(!report.ready)
        #expect(report.dependencies.mapValues(\.status) == ["kafka": .degraded, "postgres": .down])
    }

    @Test(
        "status and readiness follow from one phase and what the dependencies say",
        arguments: [
            (.starting, [], .starting, false), (.starting, [.up], .starting, false),
            (.serving, [], .up, true), (.serving, [.up, .up], .up, true),
            (.serving, [.up, .degraded], .degraded, true), (.serving, [.degraded, .down], .down, false),
            (.draining, [.up], .draining, false), (.draining, [.down], .draining, false),
        ] as [(Readiness.Phase, [Readiness.Dependency.Status], Readiness.Report.Status, Bool)]
    )
    func status(
        phase: Readiness.Phase, statuses: [Readiness.Dependency.Status], status: Readiness.Report.Status, ready: Bool
    ) {
        var report = Readiness.Report(phase: phase, dependencies: [:])
        for (index, status) in statuses.enumerated() {
            report.dependencies["\(index)"] = Readiness.Dependency(status: status, required: true, age_seconds: 0)
        }
        #expect(report.status == status)
        #expect(report.ready == ready)
    }

    @Test("a service that begins to drain while it is asked says so, and is not ready")
    func drainsMeanwhile() async {
        let readiness = Readiness()
        readiness.started()
        readiness.add("kafka", required: false) { [weak readiness] in readiness?.draining() }
        let report = await readiness.report()
        #expect(report.status == .draining)
        #expect(!report.ready)
    }

    @Test("the code of an error is shown, its text is not")
    func detail() async {
        let readiness = Readiness()
        readiness.add("kafka", required: false) { throw Refused() }
        readiness.add("postgres", required: true) {
            throw PostgresError(code: .connect, message: "password s3cret of ada was refused")
        }
        let dependencies = await readiness.report().dependencies
        #expect(dependencies.mapValues(\.detail) == ["kafka": "unavailable", "postgres": "connect"])
    }

    @Test("one probe after the other has the same answer, as long as it is fresh")
    func fresh() async {
        let asked = Counter()
        let readiness = Readiness(freshness: .seconds(3_600))
        readiness.add("kafka", required: false) { asked.add() }
        for _ in 0..<100 { _ = await readiness.report() }
        #expect(asked.value == 1)
    }

    @Test("an answer that is no longer fresh is asked for again")
    func stale() async {
        let asked = Counter()
        let readiness = Readiness(freshness: .zero)
        readiness.add("kafka", required: false) { asked.add() }
        for _ in 0..<3 { _ = await readiness.report() }
        #expect(asked.value == 3)
    }

    @Test("probes at the same time share one ask", .timeLimit(.minutes(1)))
    func shared() async {
        let probes = 100
        let (arrived, asked) = (Counter(), Counter())
        let answer = Gate()
        let readiness = Readiness(freshness: .seconds(3_600), timeLimit: .seconds(3_600))
        readiness.started()
        readiness.add("postgres", required: true) {
            asked.add()
            await answer.wait()
        }
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<probes {
                group.addTask {
                    // There is no answer before all have come.
                    if arrived.add() == probes { answer.open() }
                    return await readiness.report().ready
                }
            }
            for await ready in group { #expect(ready) }
        }
        #expect(asked.value == 1)
    }

    @Test("a probe that gives up does not make a dependency look away", .timeLimit(.minutes(1)))
    func cancelled() async {
        let (asked, answer) = (Gate(), Gate())
        let readiness = Readiness(freshness: .seconds(3_600), timeLimit: .seconds(3_600))
        readiness.started()
        readiness.add("postgres", required: true) {
            asked.open()
            await answer.wait()
            try Task.checkCancellation()
        }
        let probe = Task { await readiness.report().ready }
        await asked.wait()
        probe.cancel()
        answer.open()
        #expect(await probe.value)
        let report = await readiness.report()
        #expect(report.ready)
        #expect(report.dependencies.mapValues(\.detail) == ["postgres": nil])
    }

    @Test("a dependency that does not answer in time is as good as away", .timeLimit(.minutes(1)))
    func silent() async {
        let readiness = Readiness(timeLimit: .milliseconds(10))
        readiness.started()
        readiness.add("postgres", required: true) { try await Task.sleep(for: .seconds(3_600)) }
        let report = await readiness.report()
        #expect(!report.ready)
        #expect(report.dependencies["postgres"]?.status == .down)
        #expect(report.dependencies["postgres"]?.detail?.hasPrefix("no answer within") == true)
    }
}
