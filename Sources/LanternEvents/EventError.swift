/// What is wrong with an event or the path it travels.
public struct EventError: Error, Sendable, CustomStringConvertible {
    /// Stable; also the reason of a dead letter and the label of its metric.
    public enum Code: String, Sendable {
        case notACloudEvent = "not_a_cloudevent"
        case unsupportedVersion = "unsupported_version"
        case invalidAttribute = "invalid_attribute"
        /// The data is not what its type promises.
        case undecodable
        /// The source may not write to this topic.
        case sourceMismatch = "source_mismatch"
        /// Another event bears the same id.
        case idConflict = "id_conflict"
        /// The database cannot hold it.
        case storeRefused = "store_refused"
        /// Its type is of a newer version than this consumer understands.
        case newerVersion = "newer_version"
        /// An earlier record of its key was put aside, and the consumer keeps the order of keys.
        case parked
        /// The handler failed each time it was tried.
        case handlerFailed = "handler_failed"
        /// Another leader has taken over.
        case lostLeadership = "lost_leadership"
        /// Its type is not in the service's catalogue.
        case notInCatalogue = "not_in_catalogue"
        /// Larger than a record may be.
        case tooLarge = "too_large"
        /// Another member has moved the offset: this one no longer owns the partition.
        case fenced

        /// Those for which a record is put aside.
        static let deadLetterReasons: [Code] = [
            .notACloudEvent, .unsupportedVersion, .invalidAttribute, .undecodable, .sourceMismatch, .idConflict,
            .storeRefused, .newerVersion, .parked, .handlerFailed,
        ]
    }

    public var code: Code
    public var message: String

    public init(code: Code, message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(self.code.rawValue): \(self.message)" }
}
