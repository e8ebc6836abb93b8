import AsyncHTTPClient

/// The HTTP client of the platform's own errands: exporting spans, fetching keys.
///
/// `HTTPClient.shared` keeps the tracer of whoever touches it first, task-local or not, and stamps every later request
/// of the process with that tracer's context: one service's spans would appear in another's, and each export of spans
/// would make a span to export. This one traces nothing. It is never shut down, as the shared one is not: it belongs to
/// the process. It follows no redirect: keys are taken from where they are configured, and the headers of an export,
/// which may be secrets, go nowhere else. Whoever is away is known to be at once: those who call try again by themselves.
enum UntracedHTTP {
    static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.tracing.tracer = nil
        configuration.redirectConfiguration = .disallow
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(configuration: configuration)
    }()
}
