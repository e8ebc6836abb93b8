public import LanternPostgres

/// An event with its CloudEvents 1.0 attributes and the extensions of the event path (`docs/events.md`).
public struct EventEnvelope: Sendable, Equatable {
    public var id: String
    public var source: String
    public var type: String
    public var time: Timestamp?
    public var subject: String?
    public var subjectVersion: Int64?
    public var dataSchema: String?
    public var dataContentType: String?
    /// Epoch and number that the source gave the event; foreign producers give none.
    public var epoch: Int64?
    public var sequence: Int64?
    public var partitionKey: String?
    public var tenant: String
    public var actor: EventActor
    public var outcome: EventOutcome
    public var traceparent: String?
    public var tracestate: String?
    public var baggage: String?
    public var data: [UInt8]

    public init(
        id: String, source: String, type: String, time: Timestamp? = nil, subject: String? = nil,
        subjectVersion: Int64? = nil, dataSchema: String? = nil, dataContentType: String? = nil, epoch: Int64? = nil,
        sequence: Int64? = nil, partitionKey: String? = nil, tenant: String = "default",
        actor: EventActor = EventActor(id: "unknown", type: "unknown"), outcome: EventOutcome = .unknown,
        traceparent: String? = nil, tracestate: String? = nil, baggage: String? = nil, data: [UInt8] = []
    ) {
        self.id = id
        self.source = source
        self.type = type
        self.time = time
        self.subject = subject
        self.subjectVersion = subjectVersion
        self.dataSchema = dataSchema
        self.dataContentType = dataContentType
        self.epoch = epoch
        self.sequence = sequence
        self.partitionKey = partitionKey
        self.tenant = tenant
        self.actor = actor
        self.outcome = outcome
        self.traceparent = traceparent
        self.tracestate = tracestate
        self.baggage = baggage
        self.data = data
    }

    /// What the event says, told apart from how it was sent: two records of one event agree in this.
    /// Epoch and sequence are not in it: a restored source numbers its events anew.
    public var contentBytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(256 + self.data.count)
        for field in [
            self.id, self.source, self.type, self.time?.description ?? "", self.subject ?? "",
            self.subjectVersion.map(String.init) ?? "", self.tenant, self.actor.id, self.actor.type,
            self.outcome.rawValue,
        ] { LengthPrefixed.append(field.utf8, to: &bytes) }
        LengthPrefixed.append(self.data, to: &bytes)
        return bytes
    }

    /// Type and id of the subject, `order/…`; a subject without a slash is an id.
    public var target: (type: String, id: String)? {
        guard let subject, !subject.isEmpty else { return nil }
        guard let slash = subject.firstIndex(of: "/") else { return ("", subject) }
        return (String(subject[..<slash]), String(subject[subject.index(after: slash)...]))
    }

    /// The last path segment of the source.
    public var service: String {
        self.source.split(separator: "/").last.map { String($0) } ?? self.source
    }
}

/// Fields one after the other, each behind its length as four big-endian bytes: unambiguous, whatever they hold.
public enum LengthPrefixed {
    public static func encode(_ fields: [[UInt8]]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(fields.reduce(0) { $0 + $1.count + 4 })
        for field in fields { Self.append(field, to: &bytes) }
        return bytes
    }

    public static func append(_ field: some Collection<UInt8>, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: UInt32(clamping: field.count).bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: field)
    }
}
