/// Writes names that are not classic ones for scrapers that cannot take them, by the schemes of Prometheus 3
/// (Prometheus documentation, "Escaping schemes").
///
/// Names that every scraper knows are left alone, as Prometheus' own client library does.
enum NameEscaping {
    static func escape(_ name: String, _ scheme: ExpositionFormat.Escaping?, allowColon: Bool) -> String {
        if scheme == .utf8 { return name }
        // One that looks like a value-escaped name would be read back as another one.
        let looksEscaped = scheme == .values && name.hasPrefix("U__")
        if MetricName.isClassic(name, allowColon: allowColon), !looksEscaped { return name }
        return switch scheme {
        case .dots: self.dots(name, allowColon)
        case .values: self.values(name, allowColon)
        default: self.underscores(name, allowColon)
        }
    }

    private static func underscores(_ name: String, _ allowColon: Bool) -> String {
        self.mapped(name, allowColon) { _ in "_" }
    }

    /// Dots and underscores can be told apart again; other characters cannot.
    private static func dots(_ name: String, _ allowColon: Bool) -> String {
        var escaped = ""
        for (index, scalar) in name.unicodeScalars.enumerated() {
            switch scalar {
            case "_": escaped += "__"
            case ".": escaped += "_dot_"
            default: escaped += self.isValid(scalar, index, allowColon) ? String(scalar) : "__"
            }
        }
        return escaped
    }

    private static func values(_ name: String, _ allowColon: Bool) -> String {
        var escaped = "U__"
        for (index, scalar) in name.unicodeScalars.enumerated() {
            if scalar == "_" {
                escaped += "__"
            } else if self.isValid(scalar, index, allowColon) {
                escaped.unicodeScalars.append(scalar)
            } else {
                escaped += "_" + String(scalar.value, radix: 16) + "_"
            }
        }
        return escaped
    }

    private static func mapped(
        _ name: String, _ allowColon: Bool, _ replacement: (Unicode.Scalar) -> String
    ) -> String {
        var escaped = ""
        for (index, scalar) in name.unicodeScalars.enumerated() {
            escaped += self.isValid(scalar, index, allowColon) ? String(scalar) : replacement(scalar)
        }
        return escaped
    }

    private static func isValid(_ scalar: Unicode.Scalar, _ index: Int, _ allowColon: Bool) -> Bool {
        scalar.isASCII && MetricName.isValid(UInt8(scalar.value), first: index == 0, allowColon: allowColon)
    }
}

/// Escapes the labels of one family's series. Two series that become one get the scheme that keeps every name its own: a
/// series that is there twice fails the whole scrape.
struct LabelEscaper {
    private let scheme: ExpositionFormat.Escaping?
    private let kind: MetricKind
    private let isTaken: @Sendable (LabelSet) -> Bool
    private var shown: Set<[UInt8]> = []

    /// - Parameter isTaken: Whether there is a series of these labels as they are.
    init(
        _ scheme: ExpositionFormat.Escaping?, of kind: MetricKind, isTaken: @escaping @Sendable (LabelSet) -> Bool
    ) {
        self.scheme = scheme
        self.kind = kind
        self.isTaken = isTaken
    }

    mutating func escape(_ labels: [(String, String)]) -> LabelSet {
        let escaped = self.escape(labels, self.scheme)
        let isChanged = zip(labels, escaped.pairs).contains { $0.0 != $1.0 } || labels.count != escaped.pairs.count
        if !isChanged || !self.isTaken(escaped), self.isNew(escaped) { return escaped }
        let distinct = self.escape(labels, .values)
        _ = self.isNew(distinct)
        return distinct
    }

    private func escape(_ labels: [(String, String)], _ scheme: ExpositionFormat.Escaping?) -> LabelSet {
        // Cleaned once more: what was escaped may have become a name that means something to Prometheus.
        LabelSet(
            labels.map { (NameEscaping.escape($0.0, scheme, allowColon: false), $0.1) }, of: self.kind, allowsUTF8: true
        )
    }

    private mutating func isNew(_ labels: LabelSet) -> Bool {
        var bytes: [UInt8] = []
        labels.write(to: &bytes)
        return self.shown.insert(bytes).inserted
    }
}
