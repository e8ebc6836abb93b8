/// A set of sequence numbers as ranges, in order and apart from each other. A plain value.
public struct SequenceRanges: Sendable, Equatable {
    /// Most ranges of one message: what is beyond is asked for later.
    public static let maximumRanges = 1_000

    public private(set) var ranges: [ClosedRange<Int64>] = []

    public init() {}

    public init(_ sequences: some Sequence<Int64>) {
        for sequence in Set(sequences).sorted() where sequence < .max {
            if let last = self.ranges.last, last.upperBound == sequence - 1 {
                self.ranges[self.ranges.count - 1] = last.lowerBound...sequence
            } else {
                self.ranges.append(sequence...sequence)
            }
        }
    }

    public var isEmpty: Bool { self.ranges.isEmpty }

    /// How many numbers; as many as an `Int64` can say.
    public var count: Int64 {
        self.ranges.reduce(0) { sum, range in
            let (next, overflow) = sum.addingReportingOverflow(range.upperBound - range.lowerBound + 1)
            return overflow ? .max : next
        }
    }

    public mutating func insert(_ new: ClosedRange<Int64>) {
        var merged = new
        var result: [ClosedRange<Int64>] = []
        for range in self.ranges {
            // Neighbours become one.
            if range.upperBound < merged.lowerBound - 1 || range.lowerBound - 1 > merged.upperBound {
                result.append(range)
            } else {
                merged = min(range.lowerBound, merged.lowerBound)...max(range.upperBound, merged.upperBound)
            }
        }
        result.insert(merged, at: result.firstIndex { $0.lowerBound > merged.lowerBound } ?? result.count)
        self.ranges = result
    }

    /// Takes the lowest numbers out, at most `limit` of them.
    public mutating func takeFirst(_ limit: Int64) -> SequenceRanges {
        var taken = SequenceRanges()
        var left = limit
        while left > 0, let first = self.ranges.first {
            let size = first.upperBound - first.lowerBound + 1
            if size <= left {
                taken.ranges.append(first)
                self.ranges.removeFirst()
                left -= size
            } else {
                taken.ranges.append(first.lowerBound...(first.lowerBound + left - 1))
                self.ranges[0] = (first.lowerBound + left)...first.upperBound
                left = 0
            }
        }
        return taken
    }

    /// The lowest numbers, as many as one message takes.
    public func prefix(ranges: Int = SequenceRanges.maximumRanges, count: Int64) -> SequenceRanges {
        var copy = self
        copy.ranges = Array(copy.ranges.prefix(ranges))
        return copy.takeFirst(count)
    }

    /// As PostgreSQL writes an `int8multirange`: `{[1,4),[7,8)}`.
    public var literal: String {
        "{" + self.ranges.map { "[\($0.lowerBound),\($0.upperBound + 1))" }.joined(separator: ",") + "}"
    }

    /// Reads what PostgreSQL writes; `nil` where it is no bounded multirange in canonical form.
    public init?(literal: String) {
        guard literal.first == "{", literal.last == "}" else { return nil }
        for part in literal.dropFirst().dropLast().split(separator: ")") {
            let bounds = part.drop { $0 == "," }.dropFirst().split(separator: ",")
            guard bounds.count == 2, let lower = Int64(bounds[0]), let upper = Int64(bounds[1]), lower < upper
            else { return nil }
            self.ranges.append(lower...(upper - 1))
        }
    }
}
