import CLanternMetrics
import Synchronization

/// The numbers behind all series of a registry: the wrapper of `lantern_cells.h`, which says how threads share them.
///
/// `@unchecked`: the C functions are atomic on every cell, and the memory lives as long as this object, which each
/// ``Cell`` holder keeps alive.
final class CellStore: @unchecked Sendable {
    fileprivate let cells: UnsafeMutablePointer<lantern_cells>
    private let space = Mutex(Space())

    private struct Space {
        var page: UInt32 = 0
        var offset: UInt32 = 0
        /// Rows that were given back, by their length.
        var free: [Int: [lantern_cell]] = [:]
        /// Rows that a running scrape may still read; they become free when no scrape runs.
        var resting: [(cell: lantern_cell, count: Int)] = []
        var scrapes = 0
    }

    init() {
        // Nine KiB that cannot be had: any allocation of Swift's own would end the process in the same way.
        guard let cells = lantern_cells_create() else {
            preconditionFailure("out of memory while a metrics registry was made")
        }
        self.cells = cells
    }

    deinit { lantern_cells_destroy(self.cells) }

    /// A row of cells, all zero; `nil` where memory is out, or the row is longer than the first page.
    func allocate(_ count: Int) -> Cell? {
        guard count > 0, count <= Int(LANTERN_FIRST_PAGE) else { return nil }
        return self.space.withLock { space in
            if let cell = space.free[count]?.popLast() { return Cell(cells: self.cells, cell: cell) }
            var page = space.page
            var offset = space.offset
            if offset + UInt32(count) > UInt32(LANTERN_FIRST_PAGE) << page {
                page += 1
                offset = 0
            }
            guard page < UInt32(LANTERN_PAGES), lantern_cells_prepare(self.cells, page) != 0 else { return nil }
            space.page = page
            space.offset = offset + UInt32(count)
            return Cell(cells: self.cells, cell: lantern_cell(page: page, offset: offset))
        }
    }

    /// Takes a row back. Nobody may record into it any more; a scrape that runs may still read it.
    func free(_ cell: Cell, count: Int) {
        self.space.withLock { space in
            space.resting.append((cell.cell, count))
            self.settle(&space)
        }
    }

    /// Whether rows wait for a scrape that began before they were given back.
    var isResting: Bool { self.space.withLock { !$0.resting.isEmpty } }

    func scrapeBegins() {
        self.space.withLock { $0.scrapes += 1 }
    }

    func scrapeEnds() {
        self.space.withLock { space in
            space.scrapes -= 1
            self.settle(&space)
        }
    }

    private func settle(_ space: inout Space) {
        guard space.scrapes == 0 else { return }
        for row in space.resting {
            lantern_cells_clear(self.cells, row.cell, UInt32(row.count))
            space.free[row.count, default: []].append(row.cell)
        }
        space.resting = []
    }

    /// Bytes of the pages that the cells of all threads lie in; those that were not touched take no memory yet.
    var bytes: Int { lantern_cells_bytes(self.cells) }

    func reader() -> CellReader { CellReader(store: self) }
}

/// Where a cell lies, the same in the copies of every thread.
typealias CellAddress = lantern_cell

extension CellAddress {
    /// The cell `distance` places behind in its row.
    func advanced(by distance: Int) -> CellAddress {
        CellAddress(page: self.page, offset: self.offset + UInt32(distance))
    }
}

/// One cell, or the first of a row. Its store must be kept alive by whoever holds it.
///
/// `@unchecked`: see ``CellStore``.
struct Cell: @unchecked Sendable {
    fileprivate let cells: UnsafeMutablePointer<lantern_cells>
    let cell: CellAddress

    /// Adds to a whole number, in this thread's copy.
    @inline(__always)
    func add(_ amount: UInt64) { lantern_cell_add(self.cells, self.cell, amount) }

    /// Adds to a floating-point number, in this thread's copy.
    @inline(__always)
    func add(_ amount: Double) { lantern_cell_add_double(self.cells, self.cell, amount) }

    /// Sets the one copy of a number that is never ``add(_:)``ed to.
    @inline(__always)
    func set(_ value: Double) { lantern_cell_set_double(self.cells, self.cell, value) }

    /// Adds to the one copy of a number that is also set.
    @inline(__always)
    func addShared(_ amount: Double) { lantern_cell_shared_add_double(self.cells, self.cell, amount) }

    /// Takes from a whole number what it holds now, so that it counts from 0 again.
    func restart(_ value: UInt64) { lantern_cell_shared_add(self.cells, self.cell, 0 &- value) }

    func restart(_ value: Double) { lantern_cell_shared_add_double(self.cells, self.cell, -value) }

    /// Bits with one copy, which is never added to.
    var bits: UInt64 {
        @inline(__always) get { lantern_cell_bits(self.cells, self.cell) }
    }

    /// Sets bits; answers what was there before.
    func setBits(_ bits: UInt64) -> UInt64 { lantern_cell_set_bits(self.cells, self.cell, bits) }

    func clearBits(_ bits: UInt64) { lantern_cell_clear_bits(self.cells, self.cell, bits) }

    /// Counts a whole number into a histogram's row; answers the bucket.
    @inline(__always)
    func observe(_ value: UInt64, bounds: BucketBounds) -> Int {
        Int(lantern_observe(self.cells, self.cell, bounds.pointer, bounds.count, value))
    }

    /// Counts a floating-point number into a histogram's row; answers the bucket.
    @inline(__always)
    func observe(_ value: Double, bounds: BucketBounds) -> Int {
        Int(lantern_observe_double(self.cells, self.cell, bounds.pointer, bounds.count, value))
    }

    /// Counts into a row of exponential buckets; `false` where the value lies outside of it.
    @inline(__always)
    func observeNative(_ value: Double, lowest: Int, octaves: Int) -> Bool {
        lantern_observe_native(self.cells, self.cell, value, Int32(lowest), Int32(octaves)) != 0
    }

    /// The bucket of a positive, finite value, by the numbering of schema 3.
    static func nativeIndex(_ value: Double) -> Int { Int(lantern_native_index(value)) }
}

/// The bounds of a histogram where C can read them.
///
/// `@unchecked`: written once, before anybody else has it.
final class BucketBounds: @unchecked Sendable {
    fileprivate let pointer: UnsafeMutablePointer<Double>
    let count: UInt32
    let values: [Double]

    init(_ values: [Double]) {
        // One more than needed: an empty allocation has no address.
        self.pointer = .allocate(capacity: values.count + 1)
        self.pointer.initialize(from: values + [.infinity], count: values.count + 1)
        self.count = UInt32(values.count)
        self.values = values
    }

    deinit { self.pointer.deallocate() }
}

/// Sums up cells. Remembers the pages it saw last: a scrape reads thousands of cells of one page in a row.
struct CellReader {
    private let store: CellStore
    private var pages = lantern_pages()
    private var page = UInt32.max

    fileprivate init(store: CellStore) { self.store = store }

    /// Forgets the pages, so that threads that came since are seen.
    mutating func refresh() { self.page = .max }

    private mutating func turn(to page: UInt32) {
        if page != self.page {
            lantern_pages_gather(self.store.cells, page, &self.pages)
            self.page = page
        }
    }

    /// Lends the copies of a cell's page.
    @inline(__always)
    mutating func withPages<Value>(of cell: CellAddress, _ body: (UnsafePointer<lantern_pages>) -> Value) -> Value {
        self.turn(to: cell.page)
        return withUnsafePointer(to: &self.pages, body)
    }

    mutating func sum(_ cell: CellAddress) -> UInt64 {
        self.turn(to: cell.page)
        return lantern_pages_sum(&self.pages, cell.offset)
    }

    mutating func sum(_ cell: CellAddress, plus index: Int) -> UInt64 {
        self.turn(to: cell.page)
        return lantern_pages_sum(&self.pages, cell.offset + UInt32(index))
    }

    mutating func sumOfDoubles(_ cell: CellAddress) -> Double {
        self.turn(to: cell.page)
        return lantern_pages_sum_double(&self.pages, cell.offset)
    }
}

/// Hashes texts with a secret seed, so that nobody outside can aim at one bucket of a table.
struct TextHash {
    private(set) var value: UInt64

    init(seed: UInt64) { self.value = seed }

    @inline(__always)
    mutating func add(_ text: String) {
        let seed = self.value
        if let hash = text.utf8.withContiguousStorageIfAvailable({
            lantern_hash(seed, $0.baseAddress, $0.count)
        }) {
            self.value = hash
        } else {
            self.value = Array(text.utf8).withUnsafeBufferPointer { lantern_hash(seed, $0.baseAddress, $0.count) }
        }
    }
}
