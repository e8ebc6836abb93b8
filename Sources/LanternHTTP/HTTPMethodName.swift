/// A method as the OpenTelemetry conventions want it, for servers and clients: one that they know, or else `_OTHER`, so
/// that what a scanner invents makes no series.
struct HTTPMethodName {
    /// For attributes and labels.
    let label: String
    /// For span names: `HTTP` where the method is not known.
    let display: String
    /// For `http.request.method_original`: `nil` where the label says it.
    let original: String?

    /// Short strings are compared as two words, which a set would hash first.
    private static func isKnown(_ name: String) -> Bool {
        switch name {
        case "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE": true
        default: false
        }
    }

    /// - Parameter name: As it is sent; case counts (RFC 9110, section 9.1).
    init(_ name: String) {
        let known = Self.isKnown(name)
        self.label = known ? name : "_OTHER"
        self.display = known ? name : "HTTP"
        self.original = known ? nil : name
    }
}
