import Foundation
import SwiftProtobuf

/// A span as a collector receives it. For development: `lantern up` keeps the last ones, `lantern demo` draws them.
public struct ReceivedSpan: Codable, Sendable, Equatable {
    public struct Link: Codable, Sendable, Equatable {
        public var traceID: String
        public var spanID: String
    }

    public var traceID: String
    public var spanID: String
    public var parentSpanID: String?
    public var name: String
    /// `internal`, `server`, `client`, `producer` or `consumer`.
    public var kind: String
    public var service: String
    /// Nanoseconds since the epoch.
    public var start: UInt64
    public var end: UInt64
    public var isError: Bool
    public var attributes: [String: String]
    public var links: [Link]
}

/// Reads what exporters post: OTLP/HTTP with binary protobuf.
public enum OTLPReceiver {
    /// - Throws: `BinaryDecodingError` where the body is no export request.
    public static func spans(in body: [UInt8]) throws -> [ReceivedSpan] {
        let request = try OTLPExportTraceServiceRequest(serializedBytes: body)
        return request.resourceSpans.flatMap { group -> [ReceivedSpan] in
            let service = group.resource.attributes.first { $0.key == "service.name" }?.value.stringValue ?? ""
            return group.scopeSpans.flatMap(\.spans).map { Self.span($0, service: service) }
        }
    }

    private static func span(_ span: OTLPSpan, service: String) -> ReceivedSpan {
        func hexadecimal(_ data: Data) -> String {
            data.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"]
        return ReceivedSpan(
            traceID: hexadecimal(span.traceID),
            spanID: hexadecimal(span.spanID),
            parentSpanID: span.parentSpanID.isEmpty ? nil : hexadecimal(span.parentSpanID),
            name: span.name,
            kind: kinds.indices.contains(Int(span.kind)) ? kinds[Int(span.kind)] : "unspecified",
            service: service,
            start: span.startTimeUnixNano,
            end: span.endTimeUnixNano,
            isError: span.status.code == 2,
            attributes: Dictionary(span.attributes.map { ($0.key, Self.text($0.value)) }, uniquingKeysWith: { $1 }),
            links: span.links.map { .init(traceID: hexadecimal($0.traceID), spanID: hexadecimal($0.spanID)) }
        )
    }

    private static func text(_ value: OTLPAnyValue) -> String {
        switch value.value {
        case .stringValue(let text): text
        case .boolValue(let flag): "\(flag)"
        case .intValue(let number): "\(number)"
        case .doubleValue(let number): "\(number)"
        case .arrayValue(let values): values.values.map(self.text).joined(separator: ", ")
        case nil: ""
        }
    }
}
