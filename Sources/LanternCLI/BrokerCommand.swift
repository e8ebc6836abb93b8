import ArgumentParser
import Dispatch
import Glibc
import LanternKafkaTesting

/// `lantern broker`: the embedded broker as a process of its own.
struct BrokerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "broker",
        abstract: "Runs the embedded Kafka-protocol broker.",
        discussion: """
            For development and tests only: it keeps everything in memory (5 MiB or 100,000 batches a partition) and a \
            restart loses all. It serves 127.0.0.1.
            """
    )

    @Option(help: "Port to listen on.")
    var port: UInt16 = 19_092

    @Option(help: "Partitions of each topic that is created at start.")
    var partitions = 4

    @Option(name: .customLong("topic"), help: "A topic to create; may be given several times.")
    var topics = [
        "auth.events.v1", "order.events.v1", "activity.events.v1", "activity.dead-letters.v1", "lantern.control.v1",
    ]

    func validate() throws {
        guard (1...64).contains(self.partitions) else { throw ValidationError("--partitions must be from 1 to 64") }
    }

    func run() async throws {
        do {
            let broker = try EmbeddedBroker(
                port: self.port, topics: Dictionary(self.topics.map { ($0, self.partitions) }, uniquingKeysWith: { $1 })
            )
            Terminal.line("broker listens on \(broker.bootstrapServers)")
            await Signals.wait()
            broker.stop()
        } catch let error as EmbeddedBrokerError {
            throw Failure.wrong("broker: \(error)")
        }
    }
}

/// The signals that end a command.
enum Signals {
    /// Returns at the first SIGINT or SIGTERM. Later ones are ignored: an orderly end is under way.
    static func wait() async {
        let sources = [SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: .global())
        }
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        for source in sources {
            source.setEventHandler { continuation.yield() }
            source.resume()
        }
        for await _ in stream { break }
        withExtendedLifetime(sources) {}
    }
}
