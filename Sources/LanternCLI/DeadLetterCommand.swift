import ArgumentParser
import Foundation
import NIOHTTP1

/// `lantern dlq`: records that could not be handled.
struct DeadLetterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dlq",
        abstract: "Lists, shows, replays and discards dead letters.",
        discussion: """
            Needs the role admin: the token is that of LANTERN_TOKEN, or of the administrator of a platform that runs here.
            """,
        subcommands: [List.self, Show.self, Replay.self, Discard.self]
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists dead letters, the newest first.")
        @OptionGroup var access: ServiceAccess
        @Option(help: "Only those that are new, parked, replayed or discarded.")
        var only: LetterState?
        @Option(help: "Only of this reason, as source_mismatch.")
        var reason: String?
        @Option(help: "Only of this consumer.")
        var consumer: String?
        @Option(help: "Only from this topic.")
        var topic: String?
        @Option(help: "Most letters to list.")
        var limit = 50
        @Option(help: "text or json.")
        var output = OutputFormat.text

        func validate() throws {
            guard (1...10_000).contains(self.limit) else { throw ValidationError("--limit must be from 1 to 10000") }
        }

        func run() async throws {
            let (url, token) = try await self.access.open()
            var letters: [[String: Any]] = []
            var cursor: String?
            repeat {
                var components = URLComponents()
                components.queryItems =
                    [
                        ("limit", "\(min(200, self.limit - letters.count))"), ("state", self.only?.rawValue),
                        ("reason", self.reason), ("consumer", self.consumer), ("topic", self.topic), ("cursor", cursor),
                    ].compactMap { name, value in value.map { URLQueryItem(name: name, value: $0) } }
                let answer = try await HTTP.request(
                    .GET, "\(url)/v1/dead-letters?\(components.percentEncodedQuery ?? "")", token: token)
                guard answer.status == 200, let page = answer["data"] as? [[String: Any]] else {
                    throw Failure.wrong(answer.problem)
                }
                letters += page
                cursor = answer["page", "next_cursor"] as? String
            } while cursor != nil && letters.count < self.limit
            switch self.output {
            case .json: try Terminal.json(any: letters)
            case .text:
                if letters.isEmpty { return Terminal.line("no dead letters") }
                func text(_ letter: [String: Any], _ name: String) -> String {
                    letter[name].map { "\($0)" } ?? ""
                }
                Terminal.table(
                    ["ID", "RECORDED", "STATE", "REASON", "FROM", "TRIES"],
                    letters.map { letter in
                        [
                            text(letter, "id"), text(letter, "recorded_at"), text(letter, "state"),
                            text(letter, "reason"),
                            "\(text(letter, "topic"))/\(text(letter, "partition"))@\(text(letter, "offset"))",
                            text(letter, "replays"),
                        ]
                    }
                )
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a dead letter with its record, as JSON.")
        @OptionGroup var access: ServiceAccess
        @Argument(help: "Id of the dead letter.")
        var id: String

        func run() async throws {
            let (url, token) = try await self.access.open()
            let answer = try await HTTP.request(
                .GET, "\(url)/v1/dead-letters/\(DeadLetterCommand.escaped(self.id))", token: token)
            guard answer.status == 200 else { throw Failure.wrong(answer.problem) }
            try Terminal.json(any: try JSONSerialization.jsonObject(with: answer.body))
        }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Handles dead letters again, in the place where they failed.",
            discussion: "Exit code 1 where one fails again."
        )
        @OptionGroup var access: ServiceAccess
        @Argument(help: "Ids of dead letters.")
        var ids: [String]
        @Flag(help: "Tries, tells how it went, and changes nothing.")
        var dryRun = false

        func run() async throws {
            let (url, token) = try await self.access.open()
            var failed = 0
            for id in self.ids {
                let answer = try await HTTP.request(
                    .POST, "\(url)/v1/dead-letters/\(DeadLetterCommand.escaped(id))/replay", token: token,
                    json: ["dry_run": self.dryRun]
                )
                guard answer.status == 200, answer["outcome"] as? String == "replayed" else {
                    failed += 1
                    let why = (answer["error"] as? String) ?? answer.problem
                    Terminal.line("\(id)  \(Terminal.styled("failed", .red))  \(why)")
                    continue
                }
                let released = answer["released"] as? Int ?? 0
                Terminal.line(
                    "\(id)  \(Terminal.styled(self.dryRun ? "would be replayed" : "replayed", .green))"
                        + (released > 0 ? "  and \(released) that waited behind it" : ""))
            }
            if failed > 0 { throw Failure.wrong("\(failed) of \(self.ids.count) failed") }
        }
    }

    struct Discard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says that dead letters will not be handled. What waits behind them is handled.")
        @OptionGroup var access: ServiceAccess
        @Argument(help: "Ids of dead letters.")
        var ids: [String]
        @Option(help: "Why; kept with the letter.")
        var note: String?

        func run() async throws {
            let (url, token) = try await self.access.open()
            var failed = 0
            for id in self.ids {
                let answer = try await HTTP.request(
                    .POST, "\(url)/v1/dead-letters/\(DeadLetterCommand.escaped(id))/discard", token: token,
                    json: self.note.map { ["note": $0] } ?? [:]
                )
                if answer.status == 200 {
                    Terminal.line("\(id)  discarded")
                } else {
                    failed += 1
                    Terminal.line("\(id)  \(Terminal.styled("failed", .red))  \(answer.problem)")
                }
            }
            if failed > 0 { throw Failure.wrong("\(failed) of \(self.ids.count) failed") }
        }
    }

    enum LetterState: String, ExpressibleByArgument, CaseIterable { case new, parked, replayed, discarded }

    /// As part of a path, whatever was typed.
    private static func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(.init(charactersIn: "-"))) ?? ""
    }
}
