public import Foundation
public import HTTPTypes
public import Hummingbird
import LanternJSON
import NIOCore

/// JSON in and out, the same everywhere.
public enum JSON {
    /// Members in a stable order, slashes as they are.
    public static func encoder() -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    /// A response with `value` as its body.
    public static func response(
        _ value: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) throws -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(
            status: status, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try self.encoder().encode(value)))
        )
    }
}

/// Any JSON value, so that a whole body can be checked before any of it is believed.
public enum JSONValue: Decodable, Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])
    /// A number that neither `Int64` nor `Double` can hold.
    case unrepresentable

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        // A failed attempt costs an allocation: the commonest first.
        if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([String: JSONValue].self) {
            self = .object(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if container.decodeNil() {
            self = .null
        } else {
            self = .unrepresentable
        }
    }

    /// Reads a whole document.
    /// - Throws: ``Problem`` 400 `malformed_json`, with the position where it is known.
    public static func parse(_ bytes: some Sequence<UInt8>) throws(Problem) -> JSONValue {
        let bytes = Array(bytes)
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw Problem(.badRequest, "malformed_json", "The body is not valid UTF-8.")
        }
        func malformed(_ fault: String) -> Problem {
            Problem(.badRequest, "malformed_json", "The body is not valid JSON: \(fault).")
        }
        do {
            try JSONSyntax.check(bytes)
        } catch {
            throw malformed("\(error.message) (line \(error.line), column \(error.column))")
        }
        do {
            return try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
        } catch {
            throw malformed("it cannot be read")
        }
    }
}

extension Request {
    /// The body as JSON.
    /// - Throws: ``Problem``: 415 where it is declared as something else, 413 where it is too large, 400 where it is
    ///   malformed.
    public func json(_ context: PlatformContext) async throws -> JSONValue {
        if let type = self.headers[.contentType] {
            let media = type.prefix { $0 != ";" }.trimmingCharacters(in: .whitespaces).lowercased()
            guard media == "application/json" || (media.hasPrefix("application/") && media.hasSuffix("+json")) else {
                throw Problem(
                    .unsupportedMediaType, "unsupported_media_type",
                    "The body has media type \(media), expected application/json.",
                    headers: [.accept: "application/json"]
                )
            }
        }
        let body = try await self.body.collect(upTo: context.maxUploadSize)
        guard body.readableBytes > 0 else {
            throw Problem(
                .badRequest, "malformed_json", "The body is empty, expected a JSON object (line 1, column 1).")
        }
        return try JSONValue.parse(body.readableBytesView)
    }

    /// The body as a JSON object whose members can be read and checked.
    public func fields(_ context: PlatformContext) async throws -> RequestFields {
        let value = try await self.json(context)
        guard case .object(let members) = value else {
            throw Problem.invalid([Problem.Field("", "must be a JSON object")])
        }
        return RequestFields(members)
    }
    /// As ``fields(_:)``; a request without a body has no members.
    public func fieldsOrNone(_ context: PlatformContext) async throws -> RequestFields {
        let length = self.headers[.contentLength]
        if length == nil || length == "0", self.headers[.transferEncoding] == nil { return RequestFields([:]) }
        return try await self.fields(context)
    }
}
