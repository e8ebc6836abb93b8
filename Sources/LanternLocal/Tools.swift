import Foundation

/// Programs of this machine.
public enum Tools {
    /// Where a program is: on the PATH, or in the folders that Debian hides PostgreSQL in.
    /// - Throws: ``LocalError`` naming the package to install.
    public static func find(_ name: String, package: String) throws -> String {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        let folders = path.split(separator: ":").map { String($0) } + self.postgresFolders()
        for folder in folders {
            let candidate = "\(folder)/\(name)"
            if FileManager.default.isExecutableFile(atPath: candidate) {
                // Not resolved: Debian's psql is a link to a wrapper that looks at the name it was called by.
                return candidate
            }
        }
        throw LocalError("\(name) is not installed: apt-get install \(package)")
    }

    private static func postgresFolders() -> [String] {
        let base = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: base)) ?? []
        return versions.compactMap(Int.init).filter { $0 >= 15 }.sorted(by: >).map { "\(base)/\($0)/bin" }
    }
}

/// Waits for a condition that something else brings about.
/// - Throws: ``LocalError`` with `what` when it has not come true by the deadline.
public func waitUntil(
    _ what: String, within limit: Duration, every interval: Duration = .milliseconds(50),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while true {
        if try await condition() { return }
        guard ContinuousClock.now < deadline else { throw LocalError("\(what) did not happen within \(limit)") }
        try await Task.sleep(for: interval)
    }
}
