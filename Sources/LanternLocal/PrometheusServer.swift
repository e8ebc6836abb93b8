import Foundation

/// Debian's Prometheus, scraping services of this machine.
public struct PrometheusServer: Sendable {
    public let directory: String
    public let port: Int
    private let targets: [(job: String, port: Int)]
    private let rules: String?
    private let logFile: String

    /// - Parameters:
    ///   - directory: Absolute; for its data and configuration.
    ///   - rules: Absolute path of a file of rules.
    public init(directory: String, port: Int, targets: [(job: String, port: Int)], rules: String?, logFile: String) {
        self.directory = directory
        self.port = port
        self.targets = targets
        self.rules = rules
        self.logFile = logFile
    }

    /// Writes the configuration and answers the command that runs the server.
    public func command(scrapeInterval: String = "2s") throws -> ChildProcess.Command {
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        var text = "global:\n  scrape_interval: \(scrapeInterval)\n  evaluation_interval: 5s\n"
        if let rules { text += "rule_files:\n  - \"\(rules)\"\n" }
        text += "scrape_configs:\n"
        for target in self.targets {
            text +=
                "  - job_name: \(target.job)\n    static_configs:\n      - targets: [\"127.0.0.1:\(target.port)\"]\n"
        }
        let configuration = "\(self.directory)/prometheus.yml"
        try text.write(toFile: configuration, atomically: true, encoding: .utf8)
        return ChildProcess.Command(
            try Tools.find("prometheus", package: "prometheus"),
            [
                "--config.file=\(configuration)", "--storage.tsdb.path=\(self.directory)/data",
                "--storage.tsdb.retention.time=2d", "--web.listen-address=127.0.0.1:\(self.port)",
                "--enable-feature=exemplar-storage", "--log.level=warn",
            ],
            environment: ["PATH": "/usr/bin:/bin"], directory: self.directory, logFile: self.logFile
        )
    }
}
