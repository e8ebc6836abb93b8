public import AsyncHTTPClient
import CZlib
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
    public init(endpoint: Endpoint, resource: [(String, String)], client: HTTPClient) {
        self.endpoint = endpoint
        self.resource = resource
        self.client = client
    }

    public func export(_ spans: ArraySlice<FinishedSpan>) async throws(SpanExportError) -> SpanExportResult {
        var encoder = OTLPEncoder(resource: self.resource)
        let (body, count) = encoder.encode(spans, limit: self.endpoint.largestRequest)
        var request = HTTPClientRequest(url: self.endpoint.url)
        request.method = .POST
        request.headers.add(name: "content-type", value: "application/x-protobuf")
        request.headers.add(name: "user-agent", value: "OTel-OTLP-Exporter-Lantern")
        for header in self.endpoint.headers { request.headers.replaceOrAdd(name: header.name, value: header.value) }
        if self.endpoint.gzip {
            request.headers.add(name: "content-encoding", value: "gzip")
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
        let timeout = self.endpoint.timeout
        let client = self.client
        do {
            return try await withThrowingTaskGroup(of: Answer?.self) { group in
                group.addTask {
                    let response = try await client.execute(request, deadline: .distantFuture)
                    let isFine = (200..<300).contains(response.status.code)
                    // Nothing that a collector says is long. Where it refuses, its words are not needed.
                    let body = isFine ? try await response.body.collect(upTo: 1 << 16) : ByteBuffer()
                    return Answer(
                        status: Int(response.status.code), retryAfter: response.headers.first(name: "retry-after"),
                        body: Array(body.readableBytesView)
                    )
                }
                group.addTask {
                    try await Task.sleep(for: timeout)
                    return nil
                }
                defer { group.cancelAll() }
                guard let answer = try await group.next() ?? nil else {
                    throw SpanExportError(.unreachable, "collector did not answer in \(timeout)", isRetryable: true)
                }
                return answer
            }
        } catch let error as SpanExportError {
            throw error
        } catch let error as HTTPClientError where error == .invalidURL || error == .emptyHost || error == .emptyScheme {
            throw SpanExportError(.unreachable, "the collector's URL is none", isRetryable: false)
        } catch {
            // The type says what is wrong; the text may show headers or the address.
            throw SpanExportError(
                .unreachable, "collector cannot be reached (\(String(reflecting: type(of: error))))", isRetryable: true
            )
        }
    }

    /// `Retry-After`: seconds, or a date as HTTP writes it (RFC 9110, section 10.2.3).
    static func pause(_ text: String) -> Duration? {
        let trimmed = text.trimmingSpaces()
        if trimmed.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            return Int64(trimmed).map { .seconds(min($0, 86_400)) }
        }
        // Sun, 06 Nov 1994 08:49:37 GMT
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let parts = text.split { $0 == " " || $0 == ":" || $0 == "," }
        guard parts.count == 8, let month = months.firstIndex(of: String(parts[2])) else { return nil }
        let numbers = [parts[1], parts[3], parts[4], parts[5], parts[6]].map { Int32($0) }
        guard let day = numbers[0], let year = numbers[1], let hour = numbers[2], let minute = numbers[3],
            let second = numbers[4], (1_970...9_999).contains(year), parts.last == "GMT"
        else { return nil }
        var date = tm()
        (date.tm_mday, date.tm_mon, date.tm_year) = (day, Int32(month), year - 1_900)
        (date.tm_hour, date.tm_min, date.tm_sec) = (hour, minute, second)
        return .seconds(min(max(0, timegm(&date) - time(nil)), 86_400))
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
