import Logging
import Testing

@testable import LanternLogging

@Suite("Levels of loggers by their labels")
struct LogLevelsTests {
    private func logger(_ label: String, _ levels: LogLevels, sink: MemorySink = MemorySink()) -> Logger {
        let output = LogOutput(service: "order", format: .json, levels: levels, sink: sink)
        return Logger(label: label) { LanternLogHandler(label: $0, output: output) }
    }

    @Test("a label has the default, or the level of its own", arguments: Logger.Level.allCases)
    func standard(level: Logger.Level) {
        let levels = LogLevels(level, levels: ["quiet": .critical, "loud": .trace])
        #expect(self.logger("order", levels).logLevel == level)
        #expect(self.logger("quiet", levels).logLevel == .critical)
        #expect(self.logger("loud", levels).logLevel == .trace)
        #expect(levels["order"] == level)
        #expect(levels["quiet"] == .critical)
    }

    @Test("a change is seen by loggers that are there, and by those that come")
    func change() {
        let levels = LogLevels(.info)
        let sink = MemorySink()
        let order = self.logger("order", levels, sink: sink)
        let other = self.logger("other", levels, sink: sink)
        order.debug("too early")
        #expect(levels.set(.debug, for: "order"))
        order.debug("in time")
        other.debug("not meant")
        self.logger("order", levels, sink: sink).debug("late")
        #expect(sink.lines.map { $0.contains("in time") || $0.contains("late") } == [true, true])
    }

    @Test("a change of the default is seen by those that have no level of their own")
    func changeOfDefault() {
        let levels = LogLevels(.info, levels: ["quiet": .error])
        let order = self.logger("order", levels)
        let quiet = self.logger("quiet", levels)
        levels.standard = .trace
        #expect(order.logLevel == .trace)
        #expect(quiet.logLevel == .error)
        #expect(levels.standard == .trace)
    }

    @Test("a level that is taken away leaves the default of that time")
    func takenAway() {
        let levels = LogLevels(.info, levels: ["order": .error])
        let order = self.logger("order", levels)
        levels.standard = .debug
        #expect(order.logLevel == .error)
        #expect(levels.set(nil, for: "order"))
        #expect(order.logLevel == .debug)
        levels.standard = .warning
        #expect(order.logLevel == .warning)
        #expect(levels.levels.isEmpty)
    }

    @Test("a logger whose level was set keeps it")
    func kept() {
        let levels = LogLevels(.info)
        var own = self.logger("order", levels)
        let other = self.logger("order", levels)
        own.logLevel = .notice
        levels.set(.trace, for: "order")
        levels.standard = .critical
        #expect(own.logLevel == .notice)
        #expect(other.logLevel == .trace)
    }

    @Test("the labels are those that loggers were made with")
    func labels() {
        let levels = LogLevels(.info, levels: ["nobody": .error])
        _ = [self.logger("order", levels), self.logger("auth", levels), self.logger("order", levels)]
        #expect(levels.labels == ["auth", "order"])
        #expect(levels.levels == ["nobody": .error])
    }

    @Test("no more labels than the limit have a level of their own, and one that gives it back makes room")
    func limit() {
        let levels = LogLevels(.info)
        for number in 0..<LogLevels.limit { #expect(levels.set(.error, for: "label \(number)")) }
        #expect(!levels.set(.error, for: "one more"))
        #expect(levels["one more"] == .info)
        #expect(levels.levels.count == LogLevels.limit)
        #expect(levels.set(.debug, for: "label 0"))
        #expect(levels.set(nil, for: "label 1"))
        #expect(levels.set(.error, for: "one more"))
        #expect(levels["one more"] == .error)
    }

    @Test("all levels can be replaced at once: who is not named has the default")
    func replace() {
        let levels = LogLevels(.info, levels: ["quiet": .error, "loud": .trace])
        let loggers = ["quiet", "loud", "order"].map { self.logger($0, levels) }
        #expect(levels.replace(standard: .notice, levels: ["loud": .debug, "to come": .critical]))
        #expect(loggers.map(\.logLevel) == [.notice, .debug, .notice])
        #expect(self.logger("to come", levels).logLevel == .critical)
        #expect(levels.levels == ["loud": .debug, "to come": .critical])
        #expect(levels.standard == .notice)
    }

    @Test("more levels than the limit replace nothing")
    func replaceTooMany() {
        let levels = LogLevels(.info, levels: ["loud": .trace])
        let loud = self.logger("loud", levels)
        let many = Dictionary(uniqueKeysWithValues: (0...LogLevels.limit).map { ("label \($0)", Logger.Level.error) })
        #expect(!levels.replace(standard: .critical, levels: many))
        #expect(levels.standard == .info)
        #expect(levels.levels == ["loud": .trace])
        #expect(loud.logLevel == .trace)
    }

    @Test("labels without end take memory without end from nobody, and log all the same")
    func manyLabels() {
        let levels = LogLevels(.info)
        let sink = MemorySink()
        for number in 0..<3 * LogLevels.limit { self.logger("user \(number)", levels, sink: sink).info("here") }
        #expect(levels.labels.count <= LogLevels.limit)
        #expect(sink.lines.count == 3 * LogLevels.limit)
    }

    @Test("after changes from many threads each logger has the level that its label has")
    func concurrent() {
        let levels = LogLevels(.info)
        let labels = (0..<20).map { "label \($0)" }
        let early = labels.map { self.logger($0, levels) }
        onThreads(8) { thread in
            var dice = SeededGenerator(seed: UInt64(thread))
            for _ in 0..<2_000 {
                let level = Logger.Level.allCases.randomElement(using: &dice)
                let label = labels.randomElement(using: &dice) ?? ""
                switch Int.random(in: 0..<5, using: &dice) {
                case 0: levels.standard = level ?? .info
                case 1: levels.set(nil, for: label)
                case 2: levels.set(level, for: label)
                case 3: levels.replace(standard: level ?? .info, levels: [label: .notice])
                default: _ = self.logger(label, levels).logLevel
                }
            }
        }
        #expect(early.map(\.logLevel) == labels.map { levels[$0] })
        #expect(labels.map { self.logger($0, levels).logLevel } == labels.map { levels[$0] })
        #expect(labels.map { levels[$0] } == labels.map { levels.levels[$0] ?? levels.standard })
    }
}
