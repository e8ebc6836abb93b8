import ArgumentParser
import Foundation
import Lantern
import LanternPostgres
import Logging

/// `lantern epoch`: the numbering of a service's events.
struct EpochCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "epoch",
        abstract: "Shows the numbering of a service's events, or begins it anew.",
        discussion: """
            The database is that of DATABASE_DIRECT_URL, or else of DATABASE_URL. A relay begins a new epoch by itself where \
            PostgreSQL's system identifier or timeline has changed. After a restore that keeps both, as one from a snapshot of \
            the disk, say `lantern epoch new` before the service starts.
            """,
        subcommands: [Show.self, New.self]
    )

    struct Options: ParsableArguments {
        @Option(help: "auth, order or activity.")
        var service: MigrateCommand.ServiceName
        @Option(help: "text or json.")
        var output = OutputFormat.text

        func run(_ body: (PostgresClient) async throws -> OutboxEpoch?) async throws {
            let environment = ProcessInfo.processInfo.environment
            guard let url = environment["DATABASE_DIRECT_URL"] ?? environment["DATABASE_URL"] else {
                throw Failure.misused("DATABASE_URL is not set, expected a libpq connection URI, postgresql://…")
            }
            let client = PostgresClient(
                configuration: PostgresConfiguration(url: url, applicationName: "lantern-epoch"),
                logger: Logger(label: "lantern") { _ in SwiftLogNoOpLogHandler() }
            )
            defer { client.close() }
            let epoch: OutboxEpoch?
            do {
                epoch = try await body(client)
            } catch let error as PostgresError {
                throw error.sqlState == "42P01"
                    ? Failure.wrong("the database has no outbox: is it that of \(self.service.rawValue)?")
                    : Failure.misused("\(error)")
            }
            guard let epoch else {
                throw Failure.wrong("no relay of \(self.service.rawValue) has ever led: there is no epoch yet")
            }
            switch self.output {
            case .json: try Terminal.json(epoch)
            case .text:
                Terminal.table(
                    ["SOURCE", "EPOCH", "LAST SEQUENCE", "PUBLISHED THROUGH"],
                    [[epoch.source, "\(epoch.epoch)", "\(epoch.lastSequence)", "\(epoch.publishedThrough)"]]
                )
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows the present epoch.")
        @OptionGroup var options: Options

        func run() async throws {
            try await self.options.run { try await OutboxEpoch.current(of: self.options.service.rawValue, in: $0) }
        }
    }

    struct New: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Begins a new epoch.")
        @OptionGroup var options: Options

        func run() async throws {
            try await self.options.run { try await OutboxEpoch.begin(of: self.options.service.rawValue, in: $0) }
        }
    }
}

/// How data is written.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable { case text, json }
