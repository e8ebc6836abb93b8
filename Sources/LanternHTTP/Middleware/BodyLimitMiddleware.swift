import HTTPTypes
public import Hummingbird

/// Refuses a body that says it is too large before any of it is read. One that does not say is stopped while it is read.
public struct BodyLimitMiddleware: RouterMiddleware {
    public init() {}

    public func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        if let text = request.headers[.contentLength], let length = Int(text), length > context.maxUploadSize {
            throw Problem(
                .contentTooLarge, "body_too_large",
                "The body has \(length) bytes, at most \(context.maxUploadSize) are taken.",
                // What follows is not going to be read.
                headers: [.connection: "close"]
            )
        }
        return try await next(request, context)
    }
}
