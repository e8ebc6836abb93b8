import Testing

@testable import LanternTracing

@Suite("The sampler")
struct SamplerTests {
    private func traceID(high: UInt64 = 1, low: UInt64) throws -> TraceID {
        try #require(TraceID(high: high, low: low))
    }

    private func parent(sampled: Bool) throws -> SpanContext {
        SpanContext(
            traceID: try self.traceID(low: 1), spanID: try #require(SpanID(1)), flags: sampled ? 1 : 0, isRemote: true
        )
    }

    /// The least and the greatest of all ids, as ratios see them.
    private static let extremes: [UInt64] = [0x0000_0000_0000_0000, 0x00FF_FFFF_FFFF_FFFF, 0xFF00_0000_0000_0000, .max]

    @Test(
        "OTEL_TRACES_SAMPLER names it",
        arguments: [
            ("always_on", .alwaysOn),
            ("always_off", .alwaysOff),
            ("traceidratio", .traceIDRatio(1)),
            ("parentbased_always_on", .parentBased(root: .alwaysOn)),
            ("parentbased_always_off", .parentBased(root: .alwaysOff)),
            ("parentbased_traceidratio", .parentBased(root: .traceIDRatio(1))),
        ] as [(String, Sampler)]
    )
    func names(name: String, expected: Sampler) {
        #expect(Sampler(name: name, argument: nil) == expected)
        #expect(Sampler(name: name, argument: "") == expected)
    }

    @Test(
        "the argument is the ratio",
        arguments: [("0", 0), ("0.25", 0.25), ("1", 1), ("1e-3", 0.001)] as [(String, Double)]
    )
    func ratios(argument: String, ratio: Double) {
        #expect(Sampler(name: "traceidratio", argument: argument) == Sampler.traceIDRatio(ratio))
        #expect(
            Sampler(name: "parentbased_traceidratio", argument: argument)
                == Sampler.parentBased(root: .traceIDRatio(ratio)))
    }

    @Test("an unknown name is refused", arguments: ["", "on", "ALWAYS_ON", "parentbased", "jaeger_remote", "xray"])
    func unknownNames(name: String) {
        #expect(Sampler(name: name, argument: nil) == nil)
    }

    @Test("an argument that is no ratio is refused", arguments: ["-0.1", "1.1", "half", "nan", "inf", "0,5", "50%"])
    func badArguments(argument: String) {
        #expect(Sampler(name: "traceidratio", argument: argument) == nil)
        #expect(Sampler(name: "parentbased_traceidratio", argument: argument) == nil)
    }

    @Test("ratio 0 takes no trace and ratio 1 takes all", arguments: SamplerTests.ids)
    func bounds(low: UInt64) throws {
        let id = try self.traceID(low: low)
        #expect(!Sampler.traceIDRatio(0).samples(id, parent: nil))
        #expect(Sampler.traceIDRatio(1).samples(id, parent: nil))
    }

    static let ids: [UInt64] = extremes + [1, 0x0080_0000_0000_0000, 0x1234_5678_9ABC_DEF0]

    @Test(
        "the low 56 bits decide, at the threshold of Trace Context Level 2",
        arguments: [
            (0.5, 0x0080_0000_0000_0000), (0.25, 0x00C0_0000_0000_0000), (0.75, 0x0040_0000_0000_0000),
            (0.0625, 0x00F0_0000_0000_0000),
        ] as [(Double, UInt64)]
    )
    func threshold(ratio: Double, threshold: UInt64) throws {
        let sampler = Sampler.traceIDRatio(ratio)
        // What stands in the other 72 bits is no SDK's business.
        for (high, top) in [(1, 0), (.max, 0xFF00_0000_0000_0000), (0, 0x8100_0000_0000_0000)] as [(UInt64, UInt64)] {
            #expect(try sampler.samples(self.traceID(high: high, low: top | threshold), parent: nil))
            #expect(try !sampler.samples(self.traceID(high: high, low: top | (threshold - 1)), parent: nil))
        }
    }

    @Test("evenly spread traces are taken in the given share", arguments: [0.125, 0.25, 0.5, 0.875])
    func share(ratio: Double) throws {
        let sampler = Sampler.traceIDRatio(ratio)
        let ids = try (0..<1_024).map { number in try self.traceID(low: UInt64(number) << 46) }
        let taken = ids.filter { sampler.samples($0, parent: nil) }.count
        #expect(taken == Int(1_024 * ratio))
    }

    @Test("what a low ratio takes, a higher one takes too", arguments: SamplerTests.ids)
    func monotonic(low: UInt64) throws {
        let id = try self.traceID(low: low)
        let taken = [0, 0.001, 0.1, 0.5, 0.9, 1].map { Sampler.traceIDRatio($0).samples(id, parent: nil) }
        let first = try #require(taken.firstIndex(of: true))
        #expect(taken[first...].allSatisfy { $0 })
    }

    @Test(
        "a parent-based sampler follows the parent, whatever its root",
        arguments: [Sampler.alwaysOn, .alwaysOff, .traceIDRatio(0)]
    )
    func followsParent(root: Sampler) throws {
        let sampler = Sampler.parentBased(root: root)
        let id = try self.traceID(low: 1)
        #expect(try sampler.samples(id, parent: self.parent(sampled: true)))
        #expect(try !sampler.samples(id, parent: self.parent(sampled: false)))
    }

    @Test(
        "without a parent its root decides", arguments: [(.alwaysOn, true), (.alwaysOff, false)] as [(Sampler, Bool)])
    func root(root: Sampler, taken: Bool) throws {
        #expect(try Sampler.parentBased(root: root).samples(self.traceID(low: 1), parent: nil) == taken)
    }

    @Test("the other samplers ask no parent")
    func ignoresParent() throws {
        let id = try self.traceID(low: 1)
        #expect(try Sampler.alwaysOn.samples(id, parent: self.parent(sampled: false)))
        #expect(try !Sampler.alwaysOff.samples(id, parent: self.parent(sampled: true)))
        #expect(try !Sampler.traceIDRatio(0).samples(id, parent: self.parent(sampled: true)))
    }
}
