import CLanternMetrics
import Synchronization

/// One metric: what was declared of it, and all its series in the order in which they came.
final class Family: Sendable {
    /// How a histogram keeps its sum: nanoseconds of timers as whole numbers, so that no addition rounds; values of
    /// recorders as they come.
    enum Storage: Sendable { case nanoseconds, number }

    /// The name as exposed, with `_total` for counters.
    let name: String
    let kind: MetricKind
    let declaration: MetricDeclaration?
    let limit: Int
    let storage: Storage
    /// Bounds in the unit of ``storage``.
    let bounds: BucketBounds?
    private let rows = Mutex(Rows())

    private struct Rows {
        var chunks: [SeriesChunk] = []
        var count = 0
        var overflow: SeriesRecord?
        var refused = 0
    }

    init(name: String, kind: MetricKind, declaration: MetricDeclaration?, limit: Int, storage: Storage) {
        self.name = name
        self.kind = kind
        self.declaration = declaration
        self.limit = limit
        self.storage = storage
        if kind == .histogram {
            let bounds = declaration?.buckets ?? MetricDeclaration.defaultBuckets
            self.bounds = BucketBounds(
                storage == .nanoseconds ? bounds.map { ($0 * 1_000_000_000).rounded() } : bounds)
        } else {
            self.bounds = nil
        }
    }

    /// Upper bounds in the unit of the metric, as declared.
    var exposedBounds: [Double] { self.declaration?.buckets ?? MetricDeclaration.defaultBuckets }

    /// Cells that one series takes.
    var width: Int { self.bounds.map { Int($0.count) + 2 } ?? 1 }

    /// Names that the samples of this family have, which no other family may use.
    var sampleNames: [String] {
        switch self.kind {
        case .counter:
            // What `_total` is added to names the family in OpenMetrics.
            [self.name, String(self.name.dropLast(6)), String(self.name.dropLast(6)) + "_created"]
        case .gauge: [self.name]
        case .histogram: [self.name] + ["_bucket", "_sum", "_count", "_created"].map { self.name + $0 }
        }
    }

    /// Series, without that of the overflow.
    var count: Int { self.rows.withLock { $0.count - ($0.overflow == nil ? 0 : 1) } }

    /// The series for everything beyond the limit, made on first use.
    var overflow: SeriesRecord? {
        get { self.rows.withLock { $0.overflow } }
        set { self.rows.withLock { $0.overflow = newValue } }
    }

    func append(_ record: SeriesRecord, labels: LabelSet, created: Double) {
        self.rows.withLock { rows in
            if rows.chunks.last?.isFull ?? true { rows.chunks.append(SeriesChunk()) }
            rows.chunks[rows.chunks.count - 1].append(record, labels: labels, created: created)
            rows.count += 1
        }
    }

    /// Says that a series has a second cell, of floating-point increments.
    func addCompanion(_ companion: Cell, of cell: Cell) {
        self.rows.withLock { rows in
            for index in rows.chunks.indices.reversed() where rows.chunks[index].addCompanion(companion, of: cell) {
                return
            }
        }
    }

    /// Takes series out; a scrape that runs keeps its own copy.
    func remove(_ records: [SeriesRecord]) {
        let gone = Set(records.map { ObjectIdentifier($0) })
        self.rows.withLock { rows in
            var kept: [SeriesChunk] = []
            for chunk in rows.chunks {
                let chunk = chunk.removing { gone.contains(ObjectIdentifier($0)) }
                if chunk.count > 0 { kept.append(chunk) }
            }
            rows.chunks = kept
            rows.count = kept.reduce(0) { $0 + $1.count }
        }
    }

    /// The series as they are now, for a scrape.
    var chunks: [SeriesChunk] { self.rows.withLock { $0.chunks } }
}

extension Family {
    /// The label with the most values, which is the one to blame for too many series. Looks at 10,000 series at most.
    var mostDiverseLabel: String? {
        var values: [String: Set<String>] = [:]
        for chunk in self.chunks.prefix(40) {
            for index in 0..<chunk.count {
                for (name, value) in LabelReader(chunk.labels(index)) { values[name, default: []].insert(value) }
            }
        }
        return values.max { ($0.value.count, $1.key) < ($1.value.count, $0.key) }?.key
    }
}

/// Up to 256 series side by side, so that a scrape reads memory in order.
struct SeriesChunk: Sendable {
    private(set) var records: [SeriesRecord] = []
    /// The labels of all series as they are written, one behind the other.
    private(set) var text: [UInt8] = []
    private var ends: [Int] = []
    private(set) var cells: [Cell] = []
    private(set) var created: [Double] = []
    /// Second cells, by index.
    private(set) var companions: [Int: Cell] = [:]

    var count: Int { self.cells.count }
    var isFull: Bool { self.cells.count >= 256 }

    mutating func append(_ record: SeriesRecord, labels: LabelSet, created: Double) {
        labels.write(to: &self.text)
        self.ends.append(self.text.count)
        self.cells.append(record.cell)
        self.created.append(created)
        self.records.append(record)
    }

    @inline(__always)
    func labels(_ index: Int) -> ArraySlice<UInt8> {
        self.text[(index == 0 ? 0 : self.ends[index - 1])..<self.ends[index]]
    }

    /// Calls `body` with the index and labels of each series.
    @inline(__always)
    func withLabels(_ body: (Int, UnsafeBufferPointer<UInt8>) -> Void) {
        self.text.withUnsafeBufferPointer { text in
            var start = 0
            for (index, end) in self.ends.enumerated() {
                body(index, UnsafeBufferPointer(rebasing: text[start..<end]))
                start = end
            }
        }
    }

    mutating func addCompanion(_ companion: Cell, of cell: Cell) -> Bool {
        guard
            let index = self.cells.firstIndex(where: {
                $0.cell.page == cell.cell.page && $0.cell.offset == cell.cell.offset
            })
        else { return false }
        self.companions[index] = companion
        return true
    }

    func removing(where isGone: (SeriesRecord) -> Bool) -> SeriesChunk {
        guard self.records.contains(where: isGone) else { return self }
        var kept = SeriesChunk()
        for index in self.records.indices where !isGone(self.records[index]) {
            kept.text.append(contentsOf: self.labels(index))
            kept.ends.append(kept.text.count)
            if let companion = self.companions[index] { kept.companions[kept.cells.count] = companion }
            kept.cells.append(self.cells[index])
            kept.created.append(self.created[index])
            kept.records.append(self.records[index])
        }
        return kept
    }
}

/// One series: where its numbers are. Recorders are faces of it.
final class SeriesRecord: Sendable {
    let family: Family
    let store: CellStore
    /// The number, or the first cell of a histogram's row.
    let cell: Cell
    let exemplars: ExemplarStore?
    let native: NativeHistogram?
    /// Recorders of this series that there are. Its cells must not be given to another one while there is one.
    let recorders = Atomic<Int>(0)
    private let companion = Mutex<Cell?>(nil)

    init(
        family: Family, store: CellStore, cell: Cell, exemplars: ExemplarStore? = nil, native: NativeHistogram? = nil
    ) {
        self.native = native
        self.family = family
        self.store = store
        self.cell = cell
        self.exemplars = exemplars
    }

    /// The cell of floating-point increments, made on first use; `nil` where memory is out.
    func fractions() -> Cell? {
        self.companion.withLock { companion in
            if companion == nil, let cell = self.store.allocate(1) {
                companion = cell
                self.family.addCompanion(cell, of: self.cell)
            }
            return companion
        }
    }

    /// Gives the cells back. Nobody holds a recorder of this series any more.
    func free() {
        self.store.free(self.cell, count: self.family.width)
        if let exemplars = self.exemplars { self.store.free(exemplars.gate.cell, count: 1) }
        if let native = self.native { self.store.free(native.cell, count: NativeHistogram.width) }
        if let companion = self.companion.withLock({ $0 }) { self.store.free(companion, count: 1) }
    }
}
