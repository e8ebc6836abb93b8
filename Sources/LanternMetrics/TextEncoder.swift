/// Writes the text formats: Prometheus 0.0.4 and 1.0.0, and OpenMetrics 1.0.0.
struct TextEncoder {
    private let text = TextBuffer()
    private let isOpenMetrics: Bool
    private let escaping: ExpositionFormat.Escaping?
    private let allowsUTF8Names: Bool
    private let showsCreated: Bool
    private let exemplarInterval: Double
    private let now: Double
    private var reader: CellReader
    private var names = SampleNames()
    private var kind = MetricKind.gauge
    private var labels = LabelEscaper(nil, of: .gauge) { _ in false }
    private var family: Family?

    /// `# TYPE` and the sample names of the current family, up to where labels begin.
    private struct SampleNames {
        var plain: [UInt8] = []
        var created: [UInt8] = []
        var bucket: [UInt8] = []
        var sum: [UInt8] = []
        var count: [UInt8] = []
        var bounds = BoundTexts([])
        /// Whether the names are inside the braces, where a comma must follow before the labels.
        var isQuoted = false
    }

    init(format: ExpositionFormat, reader: CellReader, configuration: MetricsConfiguration) {
        self.isOpenMetrics = format.kind == .openMetrics
        self.escaping = format.escaping
        self.allowsUTF8Names = configuration.allowsUTF8Names
        self.showsCreated = configuration.showsCreated && format.kind == .openMetrics
        self.exemplarInterval = configuration.exemplarInterval.inSeconds
        self.now = WallClock.now()
        self.reader = reader
    }

    // MARK: Families

    mutating func beginFamily(_ header: FamilyHeader) {
        self.reader.refresh()
        self.kind = header.kind
        self.family = header.family
        self.labels = LabelEscaper(self.escaping, of: header.kind, isTaken: header.hasSeries)
        var name = header.exposedName
        let isQuoted = !MetricName.isClassic(name, allowColon: true)
        // OpenMetrics names a family without the suffix that its samples bear.
        let sample = name
        var type = header.kind.rawValue
        if self.isOpenMetrics {
            if header.kind == .counter, name.hasSuffix("_total") { name = String(name.dropLast(6)) }
            if header.isInfo, name.hasSuffix("_info") {
                name = String(name.dropLast(5))
                type = "info"
            }
        }
        if let help = header.help {
            self.comment("HELP", name, isQuoted)
            // Only OpenMetrics escapes quotes here.
            self.text.append(TextEscaping.escaped(help, quotes: self.isOpenMetrics))
            self.text.append(Self.newline)
        }
        self.comment("TYPE", name, isQuoted)
        self.text.append(type)
        self.text.append(Self.newline)
        if self.isOpenMetrics, let unit = header.unit, !header.isInfo, name.hasSuffix("_" + unit) {
            self.comment("UNIT", name, isQuoted)
            self.text.append(unit)
            self.text.append(Self.newline)
        }
        self.names = self.sampleNames(sample, base: name, isQuoted, header.family)
    }

    private mutating func comment(_ word: String, _ name: String, _ isQuoted: Bool) {
        self.text.append("# \(word) ")
        if isQuoted {
            self.text.append("\"")
            self.text.append(TextEscaping.escaped(name, quotes: true))
            self.text.append("\" ")
        } else {
            self.text.append(name)
            self.text.append(" ")
        }
    }

    private func sampleNames(_ sample: String, base: String, _ isQuoted: Bool, _ family: Family?) -> SampleNames {
        func name(_ text: String) -> [UInt8] {
            guard isQuoted else { return Array(text.utf8) + [UInt8(ascii: "{")] }
            var bytes = Array("{\"".utf8)
            TextEscaping.append(text, to: &bytes, quotes: true)
            // Its closing quote comes with the labels, so that there is always something before the brace.
            return bytes
        }
        var names = SampleNames()
        names.isQuoted = isQuoted
        names.plain = name(sample)
        names.created = name(base + "_created")
        guard let family, family.kind == .histogram else { return names }
        names.bucket = name(sample + "_bucket")
        names.sum = name(sample + "_sum")
        names.count = name(sample + "_count")
        names.bounds = BoundTexts(family.exposedBounds)
        return names
    }

    // MARK: Samples

    mutating func add(_ chunk: SeriesChunk) {
        let isPlain = !self.names.isQuoted && !(self.allowsUTF8Names && self.escaping != .utf8)
        chunk.withLabels { index, labels in
            if isPlain { return self.add(chunk, index, labels) }
            // Labels that are not classic stand there quoted, and must be written anew for scrapers that do not know them;
            // a quoted name of the metric stands among them.
            let own = self.behindName(
                self.escaping == .utf8
                    ? Array(labels) : self.escaped(LabelReader(Array(labels)[...]).map { ($0.name, $0.value) })
            )
            own.withUnsafeBufferPointer { self.add(chunk, index, $0) }
        }
    }

    private mutating func add(_ chunk: SeriesChunk, _ index: Int, _ labels: UnsafeBufferPointer<UInt8>) {
        let exemplars =
            self.isOpenMetrics
            ? chunk.records[index].exemplars?.read(now: self.now, interval: self.exemplarInterval) : nil
        switch self.kind {
        case .gauge:
            self.text.append(series: self.names.plain, labels)
            self.text.append(self.reader.sumOfDoubles(chunk.cells[index].cell))
            self.text.append(Self.newline)
        case .counter where exemplars == nil && chunk.companions.isEmpty:
            self.text.append(line: self.names.plain, labels, self.reader.sum(chunk.cells[index].cell))
        case .counter:
            self.text.append(series: self.names.plain, labels)
            let whole = self.reader.sum(chunk.cells[index].cell)
            if let companion = chunk.companions[index] {
                self.text.append(Double(whole) + self.reader.sumOfDoubles(companion.cell))
            } else {
                self.text.append(whole)
            }
            if let exemplar = exemplars?[0] { self.append(exemplar) }
            self.text.append(Self.newline)
        case .histogram:
            self.histogram(chunk.cells[index], labels, exemplars)
        }
        if self.showsCreated, self.kind != .gauge {
            self.text.append(series: self.names.created, labels)
            self.text.append(chunk.created[index])
            self.text.append(Self.newline)
        }
    }

    private static let newline = UInt8(ascii: "\n")

    private mutating func histogram(
        _ cell: Cell, _ labels: UnsafeBufferPointer<UInt8>, _ exemplars: [Int: Exemplar]?
    ) {
        guard let family = self.family else { return }
        var total: UInt64 = 0
        if let exemplars, !exemplars.isEmpty {
            for bucket in self.names.bounds.ends.indices {
                total += self.reader.sum(cell.cell, plus: 1 + bucket)
                self.text.append(bucket: self.names.bucket, labels, self.names.bounds[bucket])
                self.text.append(total)
                if let exemplar = exemplars[bucket] { self.append(exemplar) }
                self.text.append(Self.newline)
            }
        } else {
            total = self.text.append(
                buckets: self.names.bucket, labels, self.names.bounds, &self.reader, cell.cell.advanced(by: 1)
            )
        }
        let sum = family.sum(cell.cell, &self.reader)
        // With negative values a sum can fall, which OpenMetrics forbids to show; without a sum there is no count.
        guard !self.isOpenMetrics || ((family.exposedBounds.first ?? 0) >= 0 && sum >= 0) else { return }
        self.text.append(series: self.names.sum, labels)
        self.text.append(sum)
        self.text.append(Self.newline)
        self.text.append(series: self.names.count, labels)
        self.text.append(total)
        self.text.append(Self.newline)
    }

    mutating func add(_ collected: SampleSink.Samples) {
        for sample in collected.samples {
            var labels: [UInt8] = []
            if self.allowsUTF8Names, self.escaping != .utf8 {
                labels = self.escaped(sample.labels.pairs)
            } else {
                sample.labels.write(to: &labels)
            }
            labels = self.behindName(labels)
            labels.withUnsafeBufferPointer { self.text.append(series: self.names.plain, $0) }
            self.text.append(sample.value)
            self.text.append(Self.newline)
        }
    }

    mutating func finish() {
        if self.isOpenMetrics { self.text.append("# EOF\n") }
    }

    var size: Int { self.text.count }

    mutating func take() -> [UInt8] { self.text.take() }

    private func behindName(_ labels: [UInt8]) -> [UInt8] {
        guard self.names.isQuoted else { return labels }
        return [UInt8(ascii: "\"")] + (labels.isEmpty ? [] : [UInt8(ascii: ",")] + labels)
    }

    private mutating func escaped(_ labels: [(String, String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        self.labels.escape(labels).write(to: &bytes)
        return bytes
    }

    private func append(_ exemplar: Exemplar) {
        var labels: [UInt8] = []
        LabelSet([("trace_id", exemplar.context.traceID), ("span_id", exemplar.context.spanID)]).write(to: &labels)
        self.text.append(" # {")
        self.text.append(labels)
        self.text.append("} ")
        self.text.append(exemplar.value)
        self.text.append(" ")
        self.text.append(exemplar.time)
    }
}

extension Family {
    /// The sum of a histogram's observations in the unit of the metric.
    func sum(_ cell: CellAddress, _ reader: inout CellReader) -> Double {
        switch self.storage {
        case .nanoseconds: Double(reader.sum(cell)) / 1_000_000_000
        case .number: reader.sumOfDoubles(cell)
        }
    }
}
