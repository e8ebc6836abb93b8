/// Requests that are neither traced nor logged at info: probes and scrapes would drown the rest.
public struct QuietPaths: Sendable {
    private let paths: Set<String>

    public init(_ paths: Set<String>) { self.paths = paths }

    public func contains(_ path: String) -> Bool { self.paths.contains(path) }
}
