import HTTPTypes
public import Hummingbird
public import Tracing

/// Finds out who asks. It refuses nobody: a route that needs somebody says so (`context.require(…)`), and gets the reason
/// why a token was not accepted then.
public struct AuthenticationMiddleware: RouterMiddleware {
    private let verify: @Sendable (String) async throws -> Principal
    private let enter: @Sendable (Principal?, String?, inout InstrumentationContext) -> Void

    /// - Parameters:
    ///   - verify: The principal of a bearer token; throws ``Problem``.
    ///   - enter: Puts principal and client address into the context that the handler runs in.
    public init(
        verify: @escaping @Sendable (String) async throws -> Principal,
        enter: @escaping @Sendable (Principal?, String?, inout InstrumentationContext) -> Void
    ) {
        self.verify = verify
        self.enter = enter
    }

    public func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        if let header = request.headers[.authorization] {
            context.authenticated(await self.authenticate(header))
        }
        var instrumentation = InstrumentationContext.current ?? .topLevel
        self.enter(context.principal, context.peerAddress, &instrumentation)
        return try await InstrumentationContext.withValue(instrumentation) {
            try await next(request, context)
        }
    }

    private func authenticate(_ header: String) async -> Result<Principal, Problem> {
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            return .failure(.unauthorized("The Authorization header is not a bearer token.", error: "invalid_request"))
        }
        do {
            return .success(try await self.verify(String(parts[1])))
        } catch let problem as Problem {
            return .failure(problem)
        } catch {
            return .failure(.unauthorized("The token is not valid.", error: "invalid_token"))
        }
    }
}
