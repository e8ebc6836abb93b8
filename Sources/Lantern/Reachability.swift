import NIOCore
import NIOPosix

/// Whether something listens: for dependencies that a service can do without for a while.
enum Reachability {
    /// - Parameter servers: `host:port`, several joined by commas; one that answers is enough.
    /// - Throws: ``Unreachable`` where none takes a connection within a second.
    static func check(servers: String) async throws {
        for server in servers.split(separator: ",") {
            guard let colon = server.lastIndex(of: ":"), let port = Int(server[server.index(after: colon)...]) else {
                continue
            }
            let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(.seconds(1))
            guard let channel = try? await bootstrap.connect(host: String(server[..<colon]), port: port).get() else {
                continue
            }
            try? await channel.close()
            return
        }
        throw Unreachable()
    }

    struct Unreachable: Error {}
}
