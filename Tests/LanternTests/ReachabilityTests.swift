import Glibc
import Testing

@testable import Lantern

/// A port on loopback where somebody listens who takes no connection from the queue.
private struct Listener: Sendable {
    let number: Int
    private let descriptors: [Int32]

    /// - Parameter full: Fills the queue: whoever connects then waits, and is neither taken nor refused.
    init(full: Bool = false) throws {
        let listening = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let filling = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr = in_addr(s_addr: UInt32(0x7F00_0001).bigEndian)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let ready = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                // Linux queues one connection more than it is told.
                Glibc.bind(listening, generic, length) == 0 && Glibc.listen(listening, full ? 0 : 16) == 0
                    && Glibc.getsockname(listening, generic, &length) == 0
                    && (!full || Glibc.connect(filling, generic, length) == 0)
            }
        }
        self.descriptors = [listening, filling]
        self.number = Int(UInt16(bigEndian: address.sin_port))
        guard ready else {
            self.close()
            throw Unavailable()
        }
    }

    struct Unavailable: Error {}

    func close() { for descriptor in self.descriptors { Glibc.close(descriptor) } }
}

@Suite("Whether a Kafka broker is there")
struct ReachabilityTests {
    @Test(
        "servers are read as librdkafka reads bootstrap.servers",
        arguments: [
            ("broker:9093", [("broker", 9_093)]),
            ("broker", [("broker", 9_092)]),
            ("10.0.0.1:19092", [("10.0.0.1", 19_092)]),
            ("a:1,b:2,c", [("a", 1), ("b", 2), ("c", 9_092)]),
            (" a:1 , b:2,\tc\n", [("a", 1), ("b", 2), ("c", 9_092)]),
            ("[::1]:9093", [("::1", 9_093)]),
            ("[fd00::1]", [("fd00::1", 9_092)]),
            ("::1", [("::1", 9_092)]),
            ("fd00::9093", [("fd00::9093", 9_092)]),
            ("PLAINTEXT://broker:9093", [("broker", 9_093)]),
            ("sasl_ssl://broker", [("broker", 9_092)]),
            ("SSL://[::1]:9093/ignored", [("::1", 9_093)]),
            (":9093", [("localhost", 9_093)]),
            ("a:port,b:2", [("b", 2)]),
            ("a:0,b:65536,c:-1,d:", []),
            ("", []),
            (" , ,", []),
        ] as [(String, [(String, Int)])]
    )
    func addresses(servers: String, expected: [(String, Int)]) {
        #expect(Reachability.addresses(servers) == expected.map { Reachability.Address(host: $0.0, port: $0.1) })
    }

    @Test("a server that listens is there, however it is written", .timeLimit(.minutes(1)))
    func listening() async throws {
        let listener = try Listener()
        defer { listener.close() }
        for server in ["127.0.0.1:\(listener.number)", " PLAINTEXT://localhost:\(listener.number)/"] {
            try await Reachability.check(servers: server, within: .seconds(600))
        }
    }

    @Test("without a server there is nothing to reach", arguments: ["", "broker:port"])
    func none(servers: String) async {
        await #expect(throws: Reachability.Unreachable.self) { try await Reachability.check(servers: servers) }
    }

    @Test("silent servers do not keep from one that answers", .timeLimit(.minutes(1)))
    func oneAnswers() async throws {
        let silent = try Listener(full: true)
        defer { silent.close() }
        let listener = try Listener()
        defer { listener.close() }
        let numbers = Array(repeating: silent.number, count: 5) + [listener.number]
        let servers = numbers.map { "127.0.0.1:\($0)" }.joined(separator: ",")
        // Waiting for any of the silent ones would outlast the test.
        try await Reachability.check(servers: servers, within: .seconds(600))
    }

    @Test("many silent servers take no longer than one", .timeLimit(.minutes(1)))
    func allSilent() async throws {
        let silent = try Listener(full: true)
        defer { silent.close() }
        let servers = Array(repeating: "127.0.0.1:\(silent.number)", count: 100).joined(separator: ",")
        let start = ContinuousClock.now
        await #expect(throws: Reachability.Unreachable.self) {
            try await Reachability.check(servers: servers, within: .milliseconds(200))
        }
        // One after the other they would take twenty seconds.
        #expect(start.duration(to: .now) < .seconds(20))
    }
}
