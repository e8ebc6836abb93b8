import HTTPTypes
public import Hummingbird

/// Requests that are neither traced nor logged at info: probes and scrapes would drown the rest.
public struct QuietPaths: Sendable {
    private let paths: Set<String>

    public init(_ paths: Set<String>) { self.paths = paths }

    /// Only what a probe or a scrape would send: a POST to one of these is somebody's mistake, and told like any other.
    public func contains(_ request: Request) -> Bool {
        (request.method == .get || request.method == .head) && self.paths.contains(request.uri.path)
    }
}
