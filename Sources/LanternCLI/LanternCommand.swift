import ArgumentParser

/// `lantern`: the platform from the command line.
@main
struct LanternCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lantern",
        abstract: "Runs, shows and checks a Lantern platform.",
        discussion: "Exit codes: 0 all is well, 1 something is wrong, 2 the command was misused or cannot run.",
        version: "0.1.0",
        subcommands: [
            UpCommand.self, DownCommand.self, StatusCommand.self, BrokerCommand.self, DemoCommand.self,
            MigrateCommand.self, DeadLetterCommand.self, EpochCommand.self,
        ]
    )

    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let failure as Failure {
            Terminal.error("lantern: \(failure)")
            exit(withError: ExitCode(failure.code))
        } catch let error where exitCode(for: error) == .validationFailure {
            // EX_USAGE of the argument parser; the contract's word for misuse is 2.
            Terminal.error(fullMessage(for: error))
            exit(withError: ExitCode(2))
        } catch {
            exit(withError: error)
        }
    }
}

/// Why a command ends with another code than 0, in one line.
struct Failure: Error, CustomStringConvertible {
    var code: Int32
    var description: String

    /// Something is wrong.
    static func wrong(_ text: String) -> Failure { Failure(code: 1, description: text) }
    /// The command cannot run as it was asked to.
    static func misused(_ text: String) -> Failure { Failure(code: 2, description: text) }
}

/// Where a platform keeps its state, and which ports it uses.
struct PlatformOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Folder of the platform's state.", valueName: "folder"))
    var state = ".lantern"
}
