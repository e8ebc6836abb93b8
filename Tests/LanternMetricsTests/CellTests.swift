import CoreMetrics
import Glibc
import LanternMetricsTesting
import Synchronization
import Testing

@testable import LanternMetrics

/// A number that tasks and threads of a test share.
final class SharedCount: Sendable {
    private let number = Atomic<Int>(0)

    var value: Int { self.number.load(ordering: .acquiring) }

    func add(_ amount: Int = 1) { self.number.add(amount, ordering: .acquiringAndReleasing) }
}

/// What a thread does, in a box that can pass through C.
private final class ThreadWork: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

@Suite("Cells lose nothing", .serialized)
struct CellTests {
    // MARK: Tasks

    @Test("eight tasks lose nothing while a ninth scrapes, and no scrape goes back", .timeLimit(.minutes(3)))
    func tasks() async throws {
        let registry = MetricsRegistry()
        let finished = SharedCount()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    Self.record(into: registry, times: 5_000)
                    finished.add()
                }
            }
            group.addTask {
                var last = 0.0
                repeat {
                    let hits = try await MetricsSnapshot(registry).samples("hits_total").first?.value ?? 0
                    #expect(hits >= last)
                    last = hits
                } while finished.value < 8
            }
            try await group.waitForAll()
        }
        try Self.expectRecorded(registry, workers: 8, times: 5_000)
    }

    @Test("tasks that change threads between two increments lose nothing", .timeLimit(.minutes(3)))
    func hopping() async throws {
        let registry = MetricsRegistry()
        let counter = registry.makeCounter(label: "hits", dimensions: [])
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    for _ in 0..<2_000 {
                        counter.increment(by: 1)
                        await Task.yield()
                        counter.increment(by: 1)
                    }
                }
            }
        }
        try await MetricsSnapshot(registry).expectCounter("hits_total", [:], 16 * 2_000 * 2)
    }

    // MARK: Threads

    @Test("a hundred threads at once, more than there are slots, lose nothing", .timeLimit(.minutes(3)))
    func threads() throws {
        let registry = MetricsRegistry()
        let arrived = SharedCount()
        Self.onThreads(100) {
            // Takes a slot, and keeps it until all others have asked for one.
            registry.makeCounter(label: "arrivals", dimensions: []).increment(by: 1)
            arrived.add()
            while arrived.value < 100 { sched_yield() }
            Self.record(into: registry, times: 500)
        }
        try Self.expectRecorded(registry, workers: 100, times: 500)
        try Self.snapshot(registry).expectCounter("arrivals_total", [:], 100)
    }

    @Test("a thread that ended leaves its copies to later ones: they count on, and memory does not grow")
    func laterThreads() throws {
        let registry = MetricsRegistry()
        let counter = registry.makeCounter(label: "hits", dimensions: [])
        Self.onThreads(1) { counter.increment(by: 1) }
        let bytes = registry.cellBytes
        for _ in 0..<200 { Self.onThreads(1) { counter.increment(by: 1) } }
        try Self.snapshot(registry).expectCounter("hits_total", [:], 201)
        // A page of 4 KiB for each slot; there are 63. Tests beside this one may take some.
        #expect(registry.cellBytes - bytes < 32 * 4_096)
    }

    /// Runs `body` on so many threads at once, and returns when all of them have ended.
    private static func onThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
        var threads: [pthread_t] = []
        for _ in 0..<count {
            var thread = pthread_t()
            // Released by the thread.
            let work = Unmanaged.passRetained(ThreadWork(body)).toOpaque()
            let status = pthread_create(
                &thread, nil,
                { argument in
                    if let work = argument as UnsafeMutableRawPointer? {
                        Unmanaged<ThreadWork>.fromOpaque(work).takeRetainedValue().body()
                    }
                    return nil
                },
                work
            )
            #expect(status == 0)
            threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
    }

    // MARK: What is recorded

    private static func record(into registry: MetricsRegistry, times: Int) {
        let hits = registry.makeCounter(label: "hits", dimensions: [("path", "/")])
        let spent = registry.makeFloatingPointCounter(label: "spent", dimensions: [])
        let depth = registry.makeMeter(label: "depth", dimensions: [])
        let work = registry.makeTimer(label: "work_seconds", dimensions: [])
        let sizes = registry.makeRecorder(label: "sizes", dimensions: [], aggregate: true)
        for number in 0..<times {
            hits.increment(by: 1)
            spent.increment(by: 0.5)
            depth.increment(by: 2)
            depth.decrement(by: 1)
            work.recordNanoseconds(Int64(number))
            sizes.record(0.25)
        }
    }

    private static func expectRecorded(_ registry: MetricsRegistry, workers: Int, times: Int) throws {
        let snapshot = try Self.snapshot(registry)
        let total = workers * times
        let nanoseconds = workers * (times * (times - 1) / 2)
        let seconds = Double(nanoseconds) / 1_000_000_000
        try snapshot.expectCounter("hits_total", ["path": "/"], Double(total))
        try snapshot.expectCounter("spent_total", [:], Double(total) / 2)
        try snapshot.expectGauge("depth", [:], Double(total))
        try snapshot.expectHistogram("work_seconds", count: total, sum: seconds...seconds)
        try snapshot.expectHistogram("sizes", count: total, sum: (Double(total) / 4)...(Double(total) / 4))
    }

    private static func snapshot(_ registry: MetricsRegistry) throws -> MetricsSnapshot {
        try MetricsSnapshot(text: String(decoding: registry.written(), as: UTF8.self))
    }

    // MARK: Sums and buckets

    @Test("a sum of nanoseconds is exact where floating-point seconds have stopped counting")
    func exactSum() throws {
        let registry = MetricsRegistry()
        let timer = registry.makeTimer(label: "work_seconds", dimensions: [])
        timer.recordNanoseconds(1 << 53)
        for _ in 0..<100_000 { timer.recordNanoseconds(1) }
        let seconds = Double((1 << 53) + 100_000) / 1_000_000_000
        try Self.snapshot(registry).expectHistogram("work_seconds", count: 100_001, sum: seconds...seconds)
    }

    @Test("a bucket includes its bound, whatever the number of bounds", arguments: [0, 1, 2, 11, 14, 16, 256])
    func bounds(count: Int) throws {
        var generator = SeededGenerator(seed: UInt64(count))
        var distinct: Set<Double> = []
        while distinct.count < count { distinct.insert(Double.random(in: -1e6...1e6, using: &generator)) }
        let bounds = distinct.sorted()
        let ours = BucketBounds(bounds)
        let store = CellStore()
        let row = try #require(store.allocate(count + 2))
        var values: [Double] = [-.infinity, -.greatestFiniteMagnitude, -0.0, 0, .greatestFiniteMagnitude, .infinity]
        for bound in bounds { values += [bound.nextDown, bound, bound.nextUp] }
        var expected = [UInt64](repeating: 0, count: count + 1)
        for value in values {
            let bucket = bounds.firstIndex { value <= $0 } ?? count
            expected[bucket] += 1
            let found = row.observe(value, bounds: ours)
            #expect(found == bucket, "\(value)")
        }
        var reader = store.reader()
        let counts = (0...count).map { reader.sum(row.cell, plus: 1 + $0) }
        #expect(counts == expected)
    }

    @Test("whole numbers find their buckets as well, and add up")
    func wholeBounds() throws {
        let bounds = MetricDeclaration.shortBuckets.map { ($0 * 1_000_000_000).rounded() }
        let ours = BucketBounds(bounds)
        let store = CellStore()
        let row = try #require(store.allocate(bounds.count + 2))
        var values: [UInt64] = [0, UInt64(Int64.max)]
        for bound in bounds { values += [UInt64(bound) - 1, UInt64(bound), UInt64(bound) + 1] }
        for value in values {
            let bucket = bounds.firstIndex { Double(value) <= $0 } ?? bounds.count
            let found = row.observe(value, bounds: ours)
            #expect(found == bucket, "\(value)")
        }
        var reader = store.reader()
        let sum = reader.sum(row.cell)
        #expect(sum == values.reduce(0, &+))
    }

    // MARK: Exponential buckets

    /// The smallest i with `value` <= 2^(i/8), from the definition.
    static func exponentialIndex(_ value: Double) -> Int {
        var place = Int((log2(value.significand) * 8).rounded(.up))
        // A logarithm may round across a bound.
        if place > 0, value.significand <= exp2(Double(place - 1) / 8) { place -= 1 }
        if value.significand > exp2(Double(place) / 8) { place += 1 }
        return Int(value.exponent) * 8 + place
    }

    @Test("an exponential bucket includes its upper bound, from the smallest number to the largest")
    func exponentialBounds() {
        for exponent in -1_074...1_023 {
            let power = Double(sign: .plus, exponent: exponent, significand: 1)
            let found = Cell.nativeIndex(power)
            #expect(found == exponent * 8, "2^\(exponent)")
        }
        for exponent in stride(from: -1_000, through: 1_000, by: 40) {
            for place in 0..<8 {
                let bound = Double(sign: .plus, exponent: exponent, significand: exp2(Double(place) / 8))
                let found = [bound.nextDown, bound, bound.nextUp].map { Cell.nativeIndex($0) }
                let index = exponent * 8 + place
                #expect(found == [index, index, index + 1], "2^(\(index)/8)")
            }
        }
        #expect(Cell.nativeIndex(.greatestFiniteMagnitude) == 1_024 * 8)
    }

    @Test("random numbers lie in the exponential bucket that the definition says")
    func exponentialIndexes() {
        var generator = SeededGenerator(seed: 5)
        var wrong: [Double] = []
        for number in 0..<100_000 {
            // Every eighth is subnormal.
            let mask: UInt64 = number % 8 == 0 ? 0x000F_FFFF_FFFF_FFFF : 0x7FFF_FFFF_FFFF_FFFF
            let value = Double(bitPattern: generator.next() & mask)
            guard value.isFinite, value > 0 else { continue }
            if Cell.nativeIndex(value) != Self.exponentialIndex(value) { wrong.append(value) }
        }
        #expect(wrong == [])
    }

    // MARK: Rows

    @Test("rows do not overlap, and those that are given back are clean and used again")
    func rows() throws {
        let store = CellStore()
        let widths = (0..<400).map { [3, 16, 258, 417, 512][$0 % 5] }
        let cells = try widths.map { width in try #require(store.allocate(width)) }
        for (cell, width) in zip(cells, widths) {
            // One observation in each bucket.
            let bounds = BucketBounds((0..<(width - 2)).map { Double($0) })
            for value in 0..<(width - 1) { _ = cell.observe(UInt64(value), bounds: bounds) }
        }
        for (cell, width) in zip(cells, widths) {
            let sum = UInt64((width - 1) * (width - 2) / 2)
            #expect(Self.row(store, cell, width) == [sum] + [UInt64](repeating: 1, count: width - 1))
            store.free(cell, count: width)
        }
        let bytes = store.bytes
        for width in widths {
            let cell = try #require(store.allocate(width))
            #expect(Self.row(store, cell, width).allSatisfy { $0 == 0 })
        }
        #expect(store.bytes == bytes)
        #expect(store.allocate(0) == nil)
        #expect(store.allocate(513) == nil)
    }

    private static func row(_ store: CellStore, _ cell: Cell, _ width: Int) -> [UInt64] {
        var reader = store.reader()
        return (0..<width).map { reader.sum(cell.cell, plus: $0) }
    }
}
