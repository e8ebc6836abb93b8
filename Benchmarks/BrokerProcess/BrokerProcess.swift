import Foundation
import LanternKafkaTesting

/// The embedded broker as a process of its own, so that what it costs is no part of a client's processor time: this
/// program again, with another argument.
package final class BrokerProcess {
    private let process: Process
    package let servers: String

    /// What the child is started with.
    package static let argument = "--broker"

    /// - Parameter topics: With their number of partitions.
    package init(topics: [String: Int]) throws {
        let output = Pipe()
        self.process = Process()
        self.process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        self.process.arguments = [Self.argument] + topics.map { "\($0.key)=\($0.value)" }
        self.process.standardOutput = output
        // Its end tells the child that this program is gone.
        self.process.standardInput = Pipe()
        try self.process.run()
        var text = ""
        while !text.contains("\n") {
            let data = output.fileHandleForReading.availableData
            guard !data.isEmpty else { throw BrokerProcessError() }
            text += String(decoding: data, as: UTF8.self)
        }
        self.servers = text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    package func stop() {
        self.process.terminate()
        self.process.waitUntilExit()
    }

    /// Runs as the child, until the parent ends.
    package static func serve(_ arguments: some Sequence<String>) throws {
        var topics: [String: Int] = [:]
        for argument in arguments {
            let parts = argument.split(separator: "=")
            if parts.count == 2 { topics[String(parts[0])] = Int(parts[1]) }
        }
        let broker = try EmbeddedBroker(topics: topics)
        FileHandle.standardOutput.write(Data((broker.bootstrapServers + "\n").utf8))
        while !FileHandle.standardInput.availableData.isEmpty {}
        broker.stop()
    }
}

package struct BrokerProcessError: Error, CustomStringConvertible {
    package var description: String { "the broker did not start" }
}
