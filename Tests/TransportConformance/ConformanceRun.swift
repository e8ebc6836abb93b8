public import LanternEvents
public import Logging

/// Holds a transport against what `EventTransport` promises.
///
/// All topics and groups have new names in each run, so it can run against a cluster that is in use, any number
/// of times.
public struct ConformanceRun: Sendable {
    /// Makes a topic; awaited before it is used. Its second argument is the number of partitions.
    public typealias TopicCreation = @Sendable (String, Int) async throws -> Void

    private let transport: any EventTransport
    private let createTopic: TopicCreation?
    private let prefix: String
    private let patience: Duration
    private let exceptions: [ConformanceCheck.Assumption: String]
    private let logger: Logger

    /// - Parameters:
    ///   - createTopic: `nil` where the transport creates topics by itself; it chooses the number of partitions then.
    ///   - prefix: What the names of all topics and groups begin with.
    ///   - patience: The longest wait for any one thing.
    ///   - exceptions: What does not hold for this transport, with the reason; the checks that assume it are skipped.
    public init(
        _ transport: any EventTransport, createTopic: TopicCreation? = nil, prefix: String = "lantern-conformance",
        patience: Duration = .seconds(90), exceptions: [ConformanceCheck.Assumption: String] = [:],
        logger: Logger? = nil
    ) {
        self.transport = transport
        self.createTopic = createTopic
        self.prefix = prefix
        self.patience = patience
        self.exceptions = exceptions
        var quiet = Logger(label: "conformance")
        quiet.logLevel = .critical
        self.logger = logger ?? quiet
    }

    /// Runs checks one after the other.
    /// - Parameter report: Is told of each when it has ended; prints a line unless said otherwise.
    @discardableResult
    public func run(
        _ checks: [ConformanceCheck] = ConformanceCheck.all,
        report: @Sendable (ConformanceResult) -> Void = { print($0) }
    ) async -> [ConformanceResult] {
        var results: [ConformanceResult] = []
        for check in checks {
            let result = await self.result(of: check)
            report(result)
            results.append(result)
        }
        return results
    }

    /// Runs one check, and closes what it opened.
    public func result(of check: ConformanceCheck) async -> ConformanceResult {
        if let reason = check.assumption.flatMap({ self.exceptions[$0] }) {
            return ConformanceResult(name: check.name, verdict: .skipped(reason), duration: .zero)
        }
        let start = ContinuousClock.now
        let context = ConformanceContext(
            transport: self.transport, logger: self.logger, patience: self.patience, prefix: self.prefix,
            createTopic: self.createTopic)
        let verdict: ConformanceResult.Verdict
        do {
            switch try await check.body(context) {
            case .passed: verdict = .passed
            case .skipped(let reason): verdict = .skipped(reason)
            }
        } catch {
            verdict = .failed("\(error)")
        }
        await context.close()
        return ConformanceResult(name: check.name, verdict: verdict, duration: start.duration(to: .now))
    }
}

/// How a check ended.
public struct ConformanceResult: Sendable, CustomStringConvertible {
    public enum Verdict: Sendable, Equatable {
        case passed
        case skipped(String)
        case failed(String)
    }

    public let name: String
    public let verdict: Verdict
    public let duration: Duration

    public init(name: String, verdict: Verdict, duration: Duration) {
        self.name = name
        self.verdict = verdict
        self.duration = duration
    }

    /// One line.
    public var description: String {
        let text =
            switch self.verdict {
            case .passed: "ok \(self.name)"
            case .skipped(let reason): "skipped \(self.name): \(reason)"
            case .failed(let reason): "FAILED \(self.name): \(reason)"
            }
        return text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}
