/// Whether a body may be sent in gzip (RFC 9110, section 12.5.3).
public enum ContentCoding {
    /// Whether `Accept-Encoding` names gzip, or `*`, with a weight above zero.
    public static func acceptsGzip(_ header: String?) -> Bool {
        var any = false
        for part in AcceptHeader.split((header ?? "").lowercased(), at: ",") {
            let pieces = AcceptHeader.split(part, at: ";")
            guard let coding = pieces.first else { continue }
            let weight = pieces.dropFirst().first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
            if coding == "gzip" || coding == "x-gzip" { return weight > 0 }
            if coding == "*" { any = weight > 0 }
        }
        return any
    }
}
