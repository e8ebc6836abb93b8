import Foundation
import HTTPTypes
import Hummingbird
public import LanternEvents
import LanternHTTP
public import LanternIdentity
public import LanternKafka
public import LanternPostgres
import LanternTracing
import Logging
public import ServiceLifecycle
import Synchronization
import Tracing

/// What a service is assembled from. Everything that is asked of it here has logs, metrics, spans, health checks and an
/// orderly shutdown without a line for any of them.
public final class Platform: Sendable {
    struct Parts {
        var databases: [PostgresClient] = []
        var steps: [@Sendable () async throws -> Void] = []
        var relays: [any Service] = []
        var consumers: [any Service] = []
        var timers: [any Service] = []
        var routes: [@Sendable (Router<PlatformContext>) -> Void] = []
        var idempotency: PostgresIdempotency?
        /// What the service's database is made of, in the order in which it is brought up to date.
        var schema: [ServiceSchema.Component] = []
        var checksKafka = false
        /// By the database of their consumers.
        var deadLetters: (store: DeadLetterStore, replays: [String: DeadLetterReplay])?
        var deadLetterAudit = DeadLetterAudit()
        var keys: (any KeySource)?
    }

    public let name: String
    public let settings: Settings
    public let logger: Logger
    public let readiness: Readiness
    let parts = Mutex(Parts())
    private let startGate = StartGate()

    private let overriddenTransport: (any EventTransport)?

    init(name: String, settings: Settings, logger: Logger, transport: (any EventTransport)? = nil) {
        self.overriddenTransport = transport
        self.name = name
        self.settings = settings
        self.logger = logger
        self.readiness = Readiness()
    }

    /// The service's database, from `DATABASE_URL`, brought up to date before anything is served.
    /// - Throws: ``ConfigurationError``.
    public func postgres(migrations: [Migration]) throws -> PostgresClient {
        var configuration = PostgresConfiguration(url: try self.databaseURL(), applicationName: self.name)
        configuration.maximumConnections = try self.settings.value(
            "DATABASE_POOL_SIZE", default: 10, "a whole number from 2 to 1000"
        ) { Int($0).flatMap { (2...1_000).contains($0) ? $0 : nil } }
        // Who names a direct way as well goes through a pooler otherwise.
        configuration.isPooled = self.settings.string("DATABASE_DIRECT_URL") != nil
        let client = PostgresClient(configuration: configuration, logger: self.logger)
        // Behind a transaction pooler the advisory lock of the migrations would be nobody's.
        let direct = try self.directClient(for: client)
        self.readiness.add("postgres", required: true) { try await client.ping() }
        let idempotency = PostgresIdempotency(database: client)
        self.parts.withLock { parts in
            parts.databases.append(client)
            if direct !== client { parts.databases.append(direct) }
            parts.idempotency = idempotency
        }
        self.migrate(PostgresIdempotency.component, PostgresIdempotency.migrations, direct)
        self.migrate(self.name, migrations, direct)
        self.every(.seconds(3_600), "expire-idempotency-keys") { try await idempotency.expire() }
        return client
    }

    /// Where the service records its events: in `database`, relayed to `<service>.events.v1`.
    /// - Parameter catalogue: The events that the service records; what is not in it cannot be appended.
    /// - Throws: ``ConfigurationError``.
    public func outbox(in database: PostgresClient, catalogue: EventCatalogue? = nil) throws -> Outbox {
        let signal = OutboxSignal()
        let outbox = Outbox(service: self.name, catalogue: catalogue, wake: { signal.appended() })
        let transport = try self.transport()
        let logger = self.logger
        let direct = try self.directClient(for: database)
        var relaySettings = OutboxRelay.Settings()
        relaySettings.minimumAge = try self.settings.duration("OUTBOX_MINIMUM_AGE", default: relaySettings.minimumAge)
        let relay = OutboxRelay(
            outbox: outbox, database: database, direct: direct, transport: transport, signal: signal, logger: logger,
            settings: relaySettings
        )
        let gate = self.startGate
        self.migrate(OutboxSchema.component, OutboxSchema.migrations, direct)
        self.parts.withLock { parts in
            parts.relays.append(Gated(gate: gate, service: relay))
        }
        return outbox
    }

    /// The routes of the service.
    public func routes(_ register: @escaping @Sendable (Router<PlatformContext>) -> Void) {
        self.parts.withLock { $0.routes.append(register) }
    }

    /// Handles each event of a type once: the handler's writes, the event's id and the offset commit together.
    /// - Parameters:
    ///   - database: The one that `handler` writes to.
    ///   - keepsOrder: Whether the events of an aggregate wait where one before them was put aside.
    ///   - trace: How the handler's span relates to the event's.
    public func consume<Event: DomainEvent>(
        _ type: Event.Type, from topic: String, in database: PostgresClient, keepsOrder: Bool = true,
        trace: KafkaProcessing.TraceRelation = .both,
        _ handler: @escaping @Sendable (Event, PostgresTransaction) async throws -> Void
    ) throws {
        let group = "\(self.name).\(Event.type.action)"
        try self.consume(
            topics: [topic], group: group, in: database,
            Inbox<Event>(consumer: group, topic: topic, keepsOrder: keepsOrder, relation: trace, handler: handler)
        )
    }

    /// Handles all records of topics: the general form. What cannot be handled is at `/v1/dead-letters`, and in the topic
    /// `<service>.dead-letters.v1`.
    public func consume(
        topics: [String], group: String, in database: PostgresClient, _ handler: any RecordHandler
    ) throws {
        let gate = self.startGate
        let transport = try self.transport()
        let consumer = EventConsumer(
            transport: transport, topics: topics, group: group, database: database, handler: handler,
            logger: self.logger, ready: { try await gate.wait() }
        )
        let direct = try self.directClient(for: database)
        let publisher = DeadLetterPublisher(
            service: self.name, database: database, direct: direct, transport: transport, logger: self.logger
        )
        self.migrate(ConsumerSchema.component, ConsumerSchema.migrations, direct)
        let retention = try self.settings.value(
            "CONSUMER_RETENTION", default: .seconds(30 * 86_400), "a duration of at least 1h, such as 720h"
        ) { text in
            Settings.duration(text).flatMap { $0 >= .seconds(3_600) ? $0 : nil }
        }
        let isFirst = self.parts.withLock { parts in
            defer { parts.consumers.append(consumer) }
            return parts.consumers.isEmpty
        }
        if isFirst {
            self.every(.seconds(3_600), "forget handled events") {
                try await ConsumerRetention(database: database).forget(olderThan: retention)
            }
        }
        self.parts.withLock { parts in
            if parts.deadLetters == nil {
                parts.deadLetters = (DeadLetterStore(database: database), [:])
                parts.relays.append(Gated(gate: gate, service: publisher))
            }
            parts.deadLetters?.replays[group] = DeadLetterReplay(database: database, consumer: group, handler: handler)
        }
    }

    /// What is recorded of the settling of dead letters.
    public func auditDeadLetters(_ audit: DeadLetterAudit) {
        self.parts.withLock { $0.deadLetterAudit = audit }
    }

    /// Runs `work` again and again, `interval` after it ended. A failure is logged and the next round comes all the same.
    /// Every replica runs it: what it does must be harmless when two do it at once.
    public func every(_ interval: Duration, _ name: String, _ work: @escaping @Sendable () async throws -> Void) {
        let timer = RepeatingWork(
            name: name, interval: interval, gate: self.startGate, logger: self.logger, work: work
        )
        self.parts.withLock { $0.timers.append(timer) }
    }

    /// Runs beside the service, from when it has started until it shuts down.
    public func run(_ service: any Service) {
        let gated = Gated(gate: self.startGate, service: service)
        self.parts.withLock { $0.timers.append(gated) }
    }

    /// Verifies tokens with these keys, in place of those at `AUTH_JWKS_URL`: for the service that issues them.
    public func verifyTokens(with keys: any KeySource) {
        self.parts.withLock { $0.keys = keys }
    }

    /// Runs once at start, after the migrations, before anything is served. Tried again until it succeeds.
    public func onStart(_ step: @escaping @Sendable () async throws -> Void) {
        self.parts.withLock { $0.steps.append(step) }
    }

    /// Brings a component up to date at start, once.
    private func migrate(_ component: String, _ migrations: [Migration], _ database: PostgresClient) {
        let logger = self.logger
        self.parts.withLock { parts in
            guard !parts.schema.contains(where: { $0.name == component }) else { return }
            parts.schema.append(.init(name: component, migrations: migrations))
            parts.steps.append { try await database.migrate(component, migrations, logger: logger) }
        }
    }

    /// A client whose sessions are its own, for leaders: `DATABASE_DIRECT_URL`, or the pool's own server.
    public func directClient(for database: PostgresClient) throws -> PostgresClient {
        guard let url = self.settings.string("DATABASE_DIRECT_URL") else { return database }
        return PostgresClient(
            configuration: PostgresConfiguration(url: url, applicationName: "\(self.name)-direct"), logger: self.logger
        )
    }

    // MARK: - For the host

    func start() async throws {
        let steps = self.parts.withLock { $0.steps }
        var attempt = 0
        while true {
            do {
                for step in steps { try await step() }
                break
            } catch let error as PostgresError where error.code == .migration || error.code == .pooled {
                // Waiting does not help.
                throw error
            } catch let error as ConfigurationError {
                // Waiting does not make a wrong setting right.
                throw error
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                attempt += 1
                if attempt.nonzeroBitCount == 1 {
                    self.logger.warning("start waits", error: error, metadata: ["attempt": "\(attempt)"])
                }
                try await Task.sleep(for: .milliseconds(min(3_000, 100 << min(attempt, 5))))
            }
        }
        self.readiness.started()
        self.startGate.open()
        self.logger.info("started", metadata: ["version": "\(LanternVersion.current)"])
    }

    func databaseURL() throws -> String {
        let url = try self.settings.required("DATABASE_URL", "a libpq connection URI, postgresql://…")
        guard url.hasPrefix("postgresql://") || url.hasPrefix("postgres://") else {
            throw ConfigurationError(
                name: "DATABASE_URL", value: "***", expected: "a libpq connection URI, postgresql://…")
        }
        return url
    }

    /// What carries events: Kafka, by `KAFKA_BOOTSTRAP_SERVERS`, unless the host was given another transport.
    public func transport() throws -> any EventTransport {
        if let transport = self.overriddenTransport { return transport }
        return KafkaTransport(try self.kafka())
    }

    private func kafka() throws -> KafkaConfiguration {
        let servers = try self.settings.required("KAFKA_BOOTSTRAP_SERVERS", "host:port, several joined by commas")
        let known = self.parts.withLock { parts in
            defer { parts.checksKafka = true }
            return parts.checksKafka
        }
        // Events wait in the outbox while Kafka is away: the service is degraded, not down.
        if !known { self.readiness.add("kafka", required: false) { try await Reachability.check(servers: servers) } }
        let configuration = KafkaConfiguration(
            bootstrapServers: servers,
            properties: self.settings.kafkaProperties,
            clientID: self.name
        )
        if let property = configuration.invalidProperty {
            throw ConfigurationError(
                name: "KAFKA_\(property.uppercased().replacing(".", with: "_"))", value: "***",
                expected: "a property of librdkafka (\(property)) and a value that it takes"
            )
        }
        return configuration
    }
}

/// Opens once, when the service has started.
final class StartGate: Sendable {
    private struct State {
        var isOpen = false
        var nextID = 0
        var waiters: [Int: CheckedContinuation<Void, any Error>] = [:]
    }

    private let state = Mutex(State())

    func open() {
        let waiters = self.state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [:] }
            return state.waiters.values.map { $0 }
        }
        for waiter in waiters { waiter.resume() }
    }

    func wait() async throws {
        let id = self.state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let now = self.state.withLock { state -> Result<Void, any Error>? in
                    if state.isOpen { return .success(()) }
                    if Task.isCancelled { return .failure(CancellationError()) }
                    state.waiters[id] = continuation
                    return nil
                }
                if let now { continuation.resume(with: now) }
            }
        } onCancel: {
            self.state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(throwing: CancellationError())
        }
    }
}

/// A service that waits for the start.
struct Gated: Service {
    let gate: StartGate
    let service: any Service

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await self.gate.wait() }
        } catch is CancellationError {
            return
        }
        try await self.service.run()
    }
}

/// Work that is done at intervals.
struct RepeatingWork: Service {
    let name: String
    let interval: Duration
    let gate: StartGate
    let logger: Logger
    let work: @Sendable () async throws -> Void

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await self.gate.wait() }
            while true {
                do {
                    // A timer that finds nothing to do would otherwise fill the trace store.
                    var context = InstrumentationContext.topLevel
                    context.isQuiet = true
                    try await withSpan("timer \(self.name)", context: context) { _ in try await self.work() }
                } catch is CancellationError {
                    return
                } catch {
                    self.logger.warning("timer failed", error: error, metadata: ["timer": "\(self.name)"])
                }
                try await cancelWhenGracefulShutdown { try await Task.sleep(for: self.interval) }
            }
        } catch is CancellationError {
            return
        }
    }
}
