public import Tracing

/// Carries trace context in the headers of a record.
public struct KafkaHeaderCarrier: Injector, Extractor {
    public init() {}

    /// The trace of the event (CloudEvents extension "Distributed Tracing") before that of its transport: both are the same
    /// where they come from the platform, and where they are not, what handles an event belongs to what made it.
    public func extract(key: String, from record: KafkaRecord) -> String? {
        let isTrace = key == "traceparent" || key == "tracestate"
        // One that is too short to be any is as good as none.
        let isOfEvent = isTrace && (record.header("ce_traceparent")?.utf8.count ?? 0) >= 55
        return record.header(isOfEvent ? "ce_" + key : key)
    }

    public func inject(_ value: String, forKey key: String, into record: inout KafkaRecord) {
        record.headers.removeAll { $0.name == key }
        record.headers.append(KafkaHeader(key, value))
    }
}
