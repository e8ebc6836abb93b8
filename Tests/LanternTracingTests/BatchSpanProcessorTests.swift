import Testing

@testable import LanternTracing

private typealias Counts = ProcessorBench.Counts

private func names(_ numbers: Range<Int>) -> [String] { ProcessorBench.names(numbers) }

@Suite("Spans in batches", .timeLimit(.minutes(2)))
struct BatchSpanProcessorTests {
    // MARK: Batches

    @Test("spans are sent when they fill a batch, and not before")
    func byCount() async throws {
        let bench = ProcessorBench(ScriptedExporter())
        try await bench.run {
            for number in 0..<4 {
                #expect(bench.exporter.attempts.isEmpty)
                bench.process(number..<number + 1)
                await Task.yield()
            }
            try await ProcessorBench.wait("a batch") { !bench.exporter.taken.isEmpty }
        }
        #expect(bench.exporter.attempts.map(\.names) == [names(0..<4)])
        #expect(try await bench.counts() == Counts(exported: 4))
    }

    @Test("more spans than a batch are sent in several, in order")
    func severalBatches() async throws {
        let bench = ProcessorBench(ScriptedExporter())
        bench.process(0..<10)
        try await bench.run {
            try await ProcessorBench.wait("two batches") { bench.exporter.taken.count >= 8 }
        }
        #expect(bench.exporter.attempts.map(\.names) == [names(0..<4), names(4..<8), names(8..<10)])
    }

    @Test("spans that fill no batch are sent when the delay is over")
    func byTime() async throws {
        let bench = ProcessorBench(ScriptedExporter()) { $0.delay = .milliseconds(5) }
        try await bench.run {
            for number in 0..<3 {
                bench.process(number..<number + 1)
                try await ProcessorBench.wait("span \(number)") { bench.exporter.taken.count == number + 1 }
            }
        }
        #expect(bench.exporter.attempts.map(\.names) == [["0"], ["1"], ["2"]])
    }

    @Test("what did not go into a request goes into the next one")
    func inPieces() async throws {
        let bench = ProcessorBench(ScriptedExporter(.takes(3), .takes(2))) { $0.batchSize = 10 }
        bench.process(0..<10)
        try await bench.run()
        #expect(bench.exporter.attempts.map(\.names) == [names(0..<10), names(3..<10), names(5..<10)])
        #expect(bench.exporter.taken == names(0..<10))
        #expect(try await bench.counts() == Counts(exported: 10))
    }

    @Test("spans that the receiver rejects are counted as dropped, told of once, and not sent again")
    func partialSuccess() async throws {
        let bench = ProcessorBench(ScriptedExporter(.takes(3, rejected: 2), .takes(1, rejected: 1)))
        bench.process(0..<6)
        try await bench.run()
        #expect(bench.exporter.attempts.map(\.names) == [names(0..<4), ["3"], ["4", "5"]])
        #expect(try await bench.counts() == Counts(exported: 3, dropped: 3))
        #expect(bench.told == ["warning: the collector did not take all spans"])
    }

    // MARK: The queue

    @Test("no more spans are held than the queue has room for; the rest is counted")
    func bounded() async throws {
        let bench = ProcessorBench(ScriptedExporter()) { $0.queueSize = 10 }
        bench.process(0..<15)
        #expect(try await bench.counts() == Counts(dropped: 5))
        try await bench.run()
        #expect(bench.exporter.taken == names(0..<10))
        #expect(try await bench.counts() == Counts(exported: 10, dropped: 5))
    }

    @Test("spans that are being sent take room in the queue until they are gone")
    func boundedInFlight() async throws {
        let bench = ProcessorBench(ScriptedExporter(then: .hangs)) {
            $0.queueSize = 10
            $0.shutdownTimeout = .milliseconds(20)
        }
        bench.process(0..<4)
        try await bench.run {
            try await ProcessorBench.wait("a request") { bench.exporter.attempts.count == 1 }
            bench.process(4..<24)
            #expect(try await bench.counts() == Counts(dropped: 14))
        }
    }

    @Test("spans that were sent leave their room to others")
    func roomAgain() async throws {
        let bench = ProcessorBench(ScriptedExporter()) { $0.queueSize = 4 }
        try await bench.run {
            for round in 0..<20 {
                bench.process(round * 4..<round * 4 + 4)
                try await ProcessorBench.wait("batch \(round)") { bench.exporter.taken.count == round * 4 + 4 }
                // The receiver's answer is known a moment before.
                try await ProcessorBench.wait("room") { try await bench.queued() == 0 }
            }
        }
        #expect(try await bench.counts() == Counts(exported: 80))
    }

    @Test(
        "while the receiver is away nobody who ends a span waits", arguments: [ScriptedExporter.Answer.hangs, .busy()])
    func outage(answer: ScriptedExporter.Answer) async throws {
        let bench = ProcessorBench(ScriptedExporter(then: answer)) { $0.shutdownTimeout = .milliseconds(20) }
        let spans = ProcessorBench.spans(0..<10_000)
        bench.process(0..<4)
        try await bench.run {
            try await ProcessorBench.wait("a request") { !bench.exporter.attempts.isEmpty }
            let time = ContinuousClock().measure { for span in spans { bench.processor.process(span) } }
            #expect(time < .seconds(1))
        }
        let counts = try await bench.counts()
        #expect(counts.exported == 0)
        #expect(counts.dropped == 10_004)
    }

    // MARK: Shutdown

    @Test("at shutdown all that is queued is sent, though it fills no batch", arguments: [0, 1, 3, 4, 11, 500])
    func shutdown(count: Int) async throws {
        let bench = ProcessorBench(ScriptedExporter())
        try await bench.run { bench.process(0..<count) }
        #expect(bench.exporter.taken == names(0..<count))
        #expect(bench.exporter.attempts.allSatisfy { (1...4).contains($0.names.count) })
        #expect(try await bench.counts() == Counts(exported: count))
    }

    @Test("at shutdown a pause ends, and the batch that waited is tried once more", arguments: [true, false])
    func shutdownInPause(isBack: Bool) async throws {
        let bench = ProcessorBench(ScriptedExporter(.busy(after: .seconds(20)), then: isBack ? .takes() : .busy()))
        bench.process(0..<4)
        let time = try await ContinuousClock().measure {
            try await bench.run {
                // Told just before the pause.
                try await ProcessorBench.wait("a failure") { !bench.told.isEmpty }
            }
        }
        #expect(time < .seconds(10))
        #expect(bench.exporter.attempts.count == 2)
        let expected = isBack ? Counts(exported: 4, failures: 1) : Counts(dropped: 4, failures: 2)
        #expect(try await bench.counts() == expected)
    }

    @Test("shutdown ends in time though the receiver says nothing, and what is left is counted")
    func shutdownOfHanging() async throws {
        let timeout = Duration.milliseconds(200)
        let bench = ProcessorBench(ScriptedExporter(.takes(), then: .hangs)) { $0.shutdownTimeout = timeout }
        bench.process(0..<15)
        var began = ContinuousClock.now
        try await bench.run {
            try await ProcessorBench.wait("a request that hangs") { bench.exporter.attempts.count == 2 }
            began = .now
        }
        #expect(began.duration(to: .now) < timeout + .seconds(1))
        #expect(bench.exporter.taken == names(0..<4))
        #expect(try await bench.counts() == Counts(exported: 4, dropped: 11, failures: 1))
    }
}
