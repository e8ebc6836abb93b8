@testable import LanternPostgres
import Testing

@Suite("PostgreSQL's errors")
struct PostgresErrorTests {
    @Test(
        "a SQLSTATE is told apart by what its caller can do about it",
        arguments: [
            ("23505", .uniqueViolation), ("23503", .foreignKeyViolation), ("23514", .checkViolation),
            ("23502", .notNullViolation),
            // The whole transaction may be tried again.
            ("40001", .serialization), ("40P01", .serialization),
            ("57014", .cancelled),
            // Connection exceptions, and a server that goes down or comes up.
            ("08000", .connectionLost), ("08006", .connectionLost), ("08P01", .connectionLost),
            ("57P01", .connectionLost),
            ("57P02", .connectionLost), ("57P03", .connectionLost),
            // Everything else is the statement's fault, or the program's.
            ("42601", .server), ("42P01", .server), ("22001", .server), ("53300", .server), ("57000", .server),
            ("XX000", .server),
            ("25P02", .server), ("40002", .server), ("", .server),
        ] as [(String, PostgresError.Code)]
    )
    func codes(state: String, code: PostgresError.Code) {
        let error = PostgresError(sqlState: state, message: "m", constraint: nil)
        #expect(error.code == code)
        #expect(error.sqlState == state)
    }

    @Test(
        "a value that was refused is refused again; anything else may pass next time",
        arguments: [
            ("22001", true), ("22003", true), ("22008", true), ("22021", true), ("22P02", true), ("22P05", true),
            ("23502", true), ("23503", true), ("23505", true), ("23514", true), ("23P01", true),
            ("08006", false), ("40001", false), ("40P01", false), ("42601", false), ("42P01", false), ("53100", false),
            ("53300", false), ("55P03", false), ("57014", false), ("57P01", false), ("58030", false), ("XX000", false),
            ("02200", false), ("12322", false), ("", false),
        ]
    )
    func dataErrors(state: String, isDataError: Bool) {
        #expect(PostgresError(sqlState: state, message: "m", constraint: nil).isDataError == isDataError)
    }

    @Test("a parameter that PostgreSQL cannot hold is a data error without a SQLSTATE")
    func invalidParameter() {
        #expect(PostgresError(code: .invalidParameter, message: "m").isDataError)
    }

    @Test(
        "what happens to a connection is no fault of the data",
        arguments: [.connect, .connectionLost, .unknownOutcome, .timeout, .poolExhausted, .closed]
            as [PostgresError.Code]
    )
    func connectionErrors(code: PostgresError.Code) {
        #expect(!PostgresError(code: code, message: "m").isDataError)
    }

    @Test("its text names code, SQLSTATE and message, so that a log line suffices")
    func description() {
        let error = PostgresError(sqlState: "23505", message: "duplicate key value", constraint: "account_email")
        #expect(error.description == "PostgreSQL unique_violation 23505: duplicate key value")
        #expect(error.constraint == "account_email")
        #expect(PostgresError(code: .timeout, message: "no answer").description == "PostgreSQL timeout: no answer")
    }
}
