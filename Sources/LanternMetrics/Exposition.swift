import Synchronization

/// One scrape, written piece by piece: whoever sends it asks for the next piece when the last one is gone, so that a scrape
/// of any size takes no more memory than a piece.
///
/// Series that are made while it is written may or may not be in it. Safe from any task, one at a time.
public final class Exposition: Sendable {
    public let format: ExpositionFormat
    private let registry: MetricsRegistry
    private let writer: Mutex<ExpositionWriter>

    init(registry: MetricsRegistry, format: ExpositionFormat, collected: SampleSink) {
        self.format = format
        self.registry = registry
        // Cells of series that are dropped from now on stay as they are until this scrape is over.
        registry.store.scrapeBegins()
        self.writer = Mutex(ExpositionWriter(registry: registry, format: format, collected: collected))
    }

    deinit { self.registry.store.scrapeEnds() }

    /// The next piece, of some 64 KiB; `nil` at the end.
    public func next() -> [UInt8]? {
        self.writer.withLock { $0.next() }
    }
}

extension MetricsRegistry {
    /// Begins a scrape: runs the collectors, and writes as the caller asks for pieces.
    public func scrape(_ format: ExpositionFormat = .text) async -> Exposition {
        self.sweep()
        return Exposition(registry: self, format: format, collected: await self.collected())
    }

    /// A whole scrape at once.
    public func exposition(_ format: ExpositionFormat = .text) async -> [UInt8] {
        let exposition = await self.scrape(format)
        var bytes: [UInt8] = []
        while let piece = exposition.next() { bytes.append(contentsOf: piece) }
        return bytes
    }
}

/// Walks over families and series, and hands each to the encoding of the format.
struct ExpositionWriter {
    /// A family with recorders, with samples of collectors, or both.
    private struct Entry {
        var name: String
        var family: Family?
        var collected: SampleSink.Samples?
    }

    private static let pieceSize = 64 * 1_024

    private let registry: MetricsRegistry
    private let entries: [Entry]
    private let infos: Set<String>
    private let declarations: [String: MetricDeclaration]
    private let escaping: ExpositionFormat.Escaping?
    /// Names that are taken: those that need no escaping, and those that were escaped so far.
    private var names: Set<ExactName>
    private var encoder: ExpositionEncoder
    private var position = 0
    private var chunks: [SeriesChunk] = []
    private var chunk = -1
    private var isDone = false

    init(registry: MetricsRegistry, format: ExpositionFormat, collected: SampleSink) {
        let (families, declarations, sampleNames) = registry.state.withLock {
            ($0.sorted, $0.declarations, $0.sampleNames)
        }
        var entries = families.map { Entry(name: $0.name, family: $0, collected: nil) }
        if !collected.families.isEmpty {
            let own = Dictionary(uniqueKeysWithValues: entries.indices.map { (ExactName(entries[$0].name), $0) })
            for (name, samples) in collected.families {
                if let index = own[ExactName(name)] {
                    // A collector cannot change the type of a metric that recorders have, nor show a series of theirs.
                    guard entries[index].family?.kind == samples.kind else { continue }
                    var samples = samples
                    samples.samples.removeAll { registry.hasSeries(name, $0.labels) }
                    entries[index].collected = samples
                } else if sampleNames[ExactName(name)] == nil {
                    entries.append(Entry(name: name, family: nil, collected: samples))
                }
            }
            entries.sort { $0.name < $1.name }
        }
        self.entries = entries
        self.escaping = format.escaping
        self.names = Set(
            entries.lazy.map(\.name).filter { MetricName.isClassic($0, allowColon: true) }.map { ExactName($0) }
        )
        // An information metric without its suffix must not be the name of another metric.
        self.infos = collected.infos.filter { sampleNames[ExactName(String($0.dropLast(5)))] == nil }
        self.registry = registry
        self.declarations = declarations
        self.encoder = ExpositionEncoder(
            format: format, reader: registry.store.reader(), configuration: registry.configuration
        )
    }

    mutating func next() -> [UInt8]? {
        while !self.isDone, self.encoder.size < Self.pieceSize {
            guard self.step() else {
                self.isDone = true
                self.encoder.finish()
                break
            }
        }
        let piece = self.encoder.take()
        return piece.isEmpty ? nil : piece
    }

    /// The name by the scraper's scheme. Where that would be the name of another family, too, it is written so that every
    /// name stays its own: a family that is there twice fails the whole scrape.
    private mutating func exposedName(_ name: String) -> String {
        let escaped = NameEscaping.escape(name, self.escaping, allowColon: true)
        guard escaped != name else { return name }
        guard self.names.contains(ExactName(escaped)) else {
            self.names.insert(ExactName(escaped))
            return escaped
        }
        return NameEscaping.escape(name, .values, allowColon: true)
    }

    /// Writes the header of the next family, or its next chunk; `false` at the end.
    private mutating func step() -> Bool {
        if self.chunk >= 0, self.chunk < self.chunks.count {
            self.encoder.add(self.chunks[self.chunk])
            self.chunk += 1
            return true
        }
        if self.chunk >= 0 {
            if let collected = self.entries[self.position].collected { self.encoder.add(collected) }
            self.encoder.endFamily()
            self.position += 1
            self.chunk = -1
        }
        guard self.position < self.entries.count else { return false }
        let entry = self.entries[self.position]
        self.chunks = entry.family?.chunks ?? []
        self.chunk = 0
        guard !self.chunks.isEmpty || entry.collected != nil,
            let kind = entry.family?.kind ?? entry.collected?.kind
        else {
            self.position += 1
            self.chunk = -1
            return true
        }
        // One that was declared later may be meant for another type.
        let later = self.declarations[entry.name].flatMap { $0.kind == kind ? $0 : nil }
        let declaration = entry.family?.declaration ?? later
        self.encoder.beginFamily(
            FamilyHeader(
                exposedName: self.exposedName(entry.name), kind: kind, isInfo: self.infos.contains(entry.name),
                help: declaration?.help,
                unit: declaration?.unit, family: entry.family,
                hasSeries: { [registry = self.registry] in registry.hasSeries(entry.name, $0) }
            )
        )
        return true
    }
}

/// What stands above the series of a family.
struct FamilyHeader {
    /// The name as this scraper gets it.
    var exposedName: String
    var kind: MetricKind
    var isInfo: Bool
    var help: String?
    var unit: String?
    /// `nil` where only collectors give samples.
    var family: Family?
    /// Whether recorders made a series of these labels.
    var hasSeries: @Sendable (LabelSet) -> Bool
}

/// The encoding of one format.
enum ExpositionEncoder {
    case text(TextEncoder)
    case protobuf(ProtobufEncoder)

    init(format: ExpositionFormat, reader: CellReader, configuration: MetricsConfiguration) {
        switch format.kind {
        case .protobuf:
            self = .protobuf(ProtobufEncoder(format: format, reader: reader, configuration: configuration))
        case .text, .openMetrics:
            self = .text(TextEncoder(format: format, reader: reader, configuration: configuration))
        }
    }

    private mutating func with<Value>(
        text: (inout TextEncoder) -> Value, protobuf: (inout ProtobufEncoder) -> Value
    ) -> Value {
        switch consume self {
        case .text(var encoder):
            let value = text(&encoder)
            self = .text(encoder)
            return value
        case .protobuf(var encoder):
            let value = protobuf(&encoder)
            self = .protobuf(encoder)
            return value
        }
    }

    var size: Int {
        switch self {
        case .text(let encoder): encoder.size
        case .protobuf(let encoder): encoder.size
        }
    }

    mutating func beginFamily(_ header: FamilyHeader) {
        self.with(text: { $0.beginFamily(header) }, protobuf: { $0.beginFamily(header) })
    }

    mutating func add(_ chunk: SeriesChunk) {
        self.with(text: { $0.add(chunk) }, protobuf: { $0.add(chunk) })
    }

    mutating func add(_ collected: SampleSink.Samples) {
        self.with(text: { $0.add(collected) }, protobuf: { $0.add(collected) })
    }

    mutating func endFamily() {
        self.with(text: { _ in }, protobuf: { $0.endFamily() })
    }

    mutating func finish() {
        self.with(text: { $0.finish() }, protobuf: { _ in })
    }

    /// What was written since the last call.
    mutating func take() -> [UInt8] {
        self.with(text: { $0.take() }, protobuf: { $0.take() })
    }
}
