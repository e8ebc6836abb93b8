/// How much one span may hold (`OTEL_SPAN_*_LIMIT`, `OTEL_ATTRIBUTE_*_LIMIT`); what is beyond is counted, not kept.
public struct SpanLimits: Sendable {
    public var attributes = 128
    public var events = 128
    public var links = 128
    /// Attributes of one event, and of one link.
    public var attributesPerEvent = 128
    public var attributesPerLink = 128
    /// Characters of an attribute's string value; `nil` for no limit.
    public var attributeLength: Int?

    public init() {}
}
