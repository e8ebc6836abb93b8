import ActivityService
import ArgumentParser
import AuthService
import Foundation
import Lantern
import LanternPostgres
import OrderService

/// `lantern migrate`: the schema of a service's database, for those who do not leave it to the service's start.
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Shows or applies the migrations of a service's database.",
        discussion: """
            The database is that of DATABASE_DIRECT_URL, or else of DATABASE_URL. Each service applies its own at start as well; \
            several may do so at once.
            """,
        subcommands: [Status.self, Up.self]
    )

    enum ServiceName: String, ExpressibleByArgument, CaseIterable { case auth, order, activity }

    struct Options: ParsableArguments {
        @Option(help: "auth, order or activity.")
        var service: ServiceName

        func schema() async throws -> ServiceSchema {
            let environment = ProcessInfo.processInfo.environment
            do {
                switch self.service {
                case .auth: return try await ServiceSchema(of: Auth.self, environment: environment)
                case .order: return try await ServiceSchema(of: Ordering.self, environment: environment)
                case .activity: return try await ServiceSchema(of: Activity.self, environment: environment)
                }
            } catch let error as ConfigurationError {
                throw Failure.misused("\(error)")
            }
        }

        /// Runs `body`, and tells what PostgreSQL says in one line.
        func run(_ body: (ServiceSchema) async throws -> Void) async throws {
            let schema = try await self.schema()
            defer { schema.close() }
            do {
                try await body(schema)
            } catch let error as PostgresError {
                throw error.code == .migration ? Failure.wrong(error.message) : Failure.misused("\(error)")
            }
        }
    }

    /// Exit code 1 where something is pending, or program and database do not go together.
    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows what is applied and what is pending.")

        @OptionGroup var options: Options

        func run() async throws {
            try await self.options.run { schema in
                let all = try await schema.status()
                Terminal.table(
                    ["COMPONENT", "VERSION", "NAME", "APPLIED"],
                    all.flatMap { status in
                        status.steps.map { step in
                            [
                                status.component, "\(step.version)", step.name,
                                step.appliedAt.map { "\($0)" } ?? "pending",
                            ]
                        }
                    }
                )
                for conflict in all.compactMap({ $0.conflict }) { throw Failure.wrong(conflict) }
                let pending = all.map { $0.pending }.reduce(0, +)
                if pending > 0 { throw Failure.wrong("\(pending) pending") }
            }
        }
    }

    struct Up: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Applies what is pending.")

        @OptionGroup var options: Options

        func run() async throws {
            try await self.options.run { schema in
                let before = try await schema.status().map { $0.pending }.reduce(0, +)
                try await schema.migrate()
                Terminal.line(before == 0 ? "up to date" : "\(before) applied")
            }
        }
    }
}
