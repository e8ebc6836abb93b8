import ArgumentParser
import Foundation
import Glibc
import LanternLocal
import ServiceLifecycle

/// `lantern up`: the whole platform on this machine.
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Starts PostgreSQL, the embedded broker, auth, order, activity and Prometheus on this machine.",
        discussion: "Stays in the foreground; Ctrl-C stops everything in order. Safe to run again after any crash."
    )

    @OptionGroup var options: PlatformOptions

    @Option(help: "Moves all ports: they follow this number, one after the other.")
    var portBase: Int?

    @Flag(help: "Returns when everything runs; `lantern down` stops it.")
    var detach = false

    func validate() throws {
        if let portBase, !(1_024...65_000).contains(portBase) {
            throw ValidationError("--port-base must be from 1024 to 65000")
        }
    }

    func run() async throws {
        let ports = self.portBase.map { LocalPorts(base: $0) } ?? LocalPorts()
        do {
            if self.detach {
                try await Detached.start(state: self.options.state, portBase: self.portBase)
            } else {
                try await LocalRun(state: self.options.state, ports: ports).run()
            }
        } catch let error as LocalError {
            throw Failure.wrong(error.description)
        }
    }
}

/// `lantern down`: stops a detached platform.
struct DownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "down", abstract: "Stops the platform in order.")

    @OptionGroup var options: PlatformOptions

    func run() async throws {
        guard let state = LocalState.read(self.options.state), state.isAlive else {
            Terminal.line("nothing runs")
            return
        }
        kill(state.pid, SIGTERM)
        do {
            try await waitUntil("the platform stops", within: .seconds(90)) { !state.isAlive }
        } catch let error as LocalError {
            throw Failure.wrong(error.description)
        }
        Terminal.line("stopped")
    }
}

/// `lantern status`: what runs where.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Shows what runs where.")

    enum Output: String, ExpressibleByArgument, CaseIterable { case text, json }

    @OptionGroup var options: PlatformOptions

    @Option(help: "text or json.")
    var output = Output.text

    func run() async throws {
        let state = LocalState.read(self.options.state)
        let alive = state?.isAlive ?? false
        var processes = state?.processes ?? []
        if !alive {
            for index in processes.indices {
                processes[index].state = "stopped"
                processes[index].pid = nil
            }
        }
        switch self.output {
        case .json:
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            Terminal.line(String(decoding: try encoder.encode(processes), as: UTF8.self))
        case .text:
            processes.isEmpty ? Terminal.line("nothing runs") : LocalRun.show(processes)
        }
        if !alive || processes.contains(where: { $0.state != "running" }) { throw ExitCode(1) }
    }
}
