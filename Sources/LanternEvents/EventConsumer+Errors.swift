import LanternPostgres
import Logging

/// What becomes of a record that could not be handled.
extension EventConsumer {
    enum Disposition {
        case stop
        case wait
        case retry(EventError)
        case poison(EventError)
    }

    /// What to do about an error: wait for what is away, try again what may pass, put aside what never will.
    static func disposition(of error: any Error) -> Disposition {
        switch error {
        // One of the handler's own, that nobody asked for, is a failure as any other.
        case is CancellationError where Task.isCancelled: return .stop
        case let error as EventError:
            return error.code == .fenced || error.code == .lostLeadership ? .stop : .poison(error)
        case let error as PostgresError:
            if error.isDataError { return .poison(EventError(code: .storeRefused, message: error.description)) }
            switch error.code {
            // Also a statement that takes too long, which its record may be the reason of.
            case .server, .decoding, .migration, .wrongMethod, .pooled:
                return .retry(EventError(code: .storeRefused, message: error.description))
            case .cancelled:
                return Task.isCancelled
                    ? .stop : .retry(EventError(code: .storeRefused, message: error.description))
            default: return .wait
            }
        case is DecodingError:
            return .poison(EventError(code: .undecodable, message: "the data does not have the shape of its type"))
        default:
            // The text of a foreign error may hold what a user sent; its type does not.
            return .retry(EventError(code: .handlerFailed, message: String(reflecting: Swift.type(of: error))))
        }
    }

    func retrying<Value: Sendable>(_ operation: () async throws -> Value) async throws -> Value {
        var failures = 0
        while true {
            do {
                return try await operation()
            } catch {
                guard case .wait = Self.disposition(of: error), (error as? PostgresError)?.code != .unknownOutcome
                else {
                    throw error
                }
                failures += 1
                if failures.nonzeroBitCount == 1 {
                    self.logger.warning("the consumer waits for the database", error: error)
                }
                try await Task.sleep(for: .milliseconds(min(5_000, 50 << min(failures, 7))))
            }
        }
    }
}
