@testable import ActivityService
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
        #expect(SequenceRanges.literal(sequences) == literal)
    }

    @Test("the highest number that has a successor is held; the one that has none cannot be")
    func highest() {
        #expect(SequenceRanges.literal([.max - 1]) == "{[9223372036854775806,9223372036854775807)}")
        #expect(SequenceRanges.literal([.max]) == "{}")
        #expect(SequenceRanges.literal([1, .max]) == "{[1,2)}")
    }

    @Test("the ranges hold what was put in, and nothing else", arguments: 1...20)
    func holdsAll(density: Int) {
        // Every number in so many, then some by a stride, so that runs and gaps of all lengths come up.
        let sequences = (1...500).filter { ($0 * $0) % 21 < density }.map { Int64($0) }
        let literal = SequenceRanges.literal(sequences.reversed())
        let ranges = literal.split { "{}[),".contains($0) }.compactMap { Int64($0) }
        #expect(ranges.count.isMultiple(of: 2))
        let pairs = stride(from: 0, to: ranges.count, by: 2).map { ranges[$0]..<ranges[$0 + 1] }
        #expect(pairs.flatMap { Array($0) } == sequences)
        // No two ranges touch: PostgreSQL would join them.
        #expect(zip(pairs, pairs.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
    }
}
