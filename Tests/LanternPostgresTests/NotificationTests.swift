import LanternPostgres
import Synchronization
import TestSupport
import Testing

@Suite("LISTEN and NOTIFY against a real PostgreSQL", .timeLimit(.minutes(2)))
struct NotificationTests {
    private struct Stop: Error {}

    /// The next `count` payloads.
    private static func next(_ count: Int, of payloads: AsyncStream<String>) async -> [String] {
        var received: [String] = []
        for await payload in payloads {
            received.append(payload)
            if received.count == count { break }
        }
        return received
    }

    private static let killListeners: SQL = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()
        """

    // MARK: - Receiving

    @Test("a session receives what it sends itself, in order")
    func ownPayloads() async throws {
        let client = try await TestCluster.shared.client()
        let sent = (1...200).map { "\($0) 🏮 '\"\\" } + [""]
        let received = try await NotificationChannel(client: client, name: "news").withNotifications {
            payloads, session in
            for payload in sent { try await session.notify(payload) }
            return await Self.next(sent.count, of: payloads)
        }
        #expect(received == sent)
        client.close()
    }

    @Test("and what others send, when they have committed, in order")
    func payloadsOfOthers() async throws {
        let client = try await TestCluster.shared.client()
        let channel = NotificationChannel(client: client, name: "news")
        let received = try await channel.withNotifications { payloads, _ in
            try await channel.withNotifications { others, session in
                try await client.query("SELECT pg_notify('news', '1')")
                _ = try? await client.transaction { tx in
                    try await tx.query("SELECT pg_notify('news', 'undone')")
                    throw Stop()
                }
                try await client.transaction { tx in
                    try await tx.query("SELECT pg_notify('news', n::text) FROM generate_series(2, 100) AS n")
                    try await client.query("SELECT pg_notify('other', 'elsewhere')")
                    try await session.notify("before")
                }
                try await session.notify("last")
                return [await Self.next(102, of: payloads), await Self.next(102, of: others)]
            }
        }
        let expected = ["1", "before"] + (2...100).map { "\($0)" } + ["last"]
        #expect(received == [expected, expected])
        client.close()
    }

    @Test(
        "a channel is the one of exactly its name",
        arguments: [
            "News", "news of \"today\"", "Ä. b; LISTEN x --", "select", "a'b", String(repeating: "n", count: 63),
        ])
    func names(name: String) async throws {
        let client = try await TestCluster.shared.client()
        let received = try await NotificationChannel(client: client, name: name).withNotifications {
            payloads, session in
            for other in [name.lowercased(), "\"\(name)\"", "x"] where other != name && other.utf8.count < 64 {
                try await client.query("SELECT pg_notify(\(other), 'of another')")
            }
            try await client.query("SELECT pg_notify(\(name), 'of others')")
            try await session.notify("its own")
            return await Self.next(2, of: payloads)
        }
        #expect(received == ["of others", "its own"])
        client.close()
    }

    @Test("of what nobody reads the newest 1,024 are kept")
    func unread() async throws {
        let client = try await TestCluster.shared.client()
        let received = try await NotificationChannel(client: client, name: "news").withNotifications {
            payloads, session in
            try await client.query("SELECT pg_notify('news', n::text) FROM generate_series(1, 3000) AS n")
            // The answer to the second shows that all before the first has come.
            try await session.notify("next to last")
            try await session.notify("last")
            var received: [String] = []
            for await payload in payloads {
                received.append(payload)
                if payload == "last" { break }
            }
            return received
        }
        // The last one may come while the first is read already.
        #expect((1_024...1_025).contains(received.count))
        let numbers = received.count - 2
        #expect(received == (3_001 - numbers...3_000).map { "\($0)" } + ["next to last", "last"])
        client.close()
    }

    // MARK: - The session's end

    @Test("a session that is killed is an error, and the body is cancelled")
    func killed() async throws {
        let client = try await TestCluster.shared.client()
        let isListening = Mutex(false)
        let wasCancelled = Mutex(false)
        let listening = Task {
            try await NotificationChannel(client: client, name: "news").withNotifications { payloads, _ in
                isListening.withLock { $0 = true }
                for await _ in payloads {}
                wasCancelled.withLock { $0 = Task.isCancelled }
            }
        }
        #expect(try await eventually { isListening.withLock { $0 } ? true : nil } == true)
        #expect(try await client.query(Self.killListeners).count == 1)
        let error = await #expect(throws: PostgresError.self) { try await listening.value }
        #expect(error?.code == .connectionLost)
        #expect(wasCancelled.withLock { $0 })
        client.close()
    }

    @Test("who sends on a session that is gone gets a typed error")
    func sendingTooLate() async throws {
        let client = try await TestCluster.shared.client()
        let channel = NotificationChannel(client: client, name: "news")
        // Kept beyond its end.
        let ended = try await channel.withNotifications { _, session in session }
        await #expect(throws: PostgresError.self) { try await ended.notify("nobody") }
        let told = Mutex<[Bool]>([])
        await #expect(throws: PostgresError.self) {
            try await channel.withSession(onNotification: { _ in }) { session in
                try await client.query(Self.killListeners)
                do {
                    // Until it is known here.
                    while true { try await session.notify("nobody") }
                } catch {
                    told.withLock { $0.append(error is PostgresError) }
                    throw error
                }
            }
        }
        #expect(told.withLock { $0 } == [true])
        client.close()
    }

    @Test("what the body answers or throws is what comes of it, and the session ends with it")
    func ends() async throws {
        let client = try await TestCluster.shared.client()
        let channel = NotificationChannel(client: client, name: "news")
        #expect(try await channel.withNotifications { _, _ in 7 } == 7)
        await #expect(throws: Stop.self) { try await channel.withNotifications { _, _ in throw Stop() } }
        let left = try await eventually {
            try await client.query(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            ).isEmpty ? true : nil
        }
        #expect(left == true)
        client.close()
    }
}
