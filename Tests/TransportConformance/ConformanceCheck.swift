/// One promise, and the way to find out whether a transport keeps it.
public struct ConformanceCheck: Sendable, CustomStringConvertible {
    /// What the promise holds only under.
    public enum Assumption: Sendable {
        /// What is not there any more, or not yet, begins at the earliest record.
        case resetsToEarliest
        /// A rebalance moves only the partitions that have to move.
        case movesOnlyWhatMustMove
    }

    public let name: String
    let assumption: Assumption?
    let body: @Sendable (ConformanceContext) async throws -> ConformanceOutcome

    /// - Parameter body: Throws where the promise is broken, with what it expected and what it saw.
    public init(
        _ name: String, assuming assumption: Assumption? = nil,
        body: @escaping @Sendable (ConformanceContext) async throws -> ConformanceOutcome
    ) {
        self.name = name
        self.assumption = assumption
        self.body = body
    }

    public var description: String { self.name }

    /// What every transport promises.
    public static let all: [ConformanceCheck] =
        PartitionChecks.all + ContentChecks.all + PositionChecks.all + SeekChecks.all + TopicChecks.all
        + EndingChecks.all + GroupChecks.all + MovementChecks.all
}

/// How a check ended that did not fail.
public enum ConformanceOutcome: Sendable, Equatable {
    case passed
    /// The transport gives no occasion for it.
    case skipped(String)
}

/// A promise that is not kept.
public struct ConformanceFailure: Error, CustomStringConvertible {
    public var description: String

    public init(_ description: String) { self.description = description }
}

/// - Throws: ``ConformanceFailure`` that says what was expected and what was seen.
public func demand<Value: Equatable>(_ seen: Value, equals expected: Value, _ what: String) throws {
    guard seen == expected else {
        throw ConformanceFailure("\(what): expected \(short(expected)), seen \(short(seen))")
    }
}

/// - Throws: ``ConformanceFailure``.
public func demand(_ condition: Bool, _ message: @autoclosure () -> String) throws {
    guard condition else { throw ConformanceFailure(message()) }
}

/// A value as text that fits into a line.
func short<Value>(_ value: Value) -> String {
    let text = String(describing: value)
    return text.count > 300 ? "\(text.prefix(300))…" : text
}
