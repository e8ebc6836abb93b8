import Foundation
import LanternEvents
import LanternKafka
import Logging
import TransportConformance

/// Holds a Kafka that is there against what the platform takes for granted of it, and tells of each promise in a line.
///
/// Everything it makes has new names; topics are left behind, because nothing here deletes any. Exits with 0 where all
/// that could be tried went well, with 1 where a promise was broken, with 2 where it could not begin.
@main
enum ConformanceTool {
    static func main() async {
        do {
            let options = try ToolOptions(
                arguments: Array(CommandLine.arguments.dropFirst()), environment: ProcessInfo.processInfo.environment)
            exit(try await Self.run(options) ? 0 : 1)
        } catch {
            FileHandle.standardError.write(Data("conformance: \(error)\n".utf8))
            exit(2)
        }
    }

    /// - Returns: Whether no promise was broken.
    private static func run(_ options: ToolOptions) async throws -> Bool {
        var logger = Logger(label: "conformance") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .critical
        let admin = try KafkaAdmin(configuration: options.configuration, logger: logger)
        do {
            _ = try await admin.topics()
        } catch {
            throw Misuse("no broker answers at \(options.configuration.bootstrapServers): \(error)")
        }
        let prefix = "lantern-conformance-\(String(UInt32.random(in: 0x1000_0000...UInt32.max), radix: 16))"
        let refusal = await Self.refusal(admin, prefix)
        if let refusal { Self.tell("topics are left to the broker to make, because it did not create one: \(refusal)") }
        let creation: ConformanceRun.TopicCreation = { name, partitions in
            _ = try await admin.create(KafkaTopicSpecification(name, partitions: partitions))
        }
        let run = ConformanceRun(
            KafkaTransport(options.configuration), createTopic: refusal == nil ? creation : nil, prefix: prefix,
            exceptions: options.exceptions, logger: logger)
        try await Self.demandTopics(run)
        let checks = ConformanceCheck.all + KafkaChecks(options.configuration, admin, refusal: refusal).all
        let results = await run.run(checks, report: { Self.tell("\($0)") })
        await admin.close()

        let skipped = results.filter { if case .skipped = $0.verdict { true } else { false } }
        let failed = results.filter { if case .failed = $0.verdict { true } else { false } }
        let passed = results.count - failed.count - skipped.count
        Self.tell("\(passed) passed, \(failed.count) failed, \(skipped.count) skipped")
        Self.tell("topics that were made begin with \(prefix); they can be deleted")
        return failed.isEmpty
    }

    /// Why topics cannot be created here; `nil` where they can.
    private static func refusal(_ admin: KafkaAdmin, _ prefix: String) async -> String? {
        do {
            try await admin.create(KafkaTopicSpecification("\(prefix)-probe", partitions: 1))
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// Without topics each check would wait in vain.
    private static func demandTopics(_ run: ConformanceRun) async throws {
        let probe = ConformanceCheck("a topic can be had") { context in
            _ = try await context.topic("probe")
            return .passed
        }
        let result = await run.result(of: probe)
        if case .failed(let reason) = result.verdict { throw Misuse("no topic can be had: \(reason)") }
    }

    /// At once, whatever standard output is.
    private static func tell(_ line: String) { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }
}
