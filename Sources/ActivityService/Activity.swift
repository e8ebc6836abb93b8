public import Lantern

/// The activity service: collects the events of all services into one timeline.
public struct Activity: LanternService {
    public static let name = "activity"

    /// The events that the service records.
    public static func catalogue() throws -> EventCatalogue {
        try EventCatalogue(
            service: Self.name,
            [
                GapDetected.self, GapHealed.self, DeadLetterReplayed.self,
                DeadLetterDiscarded.self,
            ]
        )
    }

    public static func assemble(_ platform: Platform) async throws {
        let database = try platform.postgres(migrations: ActivitySchema.migrations)
        let wake = WakeSignal()
        let topics = try platform.settings.value(
            "ACTIVITY_TOPICS", default: #"^.+\.events\.v[0-9]+$"#, "a regular expression that begins with ^"
        ) { $0.hasPrefix("^") ? $0 : nil }

        let outbox = try platform.outbox(in: database, catalogue: Self.catalogue())
        platform.auditDeadLetters(
            DeadLetterAudit(
                replayed: { letter, tx in try await outbox.append(DeadLetterReplayed(letter), in: tx) },
                discarded: { letter, tx in try await outbox.append(DeadLetterDiscarded(letter), in: tx) }
            )
        )
        try platform.consume(topics: [topics], group: name, in: database, Ingest(group: name, wake: wake))
        platform.run(
            Sealer(
                database: database, direct: try platform.directClient(for: database), wake: wake,
                transport: try platform.transport(), outbox: outbox, logger: platform.logger
            )
        )
        platform.routes { router in
            TimelineController(
                timeline: TimelineStore(database: database), sources: SourceStore(database: database)
            ).register(on: router)
        }
    }
}
