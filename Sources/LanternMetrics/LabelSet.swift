/// The labels of one series in canonical form, so that their order never makes a second series.
struct LabelSet: Sendable {
    let pairs: [(String, String)]

    /// - Parameter kind: Of the metric that they are labels of; `nil` where their names were cleaned before.
    init(_ labels: [(String, String)], of kind: MetricKind? = nil, allowsUTF8: Bool = false) {
        var pairs = labels
        for index in pairs.indices {
            pairs[index].0 = MetricName.label(pairs[index].0, of: kind, allowsUTF8: allowsUTF8)
        }
        if pairs.count > 1 {
            pairs.sort { ($0.0, $0.1) < ($1.0, $1.1) }
            // Two names that become one: their values are joined, as the OpenTelemetry specification says for Prometheus.
            // A line with one label twice would fail the whole scrape.
            if zip(pairs, pairs.dropFirst()).contains(where: { $0.0 == $1.0 }) {
                pairs = pairs.reduce(into: []) { merged, pair in
                    if let last = merged.last, last.0 == pair.0 {
                        merged[merged.count - 1].1 = "\(last.1);\(pair.1)"
                    } else {
                        merged.append(pair)
                    }
                }
            }
        }
        // An empty value is the same as no label in the Prometheus data model.
        self.pairs = pairs.contains { $0.1.isEmpty } ? pairs.filter { !$0.1.isEmpty } : pairs
    }

    static let overflow = LabelSet([("overflow", "true")])

    /// Adds `a="x",b="y"` to `bytes`, escaped as the text formats ask: `\`, `"` and newline in values. A name that is not
    /// classic is quoted.
    func write(to bytes: inout [UInt8]) {
        var isFirst = true
        for (name, value) in self.pairs {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            if MetricName.isClassic(name, allowColon: false) {
                bytes.append(contentsOf: name.utf8)
            } else {
                bytes.append(UInt8(ascii: "\""))
                TextEscaping.append(name, to: &bytes, quotes: true)
                bytes.append(UInt8(ascii: "\""))
            }
            bytes.append(UInt8(ascii: "="))
            bytes.append(UInt8(ascii: "\""))
            TextEscaping.append(value, to: &bytes, quotes: true)
            bytes.append(UInt8(ascii: "\""))
        }
    }
}

/// Escaping of the text formats.
enum TextEscaping {
    static func escaped(_ text: String, quotes: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        self.append(text, to: &bytes, quotes: quotes)
        return bytes
    }

    static func append(_ text: String, to bytes: inout [UInt8], quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "\\")])
            case UInt8(ascii: "\n"): bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "n")])
            case UInt8(ascii: "\"") where quotes: bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "\"")])
            default: bytes.append(byte)
            }
        }
    }
}

/// Reads back what ``LabelSet/write(to:)`` wrote.
struct LabelReader: Sequence, IteratorProtocol {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        self.position = bytes.startIndex
    }

    mutating func next() -> (name: String, value: String)? {
        guard self.position < self.bytes.endIndex else { return nil }
        if self.bytes[self.position] == UInt8(ascii: ",") { self.position += 1 }
        let name: String
        if self.bytes[self.position] == UInt8(ascii: "\"") {
            name = self.quoted()
        } else {
            let end = self.bytes[self.position...].firstIndex(of: UInt8(ascii: "=")) ?? self.bytes.endIndex
            name = String(decoding: self.bytes[self.position..<end], as: UTF8.self)
            self.position = end
        }
        self.position += 1
        return (name, self.quoted())
    }

    private mutating func quoted() -> String {
        self.position += 1
        var text: [UInt8] = []
        while self.position < self.bytes.endIndex {
            var byte = self.bytes[self.position]
            self.position += 1
            if byte == UInt8(ascii: "\"") { break }
            if byte == UInt8(ascii: "\\"), self.position < self.bytes.endIndex {
                byte = self.bytes[self.position]
                self.position += 1
                if byte == UInt8(ascii: "n") { byte = UInt8(ascii: "\n") }
            }
            text.append(byte)
        }
        return String(decoding: text, as: UTF8.self)
    }
}
