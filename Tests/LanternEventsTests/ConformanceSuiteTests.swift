import LanternEvents
import Testing
import TransportConformance

@Suite("The conformance suite", .timeLimit(.minutes(1)))
struct ConformanceSuiteTests {
    @Test("no two checks have one name")
    func names() {
        let names = ConformanceCheck.all.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.count > 25)
    }

    @Test("a check that throws is told with what it saw, one that is skipped with its reason")
    func results() async {
        let run = ConformanceRun(InProcessTransport(), exceptions: [.resetsToEarliest: "it goes to the end"])
        let results = await run.run(
            [
                ConformanceCheck("one") { _ in .passed },
                ConformanceCheck("two") { _ in .skipped("no occasion") },
                ConformanceCheck("three") { _ in
                    try demand(1, equals: 2, "a number")
                    return .passed
                },
                ConformanceCheck("four", assuming: .resetsToEarliest) { _ in .passed },
            ], report: { _ in })
        #expect(
            results.map(\.description) == [
                "ok one", "skipped two: no occasion", "FAILED three: a number: expected 2, seen 1",
                "skipped four: it goes to the end",
            ])
    }

    @Test("a wait that does not end fails its check, and is told with what was seen instead")
    func deadlines() async {
        let run = ConformanceRun(InProcessTransport(partitions: 1), patience: .milliseconds(100))
        let result = await run.result(
            of: ConformanceCheck("a record that nobody sends") { context in
                let reader = try await context.everything(of: try await context.topic("silence"))
                _ = try await context.read(reader, count: 1)
                return .passed
            })
        guard case .failed(let reason) = result.verdict else {
            Issue.record("\(result)")
            return
        }
        #expect(reason.contains("1 records come"))
        #expect(reason.contains("seen 0 records"))
    }

    private static let flaws: [(FlawedTransport.Flaw, String)] = [
        (.losesARecord, "many sends to one partition keep their order"),
        (.reversesAnswers, "many sends to one partition keep their order"),
        (.repeatsAnAnswer, "two members have each partition once, and read every record once"),
        (.ignoresGroups, "two members have each partition once, and read every record once"),
        (.emptiesTombstones, "an empty value stays empty, and a tombstone a tombstone"),
        (.dropsHeaders, "keys, values and headers come back byte for byte"),
        (.beginsAtTheEarliest, "a consumer begins exactly at the offset that it is told"),
        (.ignoresSeeks, "a seek back reads again, and moves no other partition"),
        (.ignoresBounds, "an answer ends with the record that reaches its bound"),
        (.ignoresKeys, "the same key goes to the same partition, from whomever it comes"),
        (.answersOtherOffsets, "deliveries say where each record is"),
        (.losesWhatIsCancelled, "a wait that is cancelled loses nothing, and another can follow"),
        (.staysOpen, "closing ends a wait, and what is asked afterwards is refused"),
    ]

    @Test("a transport with a flaw fails the check that is about it", arguments: Self.flaws)
    func flawed(flaw: FlawedTransport.Flaw, name: String) async throws {
        let check = try #require(ConformanceCheck.all.first { $0.name == name })
        let run = ConformanceRun(FlawedTransport(flaw), patience: .seconds(2))
        let result = await run.result(of: check)
        guard case .failed = result.verdict else {
            Issue.record("\(result)")
            return
        }
        let sound = await ConformanceRun(InProcessTransport(), patience: .seconds(30)).result(of: check)
        #expect(sound.verdict == .passed)
    }
}
