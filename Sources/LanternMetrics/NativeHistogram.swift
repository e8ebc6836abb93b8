import CLanternMetrics
import Synchronization

/// The exponential buckets of one series: schema 3, eight buckets for each doubling, a relative error of at most 4.4 %.
///
/// The buckets of the usual range lie in a row of cells and cost what classic ones cost; values outside, and negative ones,
/// go into a small table under a lock. (Prometheus documentation, "Native Histograms".)
final class NativeHistogram: Sendable {
    /// What a scrape shows: buckets by index, ascending, none of them empty.
    struct Snapshot {
        var schema: Int
        var zeroThreshold: Double
        var zeroCount: UInt64
        var positive: [(index: Int, count: UInt64)]
        var negative: [(index: Int, count: UInt64)]
    }

    /// Exponents of two that the row covers.
    static let octaves = 52
    /// The zero bucket, then eight for each octave.
    static let width = 1 + 8 * octaves
    /// Populated buckets that a scrape shows at most; with more, the resolution is halved until they are few enough.
    private static let bucketLimit = 160

    private struct Outliers {
        var positive: [Int: UInt64] = [:]
        var negative: [Int: UInt64] = [:]
    }

    let cell: Cell
    /// The lowest exponent: values up to 2 to its power count as zero.
    private let lowest: Int
    /// What an observation is multiplied by to be in the unit of the metric.
    private let scale: Double
    private let outliers = Mutex(Outliers())

    init(cell: Cell, storage: Family.Storage) {
        self.cell = cell
        switch storage {
        // From 0.93 ns to 48 days.
        case .nanoseconds: (self.lowest, self.scale) = (-30, 1e-9)
        // From a thousandth to 4 TB.
        case .number: (self.lowest, self.scale) = (-10, 1)
        }
    }

    @inline(__always)
    func observe(_ value: Double) {
        let value = value * self.scale
        if !self.cell.observeNative(value, lowest: self.lowest, octaves: Self.octaves) { self.observeOutlier(value) }
    }

    @inline(never)
    private func observeOutlier(_ value: Double) {
        // Infinite values have a bucket of their own, behind that of the largest finite ones.
        let index = value.isInfinite ? Cell.nativeIndex(.greatestFiniteMagnitude) + 1 : Cell.nativeIndex(abs(value))
        self.outliers.withLock { outliers in
            if value > 0 {
                outliers.positive[index, default: 0] += 1
            } else {
                outliers.negative[index, default: 0] += 1
            }
        }
    }

    func snapshot(_ reader: inout CellReader) -> Snapshot {
        let outliers = self.outliers.withLock { $0 }
        var positive: [(index: Int, count: UInt64)] = []
        for place in 1..<Self.width {
            let count = reader.sum(self.cell.cell, plus: place)
            if count > 0 { positive.append((self.lowest * 8 + place, count)) }
        }
        positive += outliers.positive.map { ($0.key, $0.value) }
        var snapshot = Snapshot(
            schema: 3, zeroThreshold: Self.powerOfTwo(self.lowest), zeroCount: reader.sum(self.cell.cell),
            positive: positive.sorted { $0.index < $1.index },
            negative: outliers.negative.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 }
        )
        while snapshot.positive.count + snapshot.negative.count > Self.bucketLimit, snapshot.schema > -4 {
            snapshot.schema -= 1
            snapshot.positive = Self.halved(snapshot.positive)
            snapshot.negative = Self.halved(snapshot.negative)
        }
        return snapshot
    }

    /// Buckets of the next lower resolution: two become one.
    private static func halved(_ buckets: [(index: Int, count: UInt64)]) -> [(index: Int, count: UInt64)] {
        var merged: [(index: Int, count: UInt64)] = []
        for bucket in buckets {
            let index = (bucket.index + 1) >> 1
            if merged.last?.index == index {
                merged[merged.count - 1].count += bucket.count
            } else {
                merged.append((index, bucket.count))
            }
        }
        return merged
    }

    private static func powerOfTwo(_ exponent: Int) -> Double {
        Double(sign: .plus, exponent: exponent, significand: 1)
    }
}
