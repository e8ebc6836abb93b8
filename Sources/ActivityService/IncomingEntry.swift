import Crypto
import Foundation
import Lantern
import LanternTracing

/// An event on its way to the timeline: everything that is stored of it, worked out without I/O. A class, because it is wide
/// and goes from list to list.
final class IncomingEntry: Sendable {
    let id: UUID
    let record: KafkaRecord
    let event: EventEnvelope
    let time: Timestamp
    let isAhead: Bool
    let service: String
    let action: String
    let traceID: String?
    let spanID: String?
    let dataIsJSON: Bool
    let leaf: Leaf
    let hash: [UInt8]
    let digest: [UInt8]

    /// Reads and checks a record.
    /// - Throws: ``EventError``, the reason of a dead letter.
    init(_ record: KafkaRecord, now: Timestamp, leaf: Leaf = Leaf()) throws(EventError) {
        let event = try CloudEvents.event(record)
        try Self.checkSource(event.source, topic: record.topic)
        self.id = .version7()
        self.record = record
        self.event = event
        // A foreign producer may give no time; then it is when we took it.
        self.time = event.time ?? now
        self.isAhead = self.time > now + .seconds(86_400)
        // A source that is no path names no service; then its topic does.
        self.service =
            event.source.contains("/")
            ? event.service : record.topic.split(separator: ".events.v").first.map { String($0) } ?? record.topic
        self.action = EventType(parsing: event.type).action
        let trace = event.traceparent.flatMap { TraceContext.parse(traceparent: $0) }
        self.traceID = trace?.traceID.description
        self.spanID = trace?.spanID.description
        // PostgreSQL keeps the bytes whatever they are. What is shown as JSON goes into an answer byte by byte, so the
        // check is strict: one comma too many would spoil the whole page.
        self.dataIsJSON = JSONSyntax.isValid(event.data)
        self.leaf = leaf
        self.hash = Leaf.hash(leaf.bytes(of: event, time: self.time, traceID: self.traceID))
        self.digest = Array(SHA256.hash(data: event.contentBytes))
    }

    /// `…/services/<service>` may write to `<service>.events.v1` only: nobody speaks for another service.
    static func checkSource(_ source: String, topic: String) throws(EventError) {
        let parts = source.split(separator: "/")
        guard parts.count >= 2, parts[parts.count - 2] == "services" else { return }
        guard topic == "\(parts[parts.count - 1]).events.v1" else {
            throw EventError(code: .sourceMismatch, message: "\(source) may not write to \(topic)")
        }
    }
}
