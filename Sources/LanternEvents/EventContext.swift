public import Tracing

extension InstrumentationContext {
    private enum ActorKey: InstrumentationContextKey {
        typealias Value = EventActor
        static var nameOverride: String? { "lantern-event-actor" }
    }

    /// On whose behalf the current work is done. Set by the platform from the request's token; an event that names no
    /// actor of its own takes it from here.
    public var eventActor: EventActor? {
        get { self[ActorKey.self] }
        set { self[ActorKey.self] = newValue }
    }
}

/// Carries trace context in a plain dictionary: a row of the outbox.
struct DictionaryCarrier: Injector, Extractor {
    func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }

    func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) {
        carrier[key] = value
    }
}
