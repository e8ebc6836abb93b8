public import AsyncHTTPClient
import CZlib
import Foundation
import Glibc
import NIOCore
import NIOHTTP1
import SwiftProtobuf
import Tracing

/// Posts spans to an OpenTelemetry collector: OTLP over HTTP with binary protobuf (OTLP 1.x, `/v1/traces`).
public struct OTLPExporter: SpanExporter {
    /// Where and how to post.
    public struct Endpoint: Sendable {
        /// The whole URL, path included.
        public var url: String
        public var headers: [(name: String, value: String)]
        /// Of one attempt, with the whole answer.
        public var timeout: Duration
        public var gzip: Bool
        /// Whether the URL is one of HTTP, with a host, and a port that there is: the client ends the process where it is not.
        public var isValid: Bool {
            guard let parts = URLComponents(string: self.url), let host = parts.host else { return false }
            return ["http", "https"].contains(parts.scheme?.lowercased()) && !host.isEmpty
                && (parts.port.map { (1...65_535).contains($0) } ?? true)
        }
        /// Whether the headers are those that HTTP can carry (RFC 9110, section 5.5): no control characters, names are tokens.
        public var hasValidHeaders: Bool {
            self.headers.allSatisfy { name, value in
                !name.isEmpty
                    && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"\"(),/:;<=>?@[\\]{}".utf8.contains($0) }
                    && value.utf8.allSatisfy { $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7F) }
            }
        }
        /// Bytes of a request before it is compressed; what does not fit goes into the next one.
        public var largestRequest = 4 << 20

        public init(
            url: String, headers: [(name: String, value: String)] = [], timeout: Duration = .seconds(10),
            gzip: Bool = false
        ) {
            self.url = url
            self.headers = headers
            self.timeout = timeout
            self.gzip = gzip
        }
    }

    private let endpoint: Endpoint
    private let resource: [(String, String)]
    private let client: HTTPClient

    /// - Parameters:
    ///   - resource: Attributes of the process, `service.name` among them.
    ///   - client: Used, never shut down, by this exporter. Its tracer must be `nil`, or each export makes a span to export.
    ///     It should not try connections again by itself (`retryConnectionEstablishment`), or a receiver that is away is known
    ///     to be only when an attempt's time is over.
    public init(endpoint: Endpoint, resource: [(String, String)], client: HTTPClient) {
        self.endpoint = endpoint
        self.resource = resource
        self.client = client
    }

    public func export(_ spans: ArraySlice<FinishedSpan>) async throws(SpanExportError) -> SpanExportResult {
        guard self.endpoint.isValid, self.endpoint.hasValidHeaders else {
            throw SpanExportError(.unreachable, "the collector's URL or a header for it is none", isRetryable: false)
        }
        var encoder = OTLPEncoder(resource: self.resource)
        let (body, count) = encoder.encode(spans, limit: self.endpoint.largestRequest)
        var request = HTTPClientRequest(url: self.endpoint.url)
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/x-protobuf")
        request.headers.add(name: "user-agent", value: "OTel-OTLP-Exporter-Lantern")
        for header in self.endpoint.headers { request.headers.replaceOrAdd(name: header.name, value: header.value) }
        if self.endpoint.gzip {
            request.headers.replaceOrAdd(name: "content-encoding", value: "gzip")
            request.body = .bytes(ByteBuffer(bytes: Self.compress(body)))
        } else {
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        let answer = try await self.post(request)
        guard (200..<300).contains(answer.status) else {
            throw SpanExportError(
                .refused, "collector answered \(answer.status)",
                isRetryable: [429, 502, 503, 504].contains(answer.status),
                retryAfter: answer.retryAfter.flatMap(Self.pause)
            )
        }
        // A 2xx with something else than the answer's message has taken the spans all the same.
        let message = try? OTLPExportTraceServiceResponse(serializedBytes: answer.body)
        let rejected = message?.partialSuccess.rejectedSpans ?? 0
        return SpanExportResult(
            sent: count, rejected: Int(min(max(rejected, 0), Int64(count))),
            message: message?.partialSuccess.errorMessage ?? ""
        )
    }

    private struct Answer {
        var status: Int
        var retryAfter: String?
        var body: [UInt8]
    }

    /// One attempt, its answer included, within the endpoint's time limit.
    private func post(_ request: HTTPClientRequest) async throws(SpanExportError) -> Answer {
        let client = self.client
        let late = SpanExportError(
            .unreachable, "collector did not answer in \(self.endpoint.timeout)", isRetryable: true
        )
        let deadline = ContinuousClock.now + self.endpoint.timeout
        do {
            let response = try await Self.before(deadline, late) {
                try await client.execute(request, deadline: .distantFuture)
            }
            let status = Int(response.status.code)
            // A success is one, however its words end, or if they do; where it refuses, its words are not needed. Nothing that
            // a collector says is long.
            let body =
                (200..<300).contains(status)
                ? try? await Self.before(deadline, late) { try await response.body.collect(upTo: 1 << 16) } : nil
            return Answer(
                status: status, retryAfter: response.headers.first(name: "retry-after"),
                body: body.map { Array($0.readableBytesView) } ?? []
            )
        } catch let error as SpanExportError {
            throw error
        } catch let error as HTTPClientError where error == .invalidURL || error == .emptyHost || error == .emptyScheme
        {
            throw SpanExportError(.unreachable, "the collector's URL is none", isRetryable: false)
        } catch {
            // The type says what is wrong; the text may show headers or the address.
            throw SpanExportError(
                .unreachable, "collector cannot be reached (\(String(reflecting: type(of: error))))", isRetryable: true
            )
        }
    }

    private static func before<Value: Sendable>(
        _ deadline: ContinuousClock.Instant, _ late: SpanExportError,
        _ work: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await work() }
            group.addTask {
                try await Task.sleep(until: deadline)
                return nil
            }
            defer { group.cancelAll() }
            guard let value = try await group.next() ?? nil else { throw late }
            return value
        }
    }

    /// `Retry-After`: seconds, or a date as HTTP writes it (RFC 9110, section 10.2.3).
    static func pause(_ text: String) -> Duration? {
        let trimmed = text.trimmingSpaces()
        if trimmed.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            return Int64(trimmed).map { .seconds(min($0, 86_400)) }
        }
        return self.date(text).map { .seconds(min(max(0, $0 - time(nil)), 86_400)) }
    }

    /// Seconds since the epoch, of the three forms that HTTP dates have (RFC 9110, section 5.6.7):
    /// `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
    private static func date(_ text: String) -> Int? {
        var parts = text.split { " ,:-".contains($0) }.map { String($0) }
        if parts.count == 7 {
            // The year stands at the end, the day behind the month.
            parts = [parts[0], parts[2], parts[1], parts[6], parts[3], parts[4], parts[5], "GMT"]
        }
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard parts.count == 8, parts[7] == "GMT", let month = months.firstIndex(of: parts[2]) else { return nil }
        func number(_ index: Int, _ range: ClosedRange<Int32>) -> Int32? {
            guard parts[index].utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            return Int32(parts[index]).flatMap { range.contains($0) ? $0 : nil }
        }
        guard let day = number(1, 1...31), var year = number(3, 0...9_999), let hour = number(4, 0...23),
            let minute = number(5, 0...59), let second = number(6, 0...60)
        else { return nil }
        if parts[3].utf8.count == 2 {
            var now = tm()
            var seconds = time(nil)
            gmtime_r(&seconds, &now)
            year += (now.tm_year + 1_900) / 100 * 100
            // Two digits that seem to be more than 50 years ahead are those of the last century.
            if year > now.tm_year + 1_950 { year -= 100 }
        }
        guard year >= 1_970 else { return 0 }
        var date = tm()
        (date.tm_mday, date.tm_mon, date.tm_year) = (day, Int32(month), year - 1_900)
        (date.tm_hour, date.tm_min, date.tm_sec) = (hour, minute, second)
        return timegm(&date)
    }

    private static func compress(_ bytes: [UInt8]) -> [UInt8] {
        let bound = lantern_gzip_bound(bytes.count)
        return [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            count = bytes.withUnsafeBufferPointer { input in
                lantern_gzip(input.baseAddress, input.count, output.baseAddress, bound, 5)
            }
        }
    }
}

extension String {
    fileprivate func trimmingSpaces() -> Substring { self[...].trimmingSpaces() }
}
