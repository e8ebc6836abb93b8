import Foundation
import Lantern

/// A member that is written as null where it has no value: one that comes and goes is hard to read.
@propertyWrapper
struct Nullable<Value: Encodable & Sendable>: Encodable, Sendable {
    var wrappedValue: Value?

    init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self.wrappedValue)
    }
}

/// An entry of the timeline, as the API shows it. Its data is given as it was received, byte by byte, so it is not part
/// of what is encoded here: ``json()`` puts it in.
struct Entry: Encodable, Sendable {
    struct Actor: Encodable, Sendable {
        var type: String
        var id: String
        @Nullable var ip: String?
    }

    struct Target: Encodable, Sendable {
        var type: String
        var id: String
        @Nullable var version: Int64?
    }

    struct Coordinates: Encodable, Sendable { var topic: String; var partition: Int32; var offset: Int64 }

    var id: Identifier<Entry>
    var event_id: String
    var time: Timestamp
    var recorded_at: Timestamp
    var tenant: String
    var service: String
    var source: String
    @Nullable var epoch: Int64?
    @Nullable var sequence: Int64?
    var type: String
    var action: String
    var actor: Actor
    @Nullable var target: Target?
    var outcome: String
    @Nullable var trace_id: String?
    @Nullable var span_id: String?
    var log_index: Int64
    var sealed: Bool
    var verified: Bool
    /// Only with a single entry.
    var kafka: Coordinates?

    private var data: [UInt8]?
    private var dataIsJSON: Bool

    private enum CodingKeys: String, CodingKey {
        case id, event_id, time, recorded_at, tenant, service, source, epoch, sequence, type, action, actor, target,
            outcome, trace_id, span_id, log_index, sealed, verified, kafka
    }

    static let columns: SQL = """
        e.id, e.event_id, e.time, e.recorded_at, e.tenant, e.service, e.source, e.epoch, e.sequence, e.type, e.action,
        e.actor_type, e.actor_id, e.actor_ip, e.target_type, e.target_id, e.target_version, e.outcome, e.trace_id, e.span_id,
        e.data, e.data_is_json, e.topic, e.partition, e.record_offset, l.log_index
        """

    init(_ row: PostgresRow, withCoordinates: Bool) throws {
        self.id = try row("id")
        self.event_id = try row("event_id")
        self.time = try row("time")
        self.recorded_at = try row("recorded_at")
        self.tenant = try row("tenant")
        self.service = try row("service")
        self.source = try row("source")
        self.epoch = try row("epoch")
        self.sequence = try row("sequence")
        self.type = try row("type")
        self.action = try row("action")
        self.actor = Actor(type: try row("actor_type"), id: try row("actor_id"), ip: try row("actor_ip"))
        if let id = try row("target_id", as: String?.self) {
            self.target = Target(type: try row("target_type") ?? "", id: id, version: try row("target_version"))
        }
        self.outcome = try row("outcome")
        self.trace_id = try row("trace_id")
        self.span_id = try row("span_id")
        self.log_index = try row("log_index")
        // Until the log signs checkpoints, no entry is covered by one.
        self.sealed = false
        self.verified = false
        if withCoordinates {
            self.kafka = Coordinates(
                topic: try row("topic"), partition: try row("partition"), offset: try row("record_offset"))
        }
        self.data = try row("data", as: PostgresBytes?.self)?.bytes
        self.dataIsJSON = try row("data_is_json")
    }

    /// The entry with its data: JSON as it was received, anything else as a string in base64.
    func json() throws -> Data {
        var json = try JSON.encoder().encode(self)
        json.removeLast()
        json.append(contentsOf: ",\"data\":".utf8)
        if let data = self.data, !data.isEmpty {
            if self.dataIsJSON {
                json.append(contentsOf: data)
            } else {
                json.append(contentsOf: "\"\(Data(data).base64EncodedString())\"".utf8)
            }
        } else {
            json.append(contentsOf: "null".utf8)
        }
        json.append(UInt8(ascii: "}"))
        return json
    }
}
