/// Why a metric could not be declared: a mistake in the program, told at its start.
public struct MetricsError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// Not a name that Prometheus takes.
        case invalidName = "invalid_name"
        /// Not a label name, a reserved one, or one that is there twice.
        case invalidLabel = "invalid_label"
        /// Bounds that do not ascend or are not finite.
        case invalidBuckets = "invalid_buckets"
        /// Another metric has this name, or samples of this name.
        case clash
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(self.code.rawValue): \(self.message)" }
}
