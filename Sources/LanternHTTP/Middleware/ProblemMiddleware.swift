import HTTPTypes
public import Hummingbird
public import Logging
import NIOCore
import NIOHTTP1
import Synchronization

/// Turns everything that a handler throws into problem details.
public struct ProblemMiddleware: RouterMiddleware {
    private let routes: RouteTable
    private let logger: Logger

    public init(routes: RouteTable, logger: Logger) {
        self.routes = routes
        self.logger = logger
    }

    public func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch {
            // A message that cannot be read to its end has no answer: the server closes the connection.
            if error is HTTPParserError { throw error }
            let problem = self.problem(for: error, request)
            if problem.status.code >= 500 {
                self.logger.error(
                    "request failed", error: error,
                    metadata: ["http.route": "\(context.route ?? "")", "code": "\(problem.code)"]
                )
            }
            return problem.response(instance: RequestPath.shown(request), traceID: CurrentTrace.traceID)
        }
    }

    private func problem(for error: any Error, _ request: Request) -> Problem {
        switch error {
        case let problem as Problem:
            return problem
        case is NIOTooManyBytesError:
            return Problem(.contentTooLarge, "body_too_large", "The body is larger than this server takes (1 MiB).")
        case let error as any HTTPResponseError where error.status == .notFound:
            let allowed = self.routes.methods(for: request.uri.path)
            guard !allowed.isEmpty else { return Problem(.notFound, "unknown_route", "There is no such route.") }
            let list = allowed.map(\.rawValue).joined(separator: ", ")
            return Problem(
                .methodNotAllowed, "method_not_allowed",
                "This route does not take \(request.method.rawValue), only \(list).", headers: [.allow: list]
            )
        case let error as any HTTPResponseError where (400..<500).contains(error.status.code):
            return Problem(error.status, "bad_request", "The request is not valid.")
        case let error as any ProblemConvertible:
            return error.problem
        default:
            return Problem(.internalServerError, "internal_error", "The server failed to handle the request.")
        }
    }
}

/// An error of another module that has its own answer: a database that is away, say.
public protocol ProblemConvertible: Error {
    var problem: Problem { get }
}

/// Which methods each path takes, for 405 and `Allow`.
public final class RouteTable: Sendable {
    private struct Entry: Sendable {
        var segments: [Segment]
        var method: HTTPRequest.Method
    }

    private enum Segment: Sendable {
        case literal(String)
        case any
        case rest
    }

    private let entries = Mutex<[Entry]>([])

    public init() {}

    /// Fills the table, once all routes are known: the middleware that uses it is made before them.
    /// - Parameter routes: Method and template (`/v1/users/{id}`) of each route.
    public func fill(_ routes: [(method: HTTPRequest.Method, path: String)]) {
        let entries = routes.map { route in
            Entry(
                segments: route.path.split(separator: "/").map { part in
                    if part == "**" { return .rest }
                    return part.hasPrefix("{") || part.hasPrefix(":") || part == "*" ? .any : .literal(String(part))
                },
                method: route.method
            )
        }
        self.entries.withLock { $0 = entries }
    }

    /// The methods that a path takes, sorted; empty where the path is unknown.
    public func methods(for path: String) -> [HTTPRequest.Method] {
        let parts = path.split(separator: "/")
        let methods = self.entries.withLock { $0 }.filter { Self.matches($0.segments, parts) }.map(\.method)
        return Set(methods).sorted { $0.rawValue < $1.rawValue }
    }

    private static func matches(_ segments: [Segment], _ parts: [Substring]) -> Bool {
        for (index, segment) in segments.enumerated() {
            if case .rest = segment { return true }
            guard index < parts.count else { return false }
            if case .literal(let text) = segment, text != parts[index] { return false }
        }
        return segments.count == parts.count
    }
}
