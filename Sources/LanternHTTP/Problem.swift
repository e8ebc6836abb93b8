import Foundation
public import HTTPTypes
import Hummingbird
import NIOCore

/// An error that a client is told about: problem details (RFC 9457) with a stable code.
///
/// Throw it anywhere in a handler. What is not a `Problem` becomes a 500 that tells nothing of the inside.
public struct Problem: Error, Sendable {
    /// One fault of the input.
    public struct Field: Sendable, Codable, Equatable {
        public var field: String
        public var message: String

        public init(_ field: String, _ message: String) {
            self.field = field
            self.message = message
        }
    }

    public var status: HTTPResponse.Status
    /// Stable, snake_case.
    public var code: String
    /// For people: what was wrong and what was expected.
    public var detail: String
    public var fields: [Field]
    public var headers: HTTPFields

    public init(
        _ status: HTTPResponse.Status, _ code: String, _ detail: String, fields: [Field] = [], headers: HTTPFields = [:]
    ) {
        self.status = status
        self.code = code
        self.detail = detail
        self.fields = fields
        self.headers = headers
    }

    public static func notFound(_ what: String) -> Problem {
        Problem(.notFound, "not_found", "There is no such \(what).")
    }

    /// All faults of an input at once.
    public static func invalid(_ fields: [Field]) -> Problem {
        Problem(
            .unprocessableContent, "validation_failed",
            fields.count == 1 ? "A field is not valid." : "\(fields.count) fields are not valid.", fields: fields
        )
    }

    public static func forbidden(_ detail: String) -> Problem {
        Problem(.forbidden, "forbidden", detail)
    }

    /// 401 with the challenge that RFC 6750, section 3, asks for.
    public static func unauthorized(_ detail: String, error: String? = nil) -> Problem {
        let challenge = error.map { "Bearer error=\"\($0)\", error_description=\"\(detail)\"" } ?? "Bearer"
        return Problem(.unauthorized, error ?? "unauthorized", detail, headers: [.wwwAuthenticate: challenge])
    }

    private struct Document: Encodable {
        var type: String
        var title: String
        var status: Int
        var detail: String
        var instance: String
        var code: String
        var trace_id: String?
        var errors: [Field]?
    }

    /// The response that tells of it.
    func response(instance: String, traceID: String?) -> Response {
        let document = Document(
            type: "https://lantern.dev/problems/\(self.code)",
            title: self.status.reasonPhrase.isEmpty ? "Error" : self.status.reasonPhrase,
            status: self.status.code,
            detail: self.detail,
            instance: instance,
            code: self.code,
            trace_id: traceID,
            errors: self.fields.isEmpty ? nil : self.fields
        )
        var headers = self.headers
        headers[.contentType] = "application/problem+json"
        headers[.cacheControl] = "no-store"
        let body = (try? JSON.encoder().encode(document)) ?? Data()
        return Response(status: self.status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }
}
