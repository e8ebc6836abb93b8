import Tracing

/// Writes spans as one `ExportTraceServiceRequest` (opentelemetry-proto, trace/v1), field by field: by way of generated types
/// each attribute would be several objects.
struct OTLPEncoder {
    /// The version of the semantic conventions that names and attributes follow.
    static let schemaURL = "https://opentelemetry.io/schemas/1.44.0"

    private var message = OTLPMessage()
    private let resource: [(String, String)]

    init(resource: [(String, String)]) {
        self.resource = resource
    }

    /// - Parameter limit: Bytes that the request should not exceed; the first span is always in it.
    /// - Returns: The request, and how many of the spans are in it.
    mutating func encode(_ spans: ArraySlice<FinishedSpan>, limit: Int = .max) -> (body: [UInt8], count: Int) {
        self.message = OTLPMessage()
        var count = 0
        self.message.nested(1) { group in
            group.nested(1) { resource in
                for (key, value) in self.resource { Self.attribute(1, key, .string(value), nil, &resource) }
            }
            group.nested(2) { scope in
                scope.nested(1) { $0.text(1, "lantern") }
                for span in spans {
                    let start = scope.bytes.count
                    scope.nested(2) { Self.span(span, &$0) }
                    // The lengths in front and what stands behind are some hundred bytes.
                    if count > 0, scope.bytes.count > limit - 512 {
                        scope.cut(to: start)
                        break
                    }
                    count += 1
                }
                scope.text(3, Self.schemaURL)
            }
            group.text(3, Self.schemaURL)
        }
        return (self.message.take(), count)
    }

    private static func span(_ span: FinishedSpan, _ message: inout OTLPMessage) {
        let state = span.state
        let context = span.context
        message.traceID(1, context.traceID)
        message.spanID(2, context.spanID)
        message.text(3, context.traceState)
        if let parent = span.parent { message.spanID(4, parent.spanID) }
        message.text(5, state.name)
        message.number(6, self.kind(span.kind))
        message.fixed64(7, span.start)
        message.fixed64(8, state.end)
        var dropped = self.attributes(9, state.attributes, limit: span.limits.attributes, span.limits, &message)
        if span.isTailKept { self.attribute(9, "lantern.tail_kept", .bool(true), nil, &message) }
        dropped += state.droppedAttributes
        message.number(10, UInt64(clamping: dropped))
        for event in state.events {
            message.nested(11) { message in
                message.fixed64(1, event.nanosecondsSinceEpoch)
                message.text(2, event.name)
                let dropped = self.attributes(
                    3, event.attributes, limit: span.limits.attributesPerEvent, span.limits, &message
                )
                message.number(4, UInt64(clamping: dropped))
            }
        }
        message.number(12, UInt64(clamping: state.droppedEvents))
        for link in state.links {
            guard let context = link.context.spanContext else { continue }
            message.nested(13) { message in
                message.traceID(1, context.traceID)
                message.spanID(2, context.spanID)
                message.text(3, context.traceState)
                let dropped = self.attributes(
                    4, link.attributes, limit: span.limits.attributesPerLink, span.limits, &message
                )
                message.number(5, UInt64(clamping: dropped))
                message.fixed32(6, self.flags(context, isRemote: context.isRemote))
            }
        }
        message.number(14, UInt64(clamping: state.droppedLinks))
        if let status = state.status {
            message.nested(15) { message in
                // Only an error has a description ("Set Status").
                if status.code == .error { message.text(2, status.message ?? "") }
                message.number(3, status.code == .ok ? 1 : 2)
            }
        }
        // Without a parent nothing is said of whether that is remote.
        message.fixed32(16, span.parent.map { self.flags(context, isRemote: $0.isRemote) } ?? UInt32(context.flags))
    }

    /// The W3C flags, bit 8 to say that bit 9 is set, and bit 9 where the other one is remote.
    private static func flags(_ context: SpanContext, isRemote: Bool) -> UInt32 {
        UInt32(context.flags) | (isRemote ? 0x300 : 0x100)
    }

    private static func kind(_ kind: SpanKind) -> UInt64 {
        switch kind {
        case .internal: 1
        case .server: 2
        case .client: 3
        case .producer: 4
        case .consumer: 5
        }
    }

    /// Answers how many were left out.
    private static func attributes(
        _ field: Int, _ attributes: SpanAttributes, limit: Int, _ limits: SpanLimits, _ message: inout OTLPMessage
    ) -> Int {
        var count = 0
        var dropped = 0
        attributes.forEach { key, attribute in
            guard count < limit, self.attribute(field, key, attribute, limits.attributeLength, &message) else {
                dropped += 1
                return
            }
            count += 1
        }
        return dropped
    }

    @discardableResult
    private static func attribute(
        _ field: Int, _ key: String, _ attribute: SpanAttribute, _ length: Int?, _ message: inout OTLPMessage
    ) -> Bool {
        let start = message.bytes.count
        var isKnown = true
        message.nested(field) { message in
            message.text(1, key)
            message.nested(2) { isKnown = self.value(attribute, length, &$0) }
        }
        if !isKnown { message.cut(to: start) }
        return isKnown
    }

    /// An `AnyValue`; `false` for a kind of attribute that is not known.
    private static func value(_ attribute: SpanAttribute, _ length: Int?, _ message: inout OTLPMessage) -> Bool {
        func string(_ text: String, _ message: inout OTLPMessage) {
            guard let length, text.utf8.count > length else { return message.text(1, text, isAlways: true) }
            // Characters are code points ("Attribute Limits"): what people see as one may be any number of them.
            message.text(1, String(String.UnicodeScalarView(text.unicodeScalars.prefix(length))), isAlways: true)
        }
        func array<Value>(_ values: [Value], _ write: (Value, inout OTLPMessage) -> Void) {
            message.nested(5) { list in
                for value in values { list.nested(1) { write(value, &$0) } }
            }
        }
        switch attribute {
        case .int32(let value): message.number(3, UInt64(bitPattern: Int64(value)), isAlways: true)
        case .int64(let value): message.number(3, UInt64(bitPattern: value), isAlways: true)
        case .double(let value): message.fixed64(4, value.bitPattern)
        case .bool(let value): message.number(2, value ? 1 : 0, isAlways: true)
        case .string(let value): string(value, &message)
        case .stringConvertible(let value): string(value.description, &message)
        case .int32Array(let values): array(values) { $1.number(3, UInt64(bitPattern: Int64($0)), isAlways: true) }
        case .int64Array(let values): array(values) { $1.number(3, UInt64(bitPattern: $0), isAlways: true) }
        case .doubleArray(let values): array(values) { $1.fixed64(4, $0.bitPattern) }
        case .boolArray(let values): array(values) { $1.number(2, $0 ? 1 : 0, isAlways: true) }
        case .stringArray(let values): array(values) { string($0, &$1) }
        case .stringConvertibleArray(let values): array(values) { string($0.description, &$1) }
        default: return false
        }
        return true
    }
}
