import HTTPTypes
import Hummingbird
import LanternHTTP
import LanternLogging
import Logging

/// `GET` and `PUT /admin/log-levels`: what each logger says, changed while the service runs. For administrators.
///
/// A change holds in this process until it ends.
struct LogLevelRoutes {
    let levels: LogLevels
    let logger: Logger

    private struct Answer: Encodable {
        /// Of loggers that have no level of their own.
        var `default`: String
        /// By label.
        var levels: [String: String]
        /// Labels of the loggers that there are.
        var loggers: [String]

        init(_ levels: LogLevels) {
            self.default = levels.standard.rawValue
            self.levels = levels.levels.mapValues(\.rawValue)
            self.loggers = levels.labels
        }
    }

    private static let names = "one of " + Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")

    func register(on router: Router<PlatformContext>) {
        router.get("/admin/log-levels") { _, context in
            _ = try context.require(.admin)
            return try JSON.response(Answer(self.levels), headers: [.cacheControl: "no-store"])
        }
        router.put("/admin/log-levels") { request, context in
            let principal = try context.require(.admin)
            var fields = try await request.fields(context)
            let standard = fields.parsed("default", Self.names) { Logger.Level(rawValue: $0) }
            let levels = fields.map("levels", count: 0...LogLevels.limit, Self.names) { Logger.Level(rawValue: $0) }
            let (newStandard, newLevels) = try fields.valid(standard, levels)
            self.levels.replace(standard: newStandard, levels: newLevels)
            // Whatever the new levels are: who silences a service does not do so silently.
            var logger = self.logger
            logger.logLevel = .notice
            logger.notice(
                "log levels changed",
                metadata: [
                    "by": "\(principal.subject)", "default": "\(newStandard)",
                    "levels": .dictionary(newLevels.mapValues { "\($0)" }),
                ]
            )
            return try JSON.response(Answer(self.levels), headers: [.cacheControl: "no-store"])
        }
    }
}
