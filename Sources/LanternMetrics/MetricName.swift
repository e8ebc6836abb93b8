/// A name by its bytes: Swift takes two ways of composing a character for equal, Prometheus does not.
struct ExactName: Hashable, Sendable {
    let text: String

    init(_ text: String) { self.text = text }

    static func == (left: ExactName, right: ExactName) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

    func hash(into hasher: inout Hasher) {
        for byte in self.text.utf8 { hasher.combine(byte) }
    }
}

/// Names as Prometheus knows them.
///
/// The classic names are `[a-zA-Z_:][a-zA-Z0-9_:]*` for metrics and `[a-zA-Z_][a-zA-Z0-9_]*` for labels; since Prometheus 3
/// any UTF-8 text is a name where both sides agree on it.
enum MetricName {
    /// The family's name: invalid characters become `_`, and a counter ends in `_total`.
    static func family(_ raw: String, kind: MetricKind, allowsUTF8: Bool = false) -> String {
        let name = allowsUTF8 && !raw.isEmpty ? raw : self.valid(raw, allowColon: true)
        // Without its suffix a counter must still have a name.
        guard kind == .counter, !name.hasSuffix("_total") || name == "_total" else { return name }
        return name + "_total"
    }

    /// A label's name: invalid characters become `_`. One that has a meaning for Prometheus gets `exported_` before it, as
    /// Prometheus itself does where names collide: a second `le` on a line would fail the whole scrape.
    static func label(_ raw: String, of kind: MetricKind? = nil, allowsUTF8: Bool = false) -> String {
        let name = allowsUTF8 && !raw.isEmpty ? raw : self.valid(raw, allowColon: false)
        guard let kind, name.hasPrefix("__") || (kind == .histogram && name == "le") else { return name }
        return "exported_" + name
    }

    /// Whether a name needs no quotes and no escaping for any scraper.
    static func isClassic(_ name: String, allowColon: Bool) -> Bool {
        !name.isEmpty
            && name.utf8.enumerated().allSatisfy { self.isValid($1, first: $0 == 0, allowColon: allowColon) }
    }

    static func valid(_ raw: String, allowColon: Bool) -> String {
        if self.isClassic(raw, allowColon: allowColon) { return raw }
        var name = ""
        for (index, byte) in raw.utf8.enumerated() {
            if self.isValid(byte, first: false, allowColon: allowColon) {
                if index == 0, UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { name.append("_") }
                name.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                name.append("_")
            }
        }
        return name.isEmpty ? "_" : name
    }

    static func isValid(_ byte: UInt8, first: Bool, allowColon: Bool) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): !first
        case UInt8(ascii: ":"): allowColon
        default: false
        }
    }
}
