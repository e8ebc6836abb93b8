public import Logging

/// A swift-log backend that writes one line for each record: JSON as the contract of the platform says, or aligned text
/// for a terminal.
///
/// The order of the JSON members is `timestamp level message logger service trace_id span_id`, then the metadata, flat
/// and sorted. A metadata key that collides with one of these names is prefixed `metadata.`. Values that carry
/// ``Sensitivity/sensitive``, or whose key names a secret, are written as `"***"`.
///
/// Safe to use from any thread. Writing a line takes the sink's lock; nothing here throws.
public struct LanternLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    public var logLevel: Logger.Level

    private let label: String
    private let output: LogOutput

    /// - Parameters:
    ///   - label: The logger's name, written as `logger`.
    ///   - output: Format, service name, sink and trace look-up, shared by all handlers of one service.
    public init(label: String, output: LogOutput) {
        self.label = label
        self.output = output
        self.logLevel = output.level
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var metadata = self.metadata
        if let provided = self.metadataProvider?.get(), !provided.isEmpty {
            metadata.merge(provided) { _, new in new }
        }
        if let own = event.metadata {
            metadata.merge(own) { _, new in new }
        }
        if let error = event.error, metadata["error"] == nil {
            metadata["error"] = .string(String(describing: error))
        }
        self.output.write(
            LogRecord(
                time: .now(),
                level: event.level,
                message: event.message.description,
                logger: self.label,
                trace: self.output.trace(),
                metadata: metadata
            )
        )
    }
}

/// How sensitive a metadata value is, as a swift-log attribute:
/// `logger.info("…", metadata: ["email": .attributed(email, attributes: [Sensitivity.sensitive])])`.
public enum Sensitivity: Int64, Sendable, Logger.MetadataValueAttributes.Attribute {
    /// May be shown to whoever reads the logs.
    case `public` = 0
    /// Is written as `"***"`.
    case sensitive = 1
}
