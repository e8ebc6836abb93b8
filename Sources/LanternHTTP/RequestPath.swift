import Hummingbird

/// The path of a request, by what it is needed for.
enum RequestPath {
    /// As the router sees it: without empty segments, so that `//v1/sessions` is no other route than `/v1/sessions`.
    static func canonical(_ request: Request) -> String {
        "/" + request.uri.path.split(separator: "/").joined(separator: "/")
    }

    /// As logs and spans may show it: nothing but a path. A fragment, and the authority that a `CONNECT` names, may hold what was
    /// said in confidence.
    static func shown(_ request: Request) -> String {
        let path = request.uri.path
        guard path.utf8.first == UInt8(ascii: "/") else { return path == "*" ? path : "" }
        guard let end = path.utf8.firstIndex(of: UInt8(ascii: "#")) else { return path }
        return String(path[..<end])
    }
}
