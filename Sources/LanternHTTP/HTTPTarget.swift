/// The parts of a URL that telemetry may show: not the query, and neither user nor password.
///
/// The authority of a URL ends at the first `/`, `?` or `#` (RFC 3986, section 3.2). A password that holds one of them
/// unescaped is cut there, and its pieces pass for a port and a path. So nothing but the scheme is shown where
/// - a colon follows the host and no port number follows the colon: `http://ada:s3/cret@host/`, or
/// - there is user information, and a second `@` behind the cut: `http://ada:p@s3/cret@host/`.
///
/// An `@` in the path alone is no sign: `/users/@me` is common. Only a piece that is itself a port number, as in
/// `http://ada:12/cret@host/`, cannot be told from one; the request goes to the host `ada` then, too.
struct HTTPTarget: Equatable {
    /// Empty where only the scheme may be shown.
    var host = ""
    var port: Int
    var withoutQuery: String

    // By scalars, not characters: a combining mark behind a delimiter would hide it.
    init(_ url: String) {
        let scalars = url.unicodeScalars
        let mark = scalars.firstRange(of: "://".unicodeScalars).flatMap { mark in
            // In a path, say, it ends no scheme.
            scalars[..<mark.lowerBound].contains { ":/?#@[]".unicodeScalars.contains($0) } ? nil : mark
        }
        let scheme = mark.map { String(scalars[..<$0.lowerBound]) }
        let rest = mark.map { scalars[$0.upperBound...] } ?? scalars[...]
        self.port = scheme?.lowercased() == "https" ? 443 : 80
        self.withoutQuery = scheme.map { "\($0)://" } ?? ""

        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let tail = rest[authority.endIndex...]
        let at = authority.lastIndex(of: "@")
        if at != nil, tail.contains("@") { return }
        let location = at.map { authority[authority.index(after: $0)...] } ?? authority
        guard let (host, port) = Self.parts(location) else { return }
        self.host = host
        self.port = port ?? self.port
        self.withoutQuery += String(location) + String(tail.prefix { $0 != "?" && $0 != "#" })
    }

    /// The host without its brackets, and the port where there is one; `nil` for what is neither `host`, `host:port`,
    /// `[address]` nor `[address]:port`.
    private static func parts(_ location: Substring.UnicodeScalarView) -> (host: String, port: Int?)? {
        var host = location.prefix { $0 != ":" }
        var rest = location[host.endIndex...]
        if location.first == "[" {
            guard let end = location.firstIndex(of: "]") else { return nil }
            host = location[..<end].dropFirst()
            rest = location[location.index(after: end)...]
        }
        guard let colon = rest.first else { return (String(host), nil) }
        let digits = rest.dropFirst()
        guard colon == ":", digits.allSatisfy({ ("0"..."9").contains($0) }), let port = UInt16(String(digits)) else {
            return nil
        }
        return (String(host), Int(port))
    }
}
