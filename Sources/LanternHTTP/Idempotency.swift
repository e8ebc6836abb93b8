import HTTPTypes
import Foundation
public import Hummingbird
public import NIOCore

/// Remembers the answers to requests that bear an `Idempotency-Key`.
public protocol IdempotencyStore: Sendable {
    /// Claims a key.
    /// - Parameter fingerprint: Tells one request body from another.
    func begin(_ key: IdempotencyKey, fingerprint: String) async throws -> IdempotencyState
    /// Keeps the answer for later requests with the key.
    func complete(_ key: IdempotencyKey, _ answer: StoredAnswer) async throws
    /// Gives the key back: the request failed and may be tried again.
    func abandon(_ key: IdempotencyKey) async throws
}

/// Whose key it is: the same key of another subject, method or route is another key.
public struct IdempotencyKey: Hashable, Sendable {
    public var subject: String
    public var method: String
    public var route: String
    public var key: String
}

public enum IdempotencyState: Sendable {
    /// The key is new, and now ours.
    case claimed
    /// Another request with it is under way.
    case inFlight
    /// It was used with another body.
    case mismatch
    case answered(StoredAnswer)
}

/// An answer as it was first given.
public struct StoredAnswer: Sendable, Equatable {
    public var status: Int
    public var contentType: String
    public var location: String?
    public var body: [UInt8]

    public init(status: Int, contentType: String, location: String?, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.location = location
        self.body = body
    }
}

/// Honours `Idempotency-Key` on authenticated requests that create something.
public struct IdempotencyMiddleware: RouterMiddleware {
    private let store: any IdempotencyStore
    private let fingerprint: @Sendable (ByteBuffer) -> String

    /// - Parameter fingerprint: A digest of a body.
    public init(store: any IdempotencyStore, fingerprint: @escaping @Sendable (ByteBuffer) -> String) {
        self.store = store
        self.fingerprint = fingerprint
    }

    /// Answers that hold secrets are never stored.
    private static let excluded = ["/v1/sessions/", "/oauth2/", "/v1/clients/", "/v1/keys/"]

    public func handle(
        _ request: Request, context: PlatformContext,
        next: (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        guard request.method == .post, let name = HTTPField.Name("idempotency-key"), let value = request.headers[name],
            let principal = context.principal
        else { return try await next(request, context) }
        let path = RequestPath.canonical(request)
        guard !Self.excluded.contains(where: (path + "/").hasPrefix) else { return try await next(request, context) }
        guard (1...255).contains(value.utf8.count) else {
            throw Problem(.badRequest, "invalid_idempotency_key", "An Idempotency-Key has 1 to 255 characters.")
        }
        var request = request
        let body = try await request.collectBody(upTo: context.maxUploadSize)
        // A route that has no end is no key of an index.
        let route = path.utf8.count <= 255 ? path : self.fingerprint(ByteBuffer(string: path))
        let key = IdempotencyKey(
            subject: principal.subject, method: request.method.rawValue, route: route, key: value
        )
        switch try await self.store.begin(key, fingerprint: self.fingerprint(body)) {
        case .claimed: break
        case .inFlight:
            throw Problem(.conflict, "idempotency_in_flight", "A request with this Idempotency-Key is under way.")
        case .mismatch:
            throw Problem(
                .unprocessableContent, "idempotency_key_reused", "This Idempotency-Key was used with another body."
            )
        case .answered(let answer):
            return Self.response(answer)
        }
        let response: Response
        do {
            response = try await next(request, context)
        } catch {
            // A problem is thrown, not answered, at this depth; nothing was created, so the key is free again.
            try? await self.store.abandon(key)
            throw error
        }
        // What nobody may keep is not kept here either, whatever route it comes from.
        let isKept = response.headers[.cacheControl]?.contains("no-store") != true
        guard response.status.code < 500, isKept, let answer = await Self.answer(response) else {
            try await self.store.abandon(key)
            return response
        }
        // If this fails the key stays claimed: better a 409 than a second order.
        try await self.store.complete(key, answer)
        return Self.response(answer)
    }

    private static func response(_ answer: StoredAnswer) -> Response {
        var headers: HTTPFields = [.contentType: answer.contentType]
        headers[.location] = answer.location
        return Response(
            status: HTTPResponse.Status(code: answer.status), headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body))
        )
    }

    private static func answer(_ response: Response) async -> StoredAnswer? {
        guard let length = response.body.contentLength, length <= 1 << 20 else { return nil }
        let collected = CollectingWriter.Box()
        do { try await response.body.write(CollectingWriter(box: collected)) } catch { return nil }
        return StoredAnswer(
            status: response.status.code, contentType: response.headers[.contentType] ?? "application/json",
            location: response.headers[.location], body: collected.bytes
        )
    }
}
