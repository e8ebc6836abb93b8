@testable import LanternPostgres
import Testing

@Suite("The server's address in spans")
struct TelemetryAddressTests {
    @Test(
        "host and database of a connection URI",
        arguments: [
            ("postgresql://ada:s3cret@db.example:5432/shop?sslmode=require", "db.example:5432", "shop"),
            ("postgres://ada@db.example/shop", "db.example", "shop"),
            ("postgresql://db.example:5432", "db.example:5432", ""),
            ("postgresql://ada:s3cret@db.example", "db.example", ""),
            ("postgresql://ada:s3cret@[::1]:5432/shop", "[::1]:5432", "shop"),
            (
                "postgresql://ada:s3cret@db1:5432,db2:5433/shop?target_session_attrs=primary", "db1:5432,db2:5433",
                "shop"
            ),
            ("postgresql:///shop?host=/run/postgresql", "", "shop"),
            // A password that holds an @ which nobody escaped.
            ("postgresql://ada:s3@cret@db.example/shop", "db.example", "shop"),
            ("", "", ""),
            ("host=db.example password=s3cret dbname=shop", "", ""),
        ]
    )
    func parts(url: String, server: String, namespace: String) {
        let address = PostgresTelemetry.address(of: url)
        #expect(address.server == server)
        #expect(address.namespace == namespace)
    }

    @Test(
        "the port is told apart, where it is not PostgreSQL's own",
        arguments: [
            ("db.example", "db.example", nil), ("db.example:5432", "db.example", nil),
            ("db.example:6432", "db.example", 6_432),
            ("[::1]:6432", "::1", 6_432), ("[::1]", "::1", nil), ("127.0.0.1:15432", "127.0.0.1", 15_432),
            ("db1:5432,db2:5433", "db1:5432,db2:5433", nil), ("", "", nil),
        ] as [(String, String, Int64?)]
    )
    func port(authority: String, host: String, port: Int64?) {
        let parts = PostgresTelemetry.hostAndPort(authority)
        #expect(parts.host == host)
        #expect(parts.port == port)
    }

    @Test(
        "neither user nor password is ever in it",
        arguments: [
            "postgresql://ada:s3cret@db/shop", "postgresql://ada:s3cret@db", "postgresql://ada:s3cret@/shop",
            "postgresql://ada:s3cret@", "postgresql://ada:x@s3cret@db/shop", "postgresql://ada:%40s3cret@db:5432/shop",
            "postgresql:///shop?user=ada&password=s3cret", "postgresql://db/shop?password=s3cret&user=ada",
            "postgresql://ada:s3cret@db?sslmode=require", "user=ada password=s3cret host=db",
        ]
    )
    func hidesCredentials(url: String) {
        let address = PostgresTelemetry.address(of: url)
        for part in [address.server, address.namespace] {
            #expect(!part.contains("s3cret"))
            #expect(!part.contains("ada"))
        }
    }

    @Test(
        "a password among the parameters of a URI without a path is not in it either",
        arguments: [
            "postgresql://db.example?user=ada&password=s3cret", "postgresql://?host=/run/postgresql&password=s3cret",
            // Not a URI that libpq takes, but one that an operator may write: the slash should have been %2F.
            "postgresql://ada:s3cret/x@db.example/shop", "postgresql://ada:s3cret?x@db.example/shop",
            "postgresql://ada:s3cret/x?y@db.example/shop",
        ]
    )
    func hidesParameters(url: String) {
        let address = PostgresTelemetry.address(of: url)
        #expect(!"\(address)".contains("s3cret"))
    }
}
