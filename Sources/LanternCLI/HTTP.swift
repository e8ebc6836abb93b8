import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// Small HTTP client of the command line.
enum HTTP {
    struct Answer {
        var status: Int
        var headers: HTTPHeaders
        var body: Data

        /// A member of the JSON body, by path: `answer["page", "next_cursor"]`.
        subscript(_ path: String...) -> Any? {
            var value: Any? = try? JSONSerialization.jsonObject(with: self.body, options: .fragmentsAllowed)
            for name in path { value = (value as? [String: Any])?[name] }
            return value is NSNull ? nil : value
        }
    }

    /// The status of a GET; `nil` where nobody answers.
    static func status(_ url: String) async -> Int? {
        let response = try? await HTTPClient.shared.execute(HTTPClientRequest(url: url), timeout: .seconds(3))
        return response.map { Int($0.status.code) }
    }

    /// - Throws: ``Failure`` where nobody answers.
    static func request(
        _ method: HTTPMethod, _ url: String, token: String? = nil, traceparent: String? = nil, json: Any? = nil
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: url)
        request.method = method
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        if let traceparent { request.headers.add(name: "traceparent", value: traceparent) }
        if let json {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: try JSONSerialization.data(withJSONObject: json)))
        }
        do {
            let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
            let body = try await response.body.collect(upTo: 32 << 20)
            return Answer(
                status: Int(response.status.code), headers: response.headers, body: Data(body.readableBytesView))
        } catch {
            throw Failure.wrong("\(url) does not answer: is the platform up?")
        }
    }
}
