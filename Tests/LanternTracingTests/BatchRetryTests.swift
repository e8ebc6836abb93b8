import Testing

@testable import LanternTracing

private typealias Counts = ProcessorBench.Counts

private func names(_ numbers: Range<Int>) -> [String] { ProcessorBench.names(numbers) }

@Suite("Batches that are tried again", .timeLimit(.minutes(2)))
struct BatchRetryTests {
    /// The time from each request to the next.
    private func gaps(_ bench: ProcessorBench) -> [Duration] {
        let times = bench.exporter.attempts.map(\.time)
        return zip(times, times.dropFirst()).map { $0.duration(to: $1) }
    }

    @Test("a batch that the receiver is too busy for is sent again, after pauses that grow")
    func again() async throws {
        let bench = ProcessorBench(ScriptedExporter(.busy(), .busy(), .busy())) {
            $0.firstPause = .milliseconds(20)
            $0.longestPause = .seconds(1)
        }
        bench.process(0..<4)
        try await bench.run {
            try await ProcessorBench.wait("the batch") { bench.exporter.taken.count == 4 }
        }
        #expect(bench.exporter.attempts.map(\.names) == Array(repeating: names(0..<4), count: 4))
        // Chance takes up to a half of each.
        #expect(self.gaps(bench).count == 3)
        for (gap, least) in zip(self.gaps(bench), [10, 20, 40]) { #expect(gap >= .milliseconds(least)) }
        #expect(try await bench.counts() == Counts(exported: 4, failures: 3))
    }

    @Test("what was not in a request that succeeded is sent again without what was")
    func rest() async throws {
        let bench = ProcessorBench(ScriptedExporter(.takes(1), .busy(), .takes(2)))
        bench.process(0..<4)
        try await bench.run {
            try await ProcessorBench.wait("the batch") { bench.exporter.taken.count == 4 }
        }
        #expect(bench.exporter.attempts.map(\.names) == [names(0..<4), names(1..<4), names(1..<4), names(3..<4)])
        #expect(bench.exporter.taken == names(0..<4))
    }

    @Test("a batch that the receiver will never take is dropped, and the next one is sent")
    func refused() async throws {
        let bench = ProcessorBench(ScriptedExporter(.refuses))
        bench.process(0..<8)
        try await bench.run {
            try await ProcessorBench.wait("the next batch") { bench.exporter.taken.count == 4 }
        }
        #expect(bench.exporter.attempts.map(\.names) == [names(0..<4), names(4..<8)])
        #expect(try await bench.counts() == Counts(exported: 4, dropped: 4, failures: 1))
    }

    @Test("a batch is given up when its time is over, and the next one is tried")
    func givenUp() async throws {
        let bench = ProcessorBench(ScriptedExporter(then: .busy())) {
            $0.firstPause = .milliseconds(5)
            $0.longestPause = .milliseconds(10)
            $0.exportTimeout = .milliseconds(200)
        }
        bench.process(0..<4)
        try await bench.run {
            try await ProcessorBench.wait("the end of the first") { try await bench.counts().dropped == 4 }
            bench.process(4..<8)
            try await ProcessorBench.wait("the second") { bench.exporter.attempts.last?.names == names(4..<8) }
        }
        let first = bench.exporter.attempts.filter { $0.names == names(0..<4) }
        #expect(first.count > 1)
        #expect(bench.exporter.taken.isEmpty)
        let counts = try await bench.counts()
        #expect(counts == Counts(dropped: 8, failures: bench.exporter.attempts.count))
    }

    @Test("a receiver that says when to come back is left alone until then")
    func retryAfter() async throws {
        let bench = ProcessorBench(ScriptedExporter(.busy(after: .milliseconds(150))))
        bench.process(0..<4)
        try await bench.run {
            try await ProcessorBench.wait("the batch") { bench.exporter.taken.count == 4 }
        }
        #expect(self.gaps(bench).map { $0 >= .milliseconds(150) } == [true])
    }

    @Test("a receiver that says when to come back is believed, though the batch's time is over before")
    func retryAfterBeyondTime() async throws {
        let bench = ProcessorBench(ScriptedExporter(.busy(after: .milliseconds(150)))) {
            $0.exportTimeout = .milliseconds(20)
        }
        bench.process(0..<4)
        try await bench.run {
            try await ProcessorBench.wait("an outcome") {
                let counts = try await bench.counts()
                return counts.exported + counts.dropped == 4
            }
        }
        #expect(self.gaps(bench).map { $0 >= .milliseconds(150) } == [true])
        #expect(try await bench.counts() == Counts(exported: 4, failures: 1))
    }

    @Test(
        "a receiver that wants to be left alone for longer than a minute loses the batch at once, and is left alone until the end"
    )
    func retryAfterLong() async throws {
        let bench = ProcessorBench(ScriptedExporter(.busy(after: .seconds(61)))) { $0.exportTimeout = .seconds(20) }
        bench.process(0..<8)
        try await bench.run {
            try await ProcessorBench.wait("the first batch") { bench.exporter.attempts.count == 1 }
            #expect(bench.exporter.taken.isEmpty)
        }
        #expect(bench.exporter.attempts.map(\.names) == [names(0..<4), names(4..<8)])
        #expect(try await bench.counts() == Counts(exported: 4, dropped: 4, failures: 1))
    }

    @Test("an outage is told once, and so is its end")
    func told() async throws {
        let bench = ProcessorBench(ScriptedExporter(.busy(), .busy(), .refuses, .takes(), .busy()))
        bench.process(0..<12)
        try await bench.run {
            try await ProcessorBench.wait("two batches") { bench.exporter.taken.count == 8 }
        }
        #expect(
            bench.told == [
                "warning: spans cannot be exported", "notice: spans are exported again",
                "warning: spans cannot be exported", "notice: spans are exported again",
            ])
    }
}
