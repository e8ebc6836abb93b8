import Foundation
import Glibc
import LanternLogging

/// A service on the platform. Conform, mark the type `@main`, and assemble what it does:
///
/// ```swift
/// @main
/// struct Order: LanternService {
///     static let name = "order"
///     static func assemble(_ platform: Platform) async throws {
///         let database = try platform.postgres(migrations: OrderSchema.migrations)
///         let outbox = platform.outbox(in: database)
///         platform.routes { router in … }
///     }
/// }
/// ```
public protocol LanternService: SendableMetatype {
    /// Lower-case; names the service in logs, spans, `ce_source` and its topic.
    static var name: String { get }
    /// Declares what the service is made of. Nothing runs yet.
    static func assemble(_ platform: Platform) async throws
}

extension LanternService {
    /// Runs the service until SIGTERM or SIGINT, or until it fails. Exits with 0, 1 (failed) or 2 (misconfigured).
    public static func main() async {
        FileDescriptorSink.surviveSignals()
        do {
            let host = try await ServiceHost(Self.self, environment: ProcessInfo.processInfo.environment)
            try await host.run(handlingSignals: true)
        } catch let error as ConfigurationError {
            FileHandle.standardError.write(Data("\(Self.name): \(error)\n".utf8))
            exit(2)
        } catch {
            FileHandle.standardError.write(Data("\(Self.name): \(error)\n".utf8))
            exit(1)
        }
    }
}

/// The version of the platform.
public enum LanternVersion {
    public static let current = "0.1.0"
}
