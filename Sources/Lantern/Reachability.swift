import NIOCore
import NIOPosix

/// Whether something listens: for dependencies that a service can do without for a while.
enum Reachability {
    struct Address: Equatable, Sendable {
        var host: String
        var port: Int
    }

    struct Unreachable: Error {}

    /// Tries all servers side by side, and is done when the first of them takes a connection.
    /// - Parameters:
    ///   - servers: As librdkafka's `bootstrap.servers`; see ``addresses(_:)``.
    ///   - limit: For all of them together, from the lookup of their names on.
    /// - Throws: ``Unreachable`` where none takes a connection in time.
    static func check(servers: String, within limit: Duration = .seconds(1)) async throws {
        // The group, not one loop of it: NIO looks up the names that are asked for on one loop one after the other.
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(TimeAmount(limit))
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let first = loop.makePromise(of: Void.self)
        let attempts = Self.addresses(servers).map { address in
            Self.connect(bootstrap, to: address).map { channel in
                // A promise keeps its first result, so the others change nothing.
                first.succeed()
                channel.close(promise: nil)
            }
        }
        EventLoopFuture.whenAllComplete(attempts, on: loop).whenComplete { _ in first.fail(Unreachable()) }
        try await first.futureResult.get()
    }

    private static func connect(_ bootstrap: ClientBootstrap, to address: Address) -> EventLoopFuture<any Channel> {
        // An address needs no lookup, and does not wait behind one.
        if let literal = try? SocketAddress(ipAddress: address.host, port: address.port) {
            return bootstrap.connect(to: literal)
        }
        return bootstrap.connect(host: address.host, port: address.port)
    }

    /// The servers of a `bootstrap.servers`, read as librdkafka reads it: `host`, `host:port`, `[address]:port` or
    /// `PROTOCOL://host:port`, with commas between them, and blanks. What has no valid port is left out.
    static func addresses(_ servers: String) -> [Address] {
        servers.split(whereSeparator: { $0 == "," || $0.isWhitespace }).compactMap(Self.address)
    }

    private static func address(_ server: Substring) -> Address? {
        var host = server
        if let mark = host.firstRange(of: "://") {
            host = host[mark.upperBound...].prefix { $0 != "/" }
        }
        var port = 9_092
        // A colon is before a port where it is the only one, or behind a bracket; else it is part of an IPv6 address.
        if let colon = host.lastIndex(of: ":"), host.firstIndex(of: ":") == colon || host[..<colon].hasSuffix("]") {
            port = Int(host[host.index(after: colon)...].prefix { ("0"..."9").contains($0) }) ?? 0
            host = host[..<colon]
        }
        guard (1...65_535).contains(port) else { return nil }
        // The brackets are how it is written; the resolver does not know them.
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return Address(host: host.isEmpty ? "localhost" : String(host), port: port)
    }
}
