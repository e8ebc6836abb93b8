import LanternEvents
import LanternKafka
import LanternKafkaTesting
import Testing
import TransportConformance

@Suite("Transports keep what EventTransport promises", .serialized)
struct TransportConformanceTests {
    @Test("in one process", .timeLimit(.minutes(1)), arguments: ConformanceCheck.all)
    func inProcess(check: ConformanceCheck) async {
        // So few records that the oldest are dropped.
        let run = ConformanceRun(
            InProcessTransport(partitions: 6, maximumRecords: 10_000), patience: .seconds(30))
        Self.expectPassed(await run.result(of: check))
    }

    /// Side by side, each with a broker of its own: most of the time of a check is a group that waits for its members.
    @Test("over a Kafka-protocol broker", .timeLimit(.minutes(8)))
    func kafka() async throws {
        await withTaskGroup(of: ConformanceResult.self) { group in
            var checks = ConformanceCheck.all[...]
            func addNext() {
                guard let check = checks.popFirst() else { return }
                group.addTask { await Self.kafka(check) }
            }
            for _ in 0..<6 { addNext() }
            while let result = await group.next() {
                Self.expectPassed(result)
                addNext()
            }
        }
    }

    private static func kafka(_ check: ConformanceCheck) async -> ConformanceResult {
        let broker: EmbeddedBroker
        do {
            broker = try EmbeddedBroker()
        } catch {
            return ConformanceResult(name: check.name, verdict: .failed("\(error)"), duration: .zero)
        }
        let configuration = KafkaConfiguration(
            bootstrapServers: broker.bootstrapServers,
            // The embedded broker answers no fetch early, and a later member waits for the session time-out.
            properties: ["fetch.wait.max.ms": "10", "session.timeout.ms": "6000"], clientID: "conformance")
        let run = ConformanceRun(
            KafkaTransport(configuration), createTopic: { try broker.createTopic($0, partitions: $1) },
            patience: .seconds(90))
        return await run.result(of: check)
    }

    /// Both give occasion for every check.
    private static func expectPassed(_ result: ConformanceResult) {
        switch result.verdict {
        case .passed: break
        case .skipped(let reason): Issue.record("\(result.name): skipped: \(reason)")
        case .failed(let reason): Issue.record("\(result.name): \(reason)")
        }
    }
}
