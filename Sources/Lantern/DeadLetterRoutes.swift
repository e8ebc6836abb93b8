import Foundation
import HTTPTypes
import Hummingbird
import LanternEvents
import LanternHTTP
import LanternPostgres
import Logging

/// `/v1/dead-letters…`: what a service's consumers had to put aside; to be listed, shown, handled again, or discarded.
/// For administrators.
struct DeadLetterRoutes: Sendable {
    let store: DeadLetterStore
    /// By consumer.
    let replays: [String: DeadLetterReplay]
    let audit: DeadLetterAudit
    let logger: Logger

    func register(on router: Router<PlatformContext>) {
        router.get("/v1/dead-letters", use: self.list)
        router.get("/v1/dead-letters/{id}", use: self.show)
        router.post("/v1/dead-letters/{id}/replay", use: self.replay)
        router.post("/v1/dead-letters/{id}/discard", use: self.discard)
    }

    private struct Position: Codable { var id: String }

    @Sendable private func list(_ request: Request, _ context: PlatformContext) async throws -> Response {
        _ = try context.require(.admin)
        var query = QueryFields(request)
        let states = DeadLetter.State.allCases.map(\.rawValue).joined(separator: ", ")
        let filter = DeadLetterFilter(
            state: query.parsed("state", "one of \(states)") { DeadLetter.State(rawValue: $0) },
            reason: query.string("reason"), consumer: query.string("consumer"), topic: query.string("topic")
        )
        let limit = query.limit()
        let cursor = query.string("cursor", maximum: 2_048)
        try query.check()
        let before = try cursor.map { text in
            guard let id = UUID(strict: try Cursor.decode(text, as: Position.self).id) else {
                throw Problem(.badRequest, "invalid_cursor", "The cursor is not one that this list gave.")
            }
            return id
        }
        let letters = try await self.store.list(filter, before: before, limit: limit + 1)
        let next =
            letters.count > limit
            ? letters[limit - 1].id.uuidString.lowercased() : nil
        return try JSON.response(
            Page(
                letters.prefix(limit).map { DeadLetterAnswer($0, whole: false) },
                next: try next.map { try Cursor.encode(Position(id: $0)) }, previous: nil
            )
        )
    }

    @Sendable private func show(_ request: Request, _ context: PlatformContext) async throws -> Response {
        _ = try context.require(.admin)
        return try JSON.response(DeadLetterAnswer(try await self.letter(context), whole: true))
    }

    private func letter(_ context: PlatformContext) async throws -> DeadLetter {
        let id = try context.parameter("id", of: "dead letter") { UUID(strict: $0) }
        guard let letter = try await self.store.find(id) else { throw Problem.notFound("dead letter") }
        return letter
    }

    private struct ReplayAnswer: Encodable {
        /// `replayed` or `failed`.
        var outcome: String
        var dry_run: Bool
        /// How many of the same key were waiting behind it and are handled now.
        var released = 0
        var reason: String?
        var error: String?
    }

    @Sendable private func replay(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.require(.admin)
        var fields = try await request.fieldsOrNone(context)
        let dryRun = fields.optionalBoolean("dry_run") ?? false
        try fields.check()
        let letter = try await self.letter(context)
        guard let replay = self.replays[letter.consumer] else {
            throw Problem(.conflict, "no_consumer", "This service has no consumer \(letter.consumer) any more.")
        }
        let audit: @Sendable (DeadLetter, PostgresTransaction) async throws -> Void = { letter, tx in
            try await self.audit.replayed(letter, tx)
        }
        var answer: ReplayAnswer
        switch try await replay.replay(letter.id, by: principal.subject, dryRun: dryRun, audit: audit) {
        case .replayed:
            answer = ReplayAnswer(outcome: "replayed", dry_run: dryRun)
            if !dryRun {
                answer.released = try await replay.release(behind: letter, by: principal.subject, audit: audit)
            }
        case .failed(let error):
            answer = ReplayAnswer(
                outcome: "failed", dry_run: dryRun, reason: error.code.rawValue, error: error.message)
        case .notFound: throw Problem.notFound("dead letter")
        case .settled(let state):
            throw Problem(.conflict, "settled", "The dead letter is \(state.rawValue) already.")
        case .blocked(let first):
            throw Problem(
                .conflict, "blocked",
                "An older dead letter of the same key comes first: \(first.uuidString.lowercased()).")
        case .exhausted:
            throw Problem(
                .conflict, "exhausted",
                "It was tried \(DeadLetterReplay.maximumReplays) times. Discard it, or mend its cause and record it anew."
            )
        }
        self.logger.notice(
            "dead letter replayed",
            metadata: [
                "dead_letter": "\(letter.id.uuidString.lowercased())", "by": "\(principal.subject)",
                "outcome": "\(answer.outcome)", "dry_run": "\(dryRun)",
            ]
        )
        return try JSON.response(answer)
    }

    @Sendable private func discard(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let principal = try context.require(.admin)
        var fields = try await request.fieldsOrNone(context)
        let note = fields.optionalString("note", length: 1...1_000)
        try fields.check()
        let letter = try await self.letter(context)
        let audit = self.audit
        let discarded = try await self.store.discard(letter.id, by: principal.subject, note: note) { letter, tx in
            try await audit.discarded(letter, tx)
        }
        guard let discarded else {
            throw Problem(.conflict, "settled", "The dead letter is \(letter.state.rawValue) already.")
        }
        // Whoever waits behind it need not wait any longer.
        if let replay = self.replays[letter.consumer] {
            _ = try await replay.release(behind: letter, by: principal.subject) { letter, tx in
                try await self.audit.replayed(letter, tx)
            }
        }
        self.logger.notice(
            "dead letter discarded",
            metadata: ["dead_letter": "\(letter.id.uuidString.lowercased())", "by": "\(principal.subject)"]
        )
        return try JSON.response(DeadLetterAnswer(discarded, whole: false))
    }
}

/// What a service records of the settling of its dead letters, in the transaction that settles.
public struct DeadLetterAudit: Sendable {
    public var replayed: @Sendable (DeadLetter, PostgresTransaction) async throws -> Void
    public var discarded: @Sendable (DeadLetter, PostgresTransaction) async throws -> Void

    public init(
        replayed: @escaping @Sendable (DeadLetter, PostgresTransaction) async throws -> Void = { _, _ in },
        discarded: @escaping @Sendable (DeadLetter, PostgresTransaction) async throws -> Void = { _, _ in }
    ) {
        self.replayed = replayed
        self.discarded = discarded
    }
}

/// A dead letter as the API shows it.
struct DeadLetterAnswer: Encodable {
    struct Header: Encodable {
        var name: String
        var value: String?
        var value_base64: String?
    }

    var id: String
    var recorded_at: Timestamp
    var state: String
    var reason: String
    var error: String
    var consumer: String
    var topic: String
    var partition: Int32
    var offset: Int64
    var source: String?
    var event_id: String?
    var epoch: Int64?
    var sequence: Int64?
    var type: String?
    var replays: Int
    var settled_at: Timestamp?
    var settled_by: String?
    var note: String?
    /// The record itself, where one is shown and not many. What is not UTF-8 is in base64.
    var key: String?
    var key_base64: String?
    var value: String?
    var value_base64: String?
    var headers: [Header]?

    /// - Parameter whole: With the record itself.
    init(_ letter: DeadLetter, whole: Bool) {
        self.id = letter.id.uuidString.lowercased()
        self.recorded_at = letter.recordedAt
        self.state = letter.state.rawValue
        self.reason = letter.reason
        self.error = letter.error
        self.consumer = letter.consumer
        self.topic = letter.record.topic
        self.partition = letter.record.partition ?? -1
        self.offset = letter.record.offset ?? -1
        self.source = letter.source
        self.event_id = letter.eventID
        self.epoch = letter.epoch
        self.sequence = letter.sequence
        self.type = letter.record.header("ce_type")
        self.replays = letter.replays
        self.settled_at = letter.settledAt
        self.settled_by = letter.settledBy
        self.note = letter.note
        guard whole else { return }
        (self.key, self.key_base64) = Self.text(letter.record.key)
        (self.value, self.value_base64) = Self.text(letter.record.value)
        self.headers = letter.record.headers.map { header in
            let (text, base64) = Self.text(header.value)
            return Header(name: header.name, value: text, value_base64: base64)
        }
    }

    private static func text(_ bytes: [UInt8]?) -> (String?, String?) {
        guard let bytes else { return (nil, nil) }
        if let text = String(validating: bytes, as: UTF8.self) { return (text, nil) }
        return (nil, Data(bytes).base64EncodedString())
    }
}
