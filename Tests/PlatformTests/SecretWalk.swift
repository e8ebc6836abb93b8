import AsyncHTTPClient
import Foundation
import Lantern
import NIOCore
import NIOHTTP1
import Synchronization

/// Sends requests that carry marked secrets wherever clients put secrets, and keeps what was answered.
final class SecretWalk: Sendable {
    /// What was answered to one request.
    struct Answered: Sendable {
        var route: ServiceRoute
        var title: String
        var status: Int
        var headers: [String]
        var body: String
        /// Secrets that the answer was asked for.
        var owned: Set<String> = []

        var json: [String: Any] {
            (try? JSONSerialization.jsonObject(with: Data(self.body.utf8))) as? [String: Any] ?? [:]
        }

        func header(_ name: String) -> String? {
            self.headers.first { $0.lowercased().hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) }
        }

        /// What the answer gave away to whoever asked: `instance` of a problem may repeat the path.
        var places: [Place] {
            let owner = "the answer \(self.status) to \(self.route) (\(self.title))"
            let json = self.json
            let members =
                json.isEmpty ? [(path: "the body", text: self.body)] : SecretPlaces.texts(json, "")
            return self.headers.map { Place(name: "a header of \(owner)", text: $0, owned: self.owned) }
                + members.map { path, text in
                    let tolerates: Canary.Tolerance? = path == "instance" ? .path : nil
                    return Place(name: "\(path) of \(owner)", text: text, tolerates: tolerates, owned: self.owned)
                }
        }
    }

    enum Body: Sendable {
        case none
        /// Names of secrets in brackets become marked ones: `{"password":"[password]"}`.
        case json(String)
        /// As ``json(_:)``, with another media type.
        case other(String, type: String)
    }

    let platform: TestPlatform
    let canaries: Canaries
    private let kept = Mutex<[Answered]>([])

    /// Traces nothing, as that of `TestPlatform`.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.tracing.tracer = nil
        return HTTPClient(configuration: configuration)
    }()

    init(_ platform: TestPlatform, _ canaries: Canaries) {
        self.platform = platform
        self.canaries = canaries
    }

    var answers: [Answered] { self.kept.withLock { $0 } }

    func service(_ name: String) throws -> TestPlatform.Running {
        guard let service = self.platform.services.first(where: { $0.host.name == name }) else {
            throw HTTPClientError.invalidURL
        }
        return service
    }

    /// A text in which the names in brackets have become marked secrets.
    private func planted(_ text: String, _ origin: String) -> String {
        text.split(separator: "[", omittingEmptySubsequences: false).enumerated().map { index, part in
            // What is no name is JSON's own bracket.
            guard index > 0, let end = part.firstIndex(of: "]"), part[..<end].allSatisfy({ $0.isLetter || $0 == "_" }),
                !part[..<end].isEmpty
            else { return (index > 0 ? "[" : "") + part }
            return self.canaries.plant("\(part[..<end]) in \(origin)") + part[part.index(after: end)...]
        }.joined()
    }

    /// What every request carries: secrets in fields that are there for them, and in those that are malformed.
    private func fields(_ origin: String, isEven: Bool) -> [(String, String)] {
        func secret(_ name: String, _ tolerance: Canary.Tolerance = .nowhere) -> String {
            self.canaries.plant("\(name) of \(origin)", tolerance)
        }
        let basic = Data("user:\(secret("Proxy-Authorization"))".utf8).base64EncodedString()
        let trace =
            isEven
            // A malformed context is not believed, neither is the tracestate beside it; and a malformed tracestate alone.
            ? [
                ("traceparent", "00-\(secret("a malformed traceparent"))-00f067aa0ba902b7-01"),
                ("tracestate", "vendor=\(secret("the tracestate of a malformed traceparent"))"),
            ]
            : [
                ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                ("tracestate", "vendor=ok,\(secret("a malformed tracestate"))"),
            ]
        return trace + [
            ("baggage", "session=\(secret("baggage")),\(secret("malformed baggage"));;"),
            ("b3", secret("a malformed b3")),
            ("cookie", "session=\(secret("a session cookie")); token=\(secret("a token cookie"))"),
            ("user-agent", "Mozilla/5.0 (\(secret("User-Agent", .userAgent)))"),
            ("proxy-authorization", "Basic \(basic)"),
            ("x-api-key", secret("X-API-Key")),
            ("x-forwarded-for", secret("a malformed X-Forwarded-For")),
            ("referer", "https://example.com/callback?code=\(secret("Referer"))"),
        ]
    }

    /// Sends one request, with secrets in its query and its fields beside those that are said here.
    /// - Parameters:
    ///   - title: Tells this request from others for the same route.
    ///   - path: The path, where it is not the route's own.
    @discardableResult
    func send(
        _ route: ServiceRoute, _ title: String, path: String? = nil, method: String? = nil, query: String = "",
        authorization: String? = nil, fields: [(String, String)] = [], body: Body = .none
    ) async throws -> Answered {
        let origin = "\(route) (\(title))"
        // A list of dead letters reads `state`, and refuses one that it does not know.
        let state = route.path == "/v1/dead-letters" ? [] : ["state"]
        let secrets = (["token", "secret", "code", "password", "access_token", "client_secret"] + state).map {
            "\($0)=\(self.canaries.plant("\($0) in the query of \(origin)"))"
        }
        let target = "\(path ?? route.path)?\((secrets + (query.isEmpty ? [] : [query])).joined(separator: "&"))"
        var request = HTTPClientRequest(url: try self.service(route.service).url + target)
        request.method = HTTPMethod(rawValue: method ?? route.method)
        let isEven = self.kept.withLock { $0.count % 2 == 0 }
        for (name, value) in self.fields(origin, isEven: isEven) { request.headers.add(name: name, value: value) }
        if request.method == .POST, !fields.contains(where: { $0.0 == "idempotency-key" }) {
            request.headers.add(name: "idempotency-key", value: self.canaries.plant("Idempotency-Key of \(origin)"))
        }
        if let authorization { request.headers.add(name: "authorization", value: authorization) }
        for (name, value) in fields { request.headers.replaceOrAdd(name: name, value: value) }
        switch body {
        case .none: break
        case .json(let text):
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: self.planted(text, "the body of \(origin)")))
        case .other(let text, let type):
            request.headers.add(name: "content-type", value: type)
            request.body = .bytes(ByteBuffer(string: self.planted(text, "the body of \(origin)")))
        }
        let response = try await Self.client.execute(request, timeout: .seconds(30))
        let bytes = try await response.body.collect(upTo: 16 << 20)
        return self.keep(
            Answered(
                route: route, title: title, status: Int(response.status.code),
                headers: response.headers.map { "\($0.name): \($0.value)" },
                body: String(decoding: bytes.readableBytesView, as: UTF8.self)
            )
        )
    }

    /// Sends a request byte by byte, but for the secrets in brackets.
    @discardableResult
    func sendRaw(_ route: ServiceRoute, _ title: String, _ request: String) async throws -> Answered {
        let text = try await RawExchange.send(
            self.planted(request, "\(route) (\(title))"), port: try self.service(route.service).port)
        let end = text.range(of: "\r\n\r\n")
        let head = text[..<(end?.lowerBound ?? text.endIndex)].components(separatedBy: "\r\n")
        return self.keep(
            Answered(
                route: route, title: title, status: Int(head[0].split(separator: " ").dropFirst().first ?? "") ?? 0,
                headers: Array(head.dropFirst()), body: String(text[(end?.upperBound ?? text.endIndex)...])
            )
        )
    }

    private func keep(_ answered: Answered) -> Answered {
        var answered = answered
        // The tokens that it was asked for are secrets from now on, for everybody else.
        for name in ["access_token", "refresh_token"] {
            guard let token = answered.json[name] as? String else { continue }
            answered.owned.formUnion(self.canaries.watch(token: token, "the \(name) of \(answered.title)"))
        }
        self.kept.withLock { $0.append(answered) }
        return answered
    }

    /// What a plain request gives, of somebody who sent no secret: nothing may be in it.
    func read(
        _ url: String, as reader: String, token: String?, accept: String = "application/json"
    ) async throws -> [Place] {
        var request = HTTPClientRequest(url: url)
        request.headers.add(name: "accept", value: accept)
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        let response = try await Self.client.execute(request, timeout: .seconds(30))
        let body = String(decoding: try await response.body.collect(upTo: 64 << 20).readableBytesView, as: UTF8.self)
        let name = "\(url) as \(accept) for \(reader)"
        return [Place(name: "the body of \(name)", text: body)]
            + response.headers.map { Place(name: "a header of \(name)", text: "\($0.name): \($0.value)") }
    }
}
