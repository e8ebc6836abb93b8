import ActivityService
import AuthService
import Lantern
import LanternPostgres
import OrderService
import TestSupport
import Testing

extension PlatformTests {
    /// What `lantern migrate` shows and does, beside what the services do at their start.
    @Suite("The schema of a service, before and after it runs")
    struct SchemaTests {
        private func components(_ database: PostgresClient) async throws -> Set<String> {
            Set(
                try await database.query("SELECT DISTINCT component FROM lantern_migration").map { try $0("component") }
            )
        }

        @Test("a running service has applied what its schema says, and nothing else")
        func running() async throws {
            try await TestPlatform.run { platform in
                func check<S: LanternService>(_ service: S.Type, _ running: TestPlatform.Running) async throws {
                    let schema = try await ServiceSchema(of: service, environment: ["DATABASE_URL": running.database])
                    defer { schema.close() }
                    let status = try await schema.status()
                    #expect(!status.isEmpty)
                    #expect(status.allSatisfy { $0.pending == 0 && $0.conflict == nil })
                    let applied = try await platform.withDatabase(of: running) { try await self.components($0) }
                    #expect(applied == Set(status.map { $0.component }))
                }
                try await check(Auth.self, platform.auth)
                try await check(Ordering.self, platform.order)
                try await check(Activity.self, platform.activity)
            }
        }

        @Test("an empty database is shown as such, brought up to date, and left alone the second time")
        func migrates() async throws {
            let url = try await TestCluster.shared.database()
            let schema = try await ServiceSchema(of: Ordering.self, environment: ["DATABASE_URL": url])
            defer { schema.close() }
            let before = try await schema.status()
            #expect(before.map { $0.component } == ["idempotency", "order", "outbox", "consumer"])
            #expect(before.allSatisfy { $0.pending == $0.steps.count && $0.pending > 0 })
            try await schema.migrate()
            let after = try await schema.status()
            #expect(after.allSatisfy { $0.pending == 0 })
            try await schema.migrate()
            #expect(try await schema.status() == after)
        }

        @Test("a step that was changed, and a database that is ahead, are told and refused")
        func conflicts() async throws {
            let url = try await TestCluster.shared.database()
            let schema = try await ServiceSchema(of: Ordering.self, environment: ["DATABASE_URL": url])
            defer { schema.close() }
            try await schema.migrate()
            let database = PostgresClient(
                configuration: PostgresConfiguration(url: url, applicationName: "test"), logger: Logger(label: "test"))
            defer { database.close() }
            try await database.query(
                "UPDATE lantern_migration SET checksum = 'other' WHERE component = 'order' AND version = 1")
            let changed = try #require(try await schema.status().first { $0.component == "order" }?.conflict)
            #expect(changed.contains("has changed since it was applied"))
            let refused = await #expect(throws: PostgresError.self) { try await schema.migrate() }
            #expect(refused?.code == .migration)
            try await database.query(
                "INSERT INTO lantern_migration (component, version, name, checksum) VALUES ('outbox', 999, 'later', 'x')"
            )
            let ahead = try #require(try await schema.status().first { $0.component == "outbox" }?.conflict)
            #expect(ahead.contains("this program knows"))
        }

        @Test("a database without an address is an error of the configuration")
        func unset() async throws {
            await #expect(throws: ConfigurationError.self) { try await ServiceSchema(of: Auth.self, environment: [:]) }
        }
    }
}
