import CoreMetrics
import Lantern
import LanternKafka

/// Watches over completeness: tells sources what they may forget, notices what is missing, and asks for it again.
///
/// Runs beside the leading sealer. What it needs to know is in the database, so a new leader goes on where the last one was.
struct GapKeeper: Sendable {
    let store: GapStore
    let transport: any EventTransport
    let outbox: Outbox
    let logger: Logger

    private static let interval: Duration = .seconds(1)
    /// An acknowledgement is repeated, because a control topic can be lost as any other.
    private static let repetition: Duration = .seconds(30)

    /// Runs until it is cancelled; whatever is away, it tries again.
    func run() async throws {
        let producer = try self.transport.makeProducer("control", logger: self.logger)
        do {
            try await self.keep(producer)
        } catch {
            await producer.close(deadline: .zero)
            throw error
        }
    }

    private func keep(_ producer: any EventProducer) async throws {
        var told: [String: (through: [ControlMessage.EpochSequence], at: ContinuousClock.Instant)] = [:]
        let requested = Counter(label: "lantern_replay_requested_events_total")
        requested.increment(by: 0)
        while true {
            do {
                for gap in try await self.store.gaps() {
                    if let change = gap.change { try await self.note(gap, change) }
                }
                if try await !self.store.isPaused {
                    // Read again: what was noted now is known now.
                    for gap in try await self.store.gaps() where gap.isRequestDue {
                        let asked = gap.missing.prefix(count: Gap.maximumRequest)
                        try await self.send(
                            .replayRequested(source: gap.source, epoch: gap.epoch, missing: asked), producer)
                        try await self.store.noteRequest(gap, through: asked.ranges.last?.upperBound ?? 0)
                        requested.increment(by: Int(asked.count))
                    }
                }
                for (source, through) in try await self.store.contiguous() {
                    let now = ContinuousClock.now
                    if let last = told[source], last.through == through, now - last.at < Self.repetition { continue }
                    try await self.send(.acknowledged(source: source, through: through), producer)
                    told[source] = (through, now)
                }
            } catch let error as EventError where error.code == .lostLeadership {
                throw error
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                self.logger.debug("completeness could not be looked after", error: error)
            }
            try await Task.sleep(for: Self.interval)
        }
    }

    private func note(_ gap: Gap, _ change: Gap.Change) async throws {
        try await self.store.note(gap, change, outbox: self.outbox)
        switch change {
        case .detected:
            self.logger.warning(
                "events of a source are missing",
                metadata: [
                    "source": "\(gap.source)", "epoch": "\(gap.epoch)", "events": "\(gap.events)",
                    "ranges": "\(gap.missing.prefix(ranges: 10, count: .max).literal)",
                ]
            )
        case .healed:
            self.logger.notice(
                "nothing of a source is missing any more",
                metadata: ["source": "\(gap.source)", "epoch": "\(gap.epoch)"]
            )
        }
    }

    /// Not for ever: while the brokers are away the rest goes on.
    private func send(_ message: ControlMessage, _ producer: any EventProducer) async throws {
        let record = try message.record()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await producer.send([record]) }
            group.addTask {
                try await Task.sleep(for: .seconds(5))
                throw KafkaError(code: .retriable, message: "no answer within five seconds")
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}
