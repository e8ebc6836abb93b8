import LanternEvents
import LanternKafka

/// Partitions that move while records come.
enum MovementChecks {
    static let all = [
        ConformanceCheck("what is finished before the next question is not done again elsewhere", body: Self.finishing),
        ConformanceCheck("a third member joins under load: nothing is lost, no partition is stuck", body: Self.third),
        ConformanceCheck("a member leaves under load: nothing is lost, nothing is done twice", body: Self.leaving),
    ]

    private static func finishing(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("finishing", partitions: 4)
        guard topic.partitions.count > 1 else { return .skipped("the topic has one partition") }
        let log = GroupLog()
        let one = try context.member("one", of: "finishing", topic, log, work: .late)
        try await context.shared(topic, log, among: one)
        let load = Load(try context.producer(), topic)
        context.atEnd { load.end() }
        try await context.until("the first member is at work", seen: { log.summary }) {
            log.handledCount > 100 ? true : nil
        }
        let two = try context.member("two", of: "finishing", topic, log, work: .late)
        try await context.shared(topic, log, among: one, two)
        try await Self.soMuchMore(context, load, log)
        let sent = try await load.finish(context)
        try await context.handled(sent, log)
        try log.demandOnce(topic.partitions)
        return .passed
    }

    private static func third(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("third", partitions: 6)
        guard topic.partitions.count > 2 else { return .skipped("the topic has fewer partitions than members") }
        let log = GroupLog()
        let one = try context.member("one", of: "third", topic, log)
        let two = try context.member("two", of: "third", topic, log)
        try await context.shared(topic, log, among: one, two)
        let load = Load(try context.producer(), topic)
        context.atEnd { load.end() }
        try await context.until("both members are at work", seen: { log.summary }) {
            log.handledCount > 100 ? true : nil
        }
        let three = try context.member("three", of: "third", topic, log)
        try await context.shared(topic, log, among: one, two, three)
        try await Self.soMuchMore(context, load, log)
        let sent = try await load.finish(context)
        try await context.handled(sent, log)
        return .passed
    }

    private static func leaving(_ context: ConformanceContext) async throws -> ConformanceOutcome {
        let topic = try await context.topic("leaving-load", partitions: 4)
        guard topic.partitions.count > 1 else { return .skipped("the topic has one partition") }
        let log = GroupLog()
        let one = try context.member("one", of: "leaving-load", topic, log)
        let two = try context.member("two", of: "leaving-load", topic, log)
        try await context.shared(topic, log, among: one, two)
        let load = Load(try context.producer(), topic)
        context.atEnd { load.end() }
        try await context.until("both members are at work", seen: { log.summary }) {
            log.handledCount > 100 ? true : nil
        }
        try await context.within("a member leaves") { await one.leave() }
        try await context.shared(topic, log, among: two)
        try await Self.soMuchMore(context, load, log)
        let sent = try await load.finish(context)
        try await context.handled(sent, log)
        try log.demandOnce(topic.partitions)
        return .passed
    }

    /// Waits until records that are sent from now on are handled in every partition.
    private static func soMuchMore(_ context: ConformanceContext, _ load: Load, _ log: GroupLog) async throws {
        let sent = load.count
        try await context.until("the load goes on", seen: { "\(load.count) records" }) {
            load.count > sent + 200 ? true : nil
        }
    }
}
