import LanternEvents
import Testing

@Suite("Ranges of sequences")
struct SequenceRangesTests {
    @Test(
        "neighbours are one range, written as int8multirange writes it",
        arguments: [
            ([], "{}"),
            ([7], "{[7,8)}"),
            ([1, 2, 3], "{[1,4)}"),
            ([1, 2, 3, 7], "{[1,4),[7,8)}"),
            ([1, 3, 5], "{[1,2),[3,4),[5,6)}"),
            // In any order, any number of times.
            ([7, 3, 1, 2], "{[1,4),[7,8)}"),
            ([2, 1, 2, 1, 2], "{[1,3)}"),
            ([0, 1], "{[0,2)}"),
        ] as [([Int64], String)]
    )
    func literal(sequences: [Int64], literal: String) {
        #expect(SequenceRanges(sequences).literal == literal)
    }

    @Test("the highest number that has a successor is held; the one that has none cannot be")
    func highest() {
        #expect(SequenceRanges([.max - 1]).literal == "{[9223372036854775806,9223372036854775807)}")
        #expect(SequenceRanges([.max]).literal == "{}")
        #expect(SequenceRanges([1, .max]).literal == "{[1,2)}")
    }

    @Test("the ranges hold what was put in, and nothing else", arguments: 1...20)
    func holdsAll(density: Int) {
        // Every number in so many, then some by a stride, so that runs and gaps of all lengths come up.
        let sequences = (1...500).filter { ($0 * $0) % 21 < density }.map { Int64($0) }
        let literal = SequenceRanges(sequences.reversed()).literal
        let ranges = literal.split { "{}[),".contains($0) }.compactMap { Int64($0) }
        #expect(ranges.count.isMultiple(of: 2))
        let pairs = stride(from: 0, to: ranges.count, by: 2).map { ranges[$0]..<ranges[$0 + 1] }
        #expect(pairs.flatMap { Array($0) } == sequences)
        // No two ranges touch: PostgreSQL would join them.
        #expect(zip(pairs, pairs.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
    }

    @Test("ranges that are put in one by one are those of their numbers", arguments: 1...20)
    func inserting(seed: Int) {
        var generator = SystemRandomNumberGenerator()
        var ranges = SequenceRanges()
        var numbers: Set<Int64> = []
        for _ in 0..<seed {
            let first = Int64.random(in: 1...60, using: &generator)
            let last = first + Int64.random(in: 0...9, using: &generator)
            ranges.insert(first...last)
            numbers.formUnion(first...last)
        }
        #expect(ranges == SequenceRanges(numbers))
        #expect(ranges.count == Int64(numbers.count))
        #expect(SequenceRanges(literal: ranges.literal) == ranges)
    }

    @Test("the lowest numbers are taken first, and the rest stays")
    func taking() {
        var ranges = SequenceRanges([1, 2, 3, 7, 8, 20])
        #expect(ranges.takeFirst(4) == SequenceRanges([1, 2, 3, 7]))
        #expect(ranges == SequenceRanges([8, 20]))
        #expect(ranges.takeFirst(10) == SequenceRanges([8, 20]))
        #expect(ranges.isEmpty)
        #expect(ranges.takeFirst(1).isEmpty)
    }

    @Test("a message takes so many ranges and so many numbers")
    func prefix() {
        let ranges = SequenceRanges([1, 2, 3, 7, 8, 20])
        #expect(ranges.prefix(ranges: 2, count: 100) == SequenceRanges([1, 2, 3, 7, 8]))
        #expect(ranges.prefix(ranges: 3, count: 2) == SequenceRanges([1, 2]))
    }

    @Test(
        "what PostgreSQL writes is read, and nothing else",
        arguments: ["", "{", "{[1,2)", "{(1,2)}x", "{[1,)}", "{[5,1)}"])
    func unreadable(literal: String) {
        #expect(SequenceRanges(literal: literal) == nil)
    }
}
