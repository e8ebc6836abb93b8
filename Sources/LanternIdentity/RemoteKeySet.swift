public import AsyncHTTPClient
import CoreMetrics
import Foundation
import NIOCore
import NIOHTTP1
public import JWTKit
public import Logging
import Synchronization

/// A JWKS (RFC 7517) fetched over HTTP and cached: verification goes on while its server is down.
///
/// It is fetched again when it is old, and when a token names a key that is not in it, but for the latter at most once
/// each ten seconds, so that forged key ids cannot make a flood of requests. Callers that need the same fetch share it.
public final class RemoteKeySet: KeySource {
    private struct State {
        var keys: [String: JWK] = [:]
        var fetchedAt: ContinuousClock.Instant?
        var attemptedAt: ContinuousClock.Instant?
        var running: Task<Bool, Never>?
    }

    private static let maximumAge: Duration = .seconds(300)
    private static let minimumInterval: Duration = .seconds(10)
    private static let retryInterval: Duration = .seconds(1)

    private let url: String
    private let client: HTTPClient
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameter client: Used, never shut down, by this set.
    public init(url: String, client: HTTPClient, logger: Logger) {
        self.url = url
        self.client = client
        self.logger = logger
    }

    /// Seconds since the last successful fetch; `nil` before the first.
    public var age: Duration? {
        self.state.withLock { $0.fetchedAt.map { $0.duration(to: .now) } }
    }

    public func key(_ id: String) async throws(TokenError) -> JWK? {
        let now = ContinuousClock.now
        let (cached, fresh, known, allowed) = self.state.withLock { state in
            let since = state.attemptedAt.map { now - $0 }
            return (
                state.keys[id],
                state.fetchedAt.map { now - $0 < Self.maximumAge } ?? false,
                state.fetchedAt != nil,
                since.map { $0 >= (state.fetchedAt == nil ? Self.retryInterval : Self.minimumInterval) } ?? true
                    || state.running != nil
            )
        }
        if let cached, fresh || !allowed { return cached }
        if allowed { _ = await self.refresh() }
        let (key, fetched) = self.state.withLock { ($0.keys[id], $0.fetchedAt != nil) }
        if let key { return key }
        guard known || fetched else {
            throw TokenError(code: .keysUnavailable, message: "the key set could not be fetched")
        }
        return nil
    }

    /// As the OpenTelemetry conventions for HTTP clients name it.
    /// - Parameters:
    ///   - status: Empty where there was no answer.
    ///   - error: Empty where there was none.
    private func record(status: String, error: String, since start: ContinuousClock.Instant) {
        let (seconds, attoseconds) = start.duration(to: .now).components
        let address = URL(string: self.url)?.host ?? ""
        CoreMetrics.Timer(
            label: "http_client_request_duration_seconds",
            dimensions: [
                ("http_request_method", "GET"), ("server_address", address), ("http_response_status_code", status),
                ("error_type", error),
            ]
        ).recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }

    /// Fetches now, unless a fetch is under way, and then waits for that.
    @discardableResult
    public func refresh() async -> Bool {
        let task = self.state.withLock { state -> Task<Bool, Never> in
            if let running = state.running { return running }
            state.attemptedAt = .now
            let task = Task { await self.fetch() }
            state.running = task
            return task
        }
        return await task.value
    }

    private func fetch() async -> Bool {
        let start = ContinuousClock.now
        var keys: [String: JWK]?
        var (status, failure) = ("", "")
        defer { self.record(status: status, error: failure, since: start) }
        do {
            var request = HTTPClientRequest(url: self.url)
            request.headers.add(name: "accept", value: "application/jwk-set+json, application/json")
            let response = try await self.client.execute(request, timeout: .seconds(5))
            let body = try await response.body.collect(upTo: 1 << 20)
            status = "\(response.status.code)"
            if response.status.code >= 400 { failure = status }
            if response.status == .ok {
                let set = try JSONDecoder().decode(JWKS.self, from: Data(body.readableBytesView))
                keys = Dictionary(
                    set.keys.compactMap { key in key.keyIdentifier.map { ($0.string, key) } }, uniquingKeysWith: { $1 }
                )
            } else {
                self.logger.warning("key set not fetched", metadata: ["status": "\(response.status.code)"])
            }
        } catch {
            // An answer that is no key set is an answer all the same.
            if status.isEmpty { failure = FetchFailure(error).rawValue }
            self.logger.warning("key set not fetched", error: error)
        }
        let fetched = keys
        self.state.withLock { state in
            state.running = nil
            if let fetched {
                state.keys = fetched
                state.fetchedAt = .now
            }
        }
        return fetched != nil
    }
}
