import Foundation
import SwiftProtobuf
import Tracing

/// Spans as OTLP messages.
enum OTLPEncoding {
    /// The version of the semantic conventions that names and attributes follow.
    static let schemaURL = "https://opentelemetry.io/schemas/1.44.0"

    static func request(_ spans: [FinishedSpan], resource: [(String, String)]) -> OTLPExportTraceServiceRequest {
        .with { request in
            request.resourceSpans = [
                .with { group in
                    group.schemaURL = self.schemaURL
                    group.resource = .with { message in
                        message.attributes = resource.map { key, value in
                            .with {
                                $0.key = key
                                $0.value.stringValue = value
                            }
                        }
                    }
                    group.scopeSpans = [
                        .with { scope in
                            scope.scope.name = "lantern"
                            scope.schemaURL = self.schemaURL
                            scope.spans = spans.map(self.span)
                        }
                    ]
                }
            ]
        }
    }

    private static func span(_ span: FinishedSpan) -> OTLPSpan {
        .with { message in
            message.traceID = Data(span.context.traceID.bytes)
            message.spanID = Data(span.context.spanID.bytes)
            message.traceState = span.context.traceState
            message.name = span.name
            message.kind = self.kind(span.kind)
            message.startTimeUnixNano = span.start
            message.endTimeUnixNano = span.end
            message.flags = UInt32(span.context.flags)
            if let parent = span.parent {
                message.parentSpanID = Data(parent.spanID.bytes)
                message.flags |= parent.isRemote ? 0x300 : 0x100
            }
            (message.attributes, message.droppedAttributesCount) = self.attributes(span.attributes, limits: span.limits)
            message.events = span.events.map { event in
                .with {
                    $0.name = event.name
                    $0.timeUnixNano = event.nanosecondsSinceEpoch
                    ($0.attributes, $0.droppedAttributesCount) = self.attributes(event.attributes, limits: span.limits)
                }
            }
            message.droppedEventsCount = UInt32(clamping: span.droppedEvents)
            message.links = span.links.compactMap { link in
                link.context.spanContext.map { context in
                    .with {
                        $0.traceID = Data(context.traceID.bytes)
                        $0.spanID = Data(context.spanID.bytes)
                        $0.traceState = context.traceState
                        $0.flags = UInt32(context.flags) | (context.isRemote ? 0x300 : 0x100)
                        ($0.attributes, $0.droppedAttributesCount) = self.attributes(
                            link.attributes, limits: span.limits
                        )
                    }
                }
            }
            message.droppedLinksCount = UInt32(clamping: span.droppedLinks)
            if let status = span.status {
                message.status.code = status.code == .ok ? 1 : 2
                message.status.message = status.message ?? ""
            }
        }
    }

    private static func kind(_ kind: SpanKind) -> Int32 {
        switch kind {
        case .internal: 1
        case .server: 2
        case .client: 3
        case .producer: 4
        case .consumer: 5
        }
    }

    private static func attributes(_ attributes: SpanAttributes, limits: SpanLimits) -> ([OTLPKeyValue], UInt32) {
        var encoded: [OTLPKeyValue] = []
        var dropped: UInt32 = 0
        attributes.forEach { key, attribute in
            guard encoded.count < limits.attributes, let value = self.value(attribute, limits: limits) else {
                dropped += 1
                return
            }
            encoded.append(
                .with {
                    $0.key = key
                    $0.value = value
                }
            )
        }
        return (encoded, dropped)
    }

    private static func value(_ attribute: SpanAttribute, limits: SpanLimits) -> OTLPAnyValue? {
        func string(_ text: String) -> OTLPAnyValue {
            .with { $0.stringValue = limits.attributeLength.map { String(text.prefix($0)) } ?? text }
        }
        func array(_ values: [OTLPAnyValue]) -> OTLPAnyValue { .with { $0.arrayValue.values = values } }
        switch attribute {
        case .int32(let value): return .with { $0.intValue = Int64(value) }
        case .int64(let value): return .with { $0.intValue = value }
        case .double(let value): return .with { $0.doubleValue = value }
        case .bool(let value): return .with { $0.boolValue = value }
        case .string(let value): return string(value)
        case .stringConvertible(let value): return string(value.description)
        case .int32Array(let values): return array(values.map { value in .with { $0.intValue = Int64(value) } })
        case .int64Array(let values): return array(values.map { value in .with { $0.intValue = value } })
        case .doubleArray(let values): return array(values.map { value in .with { $0.doubleValue = value } })
        case .boolArray(let values): return array(values.map { value in .with { $0.boolValue = value } })
        case .stringArray(let values): return array(values.map(string))
        case .stringConvertibleArray(let values): return array(values.map { string($0.description) })
        default: return nil
        }
    }
}
