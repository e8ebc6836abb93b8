/// Writes length-delimited `io.prometheus.client.MetricFamily` messages (metrics.proto of the Prometheus client model).
///
/// A family is one message, so it is held until its last series: its length stands in front. The messages are written field
/// by field, because going by way of generated types would allocate an object for each number.
struct ProtobufEncoder {
    private var bytes: [UInt8] = []
    /// Pieces of whole families, in order, before ``bytes``.
    private var ready: [[UInt8]] = []
    /// What there is of the current family before ``message``. One growing array would hold it twice each time it grows.
    private var parts: [[UInt8]] = []
    private let escaping: ExpositionFormat.Escaping?
    private let allowsUTF8Names: Bool
    private let showsCreated: Bool
    private let exemplarInterval: Double
    private let now: Double
    private var reader: CellReader
    private var family: Family?
    private var kind = MetricKind.gauge
    private var unit: String?
    private var labels = LabelEscaper(nil, of: .gauge) { _ in false }
    private var message = ProtobufMessage()

    init(format: ExpositionFormat, reader: CellReader, configuration: MetricsConfiguration) {
        self.escaping = format.escaping
        self.allowsUTF8Names = configuration.allowsUTF8Names
        self.showsCreated = configuration.showsCreated
        self.exemplarInterval = configuration.exemplarInterval.inSeconds
        self.now = WallClock.now()
        self.reader = reader
    }

    mutating func beginFamily(_ header: FamilyHeader) {
        self.reader.refresh()
        self.family = header.family
        self.kind = header.kind
        self.unit = header.unit
        self.labels = LabelEscaper(self.escaping, of: header.kind, isTaken: header.hasSeries)
        self.message = ProtobufMessage()
        self.message.text(1, header.exposedName)
        if let help = header.help { self.message.text(2, help) }
        let type: UInt64 =
            switch header.kind {
            case .counter: 0
            case .gauge: 1
            case .histogram: 4
            }
        self.message.number(3, type)
    }

    mutating func add(_ chunk: SeriesChunk) {
        for index in 0..<chunk.count {
            let exemplars = chunk.records[index].exemplars?.read(now: self.now, interval: self.exemplarInterval)
            let cell = chunk.cells[index].cell
            let labels = LabelReader(chunk.labels(index)).map { ($0.name, $0.value) }
            var value = ProtobufMessage()
            let field: Int
            switch self.kind {
            case .gauge:
                field = 2
                value.double(1, self.reader.sumOfDoubles(cell))
            case .counter:
                field = 3
                var total = Double(self.reader.sum(cell))
                if let companion = chunk.companions[index] { total += self.reader.sumOfDoubles(companion.cell) }
                value.double(1, total)
                if let exemplar = exemplars?[0] { value.message(2, self.message(exemplar)) }
                if self.showsCreated { value.message(3, self.message(time: chunk.created[index])) }
            case .histogram:
                field = 7
                self.histogram(cell, chunk.records[index], exemplars, into: &value)
                if self.showsCreated { value.message(15, self.message(time: chunk.created[index])) }
            }
            self.metric(labels, field, value)
        }
    }

    mutating func add(_ collected: SampleSink.Samples) {
        for sample in collected.samples {
            var value = ProtobufMessage()
            value.double(1, sample.value)
            self.metric(sample.labels.pairs, self.kind == .counter ? 3 : 2, value)
        }
    }

    mutating func endFamily() {
        if let unit = self.unit { self.message.text(5, unit) }
        var length = ProtobufMessage()
        length.varint(UInt64(self.parts.reduce(self.message.bytes.count) { $0 + $1.count }))
        self.bytes.append(contentsOf: length.bytes)
        if !self.parts.isEmpty {
            self.ready.append(self.takeBytes())
            self.ready.append(contentsOf: self.parts)
            self.parts = []
        }
        self.bytes.append(contentsOf: self.message.take())
    }

    /// Series are put together to parts of this size, in bytes.
    private static let partSize = 64 * 1_024

    /// Bytes of whole families that nobody took yet.
    var size: Int { self.ready.reduce(self.bytes.count) { $0 + $1.count } }

    /// The next piece; empty when nothing is left.
    mutating func take() -> [UInt8] {
        self.ready.isEmpty ? self.takeBytes() : self.ready.removeFirst()
    }

    private mutating func takeBytes() -> [UInt8] {
        var taken: [UInt8] = []
        swap(&taken, &self.bytes)
        return taken
    }

    private mutating func metric(_ labels: [(String, String)], _ field: Int, _ value: ProtobufMessage) {
        var pairs = labels
        if self.allowsUTF8Names, self.escaping != .utf8 {
            pairs = self.labels.escape(pairs).pairs
        }
        var metric = ProtobufMessage()
        for (name, value) in pairs {
            var pair = ProtobufMessage()
            pair.text(1, name)
            pair.text(2, value)
            metric.message(1, pair)
        }
        metric.message(field, value)
        self.message.message(4, metric)
        if self.message.bytes.count >= Self.partSize { self.parts.append(self.message.take()) }
    }

    private mutating func histogram(
        _ cell: CellAddress, _ record: SeriesRecord, _ exemplars: [Int: Exemplar]?, into value: inout ProtobufMessage
    ) {
        guard let family = self.family else { return }
        // Read before the classic buckets, so that what comes in meanwhile is in those at most; the message must agree in
        // itself, or Prometheus drops it.
        let native = record.native?.snapshot(&self.reader)
        let counted = native.map { $0.zeroCount + ($0.positive + $0.negative).reduce(0) { $0 + $1.count } }
        var total: UInt64 = 0
        var buckets = ProtobufMessage()
        let bounds = family.exposedBounds + [.infinity]
        for (index, bound) in bounds.enumerated() {
            total += self.reader.sum(cell, plus: 1 + index)
            var bucket = ProtobufMessage()
            bucket.number(1, index == bounds.count - 1 ? counted ?? total : min(total, counted ?? total))
            bucket.double(2, bound)
            if let exemplar = exemplars?[index] { bucket.message(3, self.message(exemplar)) }
            buckets.message(3, bucket)
        }
        value.number(1, counted ?? total)
        value.double(2, family.sum(cell, &self.reader))
        value.append(buckets)
        guard let snapshot = native else { return }
        value.signed(5, Int64(snapshot.schema))
        value.double(6, snapshot.zeroThreshold)
        value.number(7, snapshot.zeroCount)
        self.spans(snapshot.negative, 9, 10, into: &value)
        self.spans(snapshot.positive, 12, 13, into: &value)
        if snapshot.positive.isEmpty, snapshot.negative.isEmpty, snapshot.zeroCount == 0 {
            // Tells a native histogram without observations from a classic one.
            var span = ProtobufMessage()
            span.signed(1, 0)
            span.number(2, 0)
            value.message(12, span)
        }
    }

    /// Populated buckets as spans of consecutive ones, and counts as differences.
    private func spans(
        _ buckets: [(index: Int, count: UInt64)], _ spanField: Int, _ deltaField: Int, into value: inout ProtobufMessage
    ) {
        var spans: [(offset: Int, length: Int)] = []
        var deltas = ProtobufMessage()
        var next = 0
        var last: Int64 = 0
        for (index, count) in buckets {
            if spans.isEmpty || index != next {
                spans.append((index - next, 1))
            } else {
                spans[spans.count - 1].length += 1
            }
            next = index + 1
            let count = Int64(clamping: count)
            deltas.varint(ProtobufMessage.zigzag(count - last))
            last = count
        }
        for span in spans {
            var message = ProtobufMessage()
            message.signed(1, Int64(span.offset))
            message.number(2, UInt64(span.length))
            value.message(spanField, message)
        }
        if !spans.isEmpty { value.message(deltaField, deltas) }
    }

    private func message(_ exemplar: Exemplar) -> ProtobufMessage {
        var message = ProtobufMessage()
        for (name, value) in [("trace_id", exemplar.context.traceID), ("span_id", exemplar.context.spanID)] {
            var pair = ProtobufMessage()
            pair.text(1, name)
            pair.text(2, value)
            message.message(1, pair)
        }
        message.double(2, exemplar.value)
        message.message(3, self.message(time: exemplar.time))
        return message
    }

    /// `google.protobuf.Timestamp`.
    private func message(time: Double) -> ProtobufMessage {
        var message = ProtobufMessage()
        message.number(1, UInt64(max(0, time)))
        message.number(2, UInt64((max(0, time) - max(0, time).rounded(.down)) * 1_000_000_000))
        return message
    }
}

/// Protocol buffers' wire format (protobuf.dev, "Encoding").
struct ProtobufMessage {
    private(set) var bytes: [UInt8] = []

    /// What was written, which is then no longer held here.
    mutating func take() -> [UInt8] {
        var taken: [UInt8] = []
        swap(&taken, &self.bytes)
        return taken
    }

    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            self.bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        self.bytes.append(UInt8(rest))
    }

    static func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: (value << 1) ^ (value >> 63)) }

    mutating func number(_ field: Int, _ value: UInt64) {
        self.varint(UInt64(field << 3))
        self.varint(value)
    }

    mutating func signed(_ field: Int, _ value: Int64) { self.number(field, Self.zigzag(value)) }

    mutating func double(_ field: Int, _ value: Double) {
        self.varint(UInt64(field << 3 | 1))
        withUnsafeBytes(of: value.bitPattern.littleEndian) { self.bytes.append(contentsOf: $0) }
    }

    mutating func text(_ field: Int, _ value: String) {
        self.varint(UInt64(field << 3 | 2))
        self.varint(UInt64(value.utf8.count))
        self.bytes.append(contentsOf: value.utf8)
    }

    mutating func message(_ field: Int, _ value: ProtobufMessage) {
        self.varint(UInt64(field << 3 | 2))
        self.varint(UInt64(value.bytes.count))
        self.bytes.append(contentsOf: value.bytes)
    }

    /// Fields of another message, as if they had been written here.
    mutating func append(_ other: ProtobufMessage) { self.bytes.append(contentsOf: other.bytes) }
}
