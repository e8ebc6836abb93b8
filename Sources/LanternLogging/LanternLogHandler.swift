public import Logging

/// A swift-log backend that writes one line for each record: JSON as the contract of the platform says, or aligned text
/// for a terminal.
///
/// The order of the JSON members is `timestamp level message logger service trace_id span_id`, the attributes of the
/// process, then the metadata, flat and sorted. A metadata key that collides with one of these names is prefixed
/// `metadata.`. Values that carry ``Sensitivity/sensitive``, or whose key names a secret, are written as `"***"`.
///
/// Safe to use from any thread. A line is written into a buffer of the thread and handed to the sink; nothing here throws.
public struct LanternLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?

    private let label: LogLabel
    private let output: LogOutput
    private var ownLevel: Logger.Level?

    /// - Parameters:
    ///   - label: The logger's name, written as `logger`.
    ///   - output: Format, service name, sink and trace look-up, shared by all handlers of one service.
    public init(label: String, output: LogOutput) {
        self.label = LogLabel(label, output)
        self.output = output
    }

    /// The level of the label (``LogLevels``), until it is set here.
    public var logLevel: Logger.Level {
        get { self.ownLevel ?? self.label.level.level }
        set { self.ownLevel = newValue }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let time = LineWriter.now()
        var metadata = event.metadata
        if !self.metadata.isEmpty || self.metadataProvider != nil || event.error != nil {
            metadata = self.merged(event)
        }
        self.output.write(event.level, event.message.description, self.label, metadata, at: time)
    }

    private func merged(_ event: LogEvent) -> Logger.Metadata {
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
        return metadata
    }
}
