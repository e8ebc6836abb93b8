import Crypto
import Foundation
import Lantern

/// What is asked of the timeline: filters, order and place.
struct TimelineQuery: Sendable {
    enum Order: String, Codable, Sendable { case desc, asc, log }

    var actor: String?
    var action: String?
    var service: String?
    var targetType: String?
    var target: String?
    var outcome: String?
    var traceID: String?
    var tenant: String?
    var from: Timestamp?
    var to: Timestamp?
    var order: Order = .desc
    var limit = 50
    var cursor: TimelineCursor?
    /// Whose acts may be seen; `nil` for all.
    var restrictedTo: String?

    /// Reads the query of a request.
    /// - Throws: ``Problem`` 422 with every fault, or 400 for a cursor that is not of this query.
    init(_ request: Request, restrictedTo: String?) throws {
        var query = QueryFields(request)
        self.restrictedTo = restrictedTo
        self.actor = query.string("actor")
        self.action = query.parsed("action", "an action such as order.order.placed, or a prefix such as order.*") {
            text in
            text.utf8.allSatisfy { byte in
                (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte)
                    || "._-*".utf8.contains(byte)
            } && !text.dropLast().contains("*") ? text : nil
        }
        self.service = query.string("service")
        self.targetType = query.string("target_type")
        self.target = query.string("target")
        self.outcome = query.parsed("outcome", "success, failure, denied or unknown") {
            EventOutcome(rawValue: $0)?.rawValue
        }
        self.traceID = query.parsed("trace_id", "32 hexadecimal digits") { text in
            text.utf8.count == 32 && text.allSatisfy(\.isHexDigit) ? text.lowercased() : nil
        }
        self.tenant = query.string("tenant")
        self.from = query.parsed("from", "an RFC 3339 time") { Timestamp($0) }
        self.to = query.parsed("to", "an RFC 3339 time") { Timestamp($0) }
        self.order = query.parsed("order", "desc, asc or log", Order.init) ?? .desc
        self.limit = query.limit()
        if query.string("q") != nil {
            throw Problem.invalid([Problem.Field("q", "full-text search is not available yet")])
        }
        let cursor = query.string("cursor", maximum: 2_048)
        try query.check()
        if let cursor {
            let decoded = try Cursor.decode(cursor, as: TimelineCursor.self)
            guard decoded.filters == self.filtersHash, decoded.order == self.order, decoded.isValid else {
                throw Problem(.badRequest, "invalid_cursor", "The cursor is of another query.")
            }
            self.cursor = decoded
        }
    }

    /// Tells one set of filters from another, so that a cursor is good for its own walk only.
    var filtersHash: String {
        let parts: [String?] = [
            self.actor, self.action, self.service, self.targetType, self.target, self.outcome, self.traceID,
            self.tenant,
            self.from?.description, self.to?.description, self.restrictedTo,
        ]
        let bytes = LengthPrefixed.encode(parts.map { part in part.map { [1] + Array($0.utf8) } ?? [0] })
        return SHA256.hash(data: bytes).prefix(8).hexadecimal
    }
}

/// A place in a walk over the timeline. The walk is a snapshot: it sees the log as it was when it began.
struct TimelineCursor: Codable, Sendable {
    enum Direction: String, Codable { case next, previous }

    /// Size of the log when the walk began.
    var asOf: Int64
    var filters: String
    var order: TimelineQuery.Order
    var direction: Direction
    var time: String
    var id: String
    var logIndex: Int64

    var isValid: Bool {
        self.asOf >= 0 && Timestamp(self.time) != nil && UUID(uuidString: self.id) != nil
    }

    private enum CodingKeys: String, CodingKey {
        case asOf = "a"
        case filters = "f"
        case order = "o"
        case direction = "d"
        case time = "t"
        case id = "i"
        case logIndex = "l"
    }
}
