/// A format that a scraper may ask for, and how names that it does not know are written for it.
public struct ExpositionFormat: Sendable, Equatable {
    public enum Kind: Sendable {
        /// Prometheus text, version 0.0.4, or 1.0.0 where the scraper takes UTF-8 names.
        case text
        /// OpenMetrics 1.0.0, which has exemplars, units and times of creation.
        case openMetrics
        /// Length-delimited `io.prometheus.client.MetricFamily`, which has native histograms too.
        case protobuf
    }

    /// How names are written that are not classic ones.
    public enum Escaping: String, Sendable {
        case utf8 = "allow-utf-8"
        case underscores, dots, values
    }

    public var kind: Kind
    /// `nil`: the scraper said nothing of names, so it gets underscores and is told nothing.
    public var escaping: Escaping?
    /// Version of the format as agreed on.
    public var version: String

    public init(_ kind: Kind, escaping: Escaping? = nil, version: String? = nil) {
        self.kind = kind
        self.escaping = escaping
        self.version = version ?? (kind == .text ? (escaping == nil ? "0.0.4" : "1.0.0") : "1.0.0")
    }

    public static let text = ExpositionFormat(.text)
    public static let openMetrics = ExpositionFormat(.openMetrics)
    public static let protobuf = ExpositionFormat(.protobuf)

    /// Media type of the answer.
    public var contentType: String {
        let escaping = self.escaping.map { "; escaping=\($0.rawValue)" } ?? ""
        return switch self.kind {
        case .text: "text/plain; version=\(self.version); charset=utf-8\(escaping)"
        case .openMetrics: "application/openmetrics-text; version=\(self.version); charset=utf-8\(escaping)"
        case .protobuf:
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited\(escaping)"
        }
    }

    /// The format for an `Accept` header (RFC 9110, section 12.5.1): the one with the highest weight, the first of equals.
    /// Text where nothing fits, as all Prometheus clients answer: a scraper can do more with it than with 406.
    public init(accept: String?) {
        var best: (format: ExpositionFormat, weight: Double)?
        for part in AcceptHeader.split(accept ?? "", at: ",") {
            let pieces = AcceptHeader.split(part, at: ";")
            guard let type = pieces.first?.lowercased() else { continue }
            var parameters: [String: String] = [:]
            for piece in pieces.dropFirst() {
                let halves = AcceptHeader.split(piece, at: "=")
                guard halves.count == 2 else { continue }
                parameters[halves[0].lowercased()] = AcceptHeader.unquoted(halves[1])
            }
            let weight = parameters["q"].map { Double($0) ?? 0 } ?? 1
            guard weight > 0, weight <= 1, weight > best?.weight ?? 0 else { continue }
            if let format = Self.format(type, parameters) { best = (format, weight) }
        }
        self = best?.format ?? .text
    }

    private static func format(_ type: String, _ parameters: [String: String]) -> ExpositionFormat? {
        let escaping = parameters["escaping"].flatMap { Escaping(rawValue: $0.lowercased()) }
        let version = parameters["version"]
        switch type {
        case "application/openmetrics-text":
            guard ["1.0.0", "0.0.1", nil].contains(version) else { return nil }
            return ExpositionFormat(.openMetrics, escaping: escaping, version: version)
        case "text/plain":
            switch version {
            case "1.0.0": return ExpositionFormat(.text, escaping: escaping ?? .underscores)
            case "0.0.4", nil: return .text
            default: return nil
            }
        case "application/vnd.google.protobuf":
            guard parameters["proto"] ?? "io.prometheus.client.MetricFamily" == "io.prometheus.client.MetricFamily",
                parameters["encoding"] ?? "delimited" == "delimited"
            else { return nil }
            return ExpositionFormat(.protobuf, escaping: escaping)
        case "*/*", "text/*": return .text
        default: return nil
        }
    }
}

/// Splits header values at a character that is not inside quotes.
enum AcceptHeader {
    static func split(_ text: String, at separator: Character) -> [String] {
        var parts: [String] = []
        var part = ""
        var isQuoted = false
        var isEscaped = false
        for character in text {
            if isEscaped {
                isEscaped = false
            } else if isQuoted, character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
            } else if character == separator, !isQuoted {
                parts.append(Self.trimmed(part))
                part = ""
                continue
            }
            part.append(character)
        }
        parts.append(Self.trimmed(part))
        return parts.filter { !$0.isEmpty }
    }

    static func unquoted(_ text: String) -> String {
        guard text.count >= 2, text.first == "\"", text.last == "\"" else { return text }
        var value = ""
        var isEscaped = false
        for character in text.dropFirst().dropLast() {
            if !isEscaped, character == "\\" {
                isEscaped = true
            } else {
                value.append(character)
                isEscaped = false
            }
        }
        return value
    }

    private static func trimmed(_ text: String) -> String {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        let start = text.firstIndex { !isBlank($0) } ?? text.endIndex
        let end = text.lastIndex { !isBlank($0) }.map(text.index(after:)) ?? start
        return String(text[start..<end])
    }
}
