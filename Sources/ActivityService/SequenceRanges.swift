/// Sets of sequence numbers as PostgreSQL's `int8multirange` writes them: `{[1,4),[7,8)}`.
enum SequenceRanges {
    /// Neighbours become one range.
    static func literal(_ sequences: [Int64]) -> String {
        var ranges: [(lower: Int64, upper: Int64)] = []
        for sequence in Set(sequences).sorted() where sequence < .max {
            if let last = ranges.last, last.upper == sequence {
                ranges[ranges.count - 1].upper = sequence + 1
            } else {
                ranges.append((sequence, sequence + 1))
            }
        }
        return "{" + ranges.map { "[\($0.lower),\($0.upper))" }.joined(separator: ",") + "}"
    }
}
