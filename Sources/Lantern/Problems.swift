import HTTPTypes
public import LanternHTTP
public import LanternPostgres

extension PostgresError: ProblemConvertible {
    /// A database that is away is worth another try; everything else is our fault.
    public var problem: Problem {
        switch self.code {
        case .connect, .connectionLost, .timeout, .poolExhausted, .closed, .cancelled, .serialization:
            Problem(
                .serviceUnavailable, "temporarily_unavailable", "The service cannot answer now. Try again.",
                headers: [.retryAfter: "1"]
            )
        case .unknownOutcome:
            Problem(
                .serviceUnavailable, "outcome_unknown",
                "The connection to the store broke while saving: the change may or may not have been made."
            )
        default:
            Problem(.internalServerError, "internal_error", "The server failed to handle the request.")
        }
    }
}
