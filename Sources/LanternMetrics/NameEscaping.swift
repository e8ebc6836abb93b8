/// Writes names that are not classic ones for scrapers that cannot take them, by the schemes of Prometheus 3
/// (Prometheus documentation, "Escaping schemes").
enum NameEscaping {
    static func escape(_ name: String, _ scheme: ExpositionFormat.Escaping?, allowColon: Bool) -> String {
        switch scheme {
        case .utf8: return name
        case .underscores, nil:
            return MetricName.isClassic(name, allowColon: allowColon) ? name : self.underscores(name, allowColon)
        case .dots: return self.dots(name, allowColon)
        case .values:
            return MetricName.isClassic(name, allowColon: allowColon) && !name.hasPrefix("U__")
                ? name : self.values(name, allowColon)
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
