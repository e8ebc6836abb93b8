/// Something that happened in a service, as a typed value. Its JSON is the event's data.
///
/// ```swift
/// struct OrderPlaced: DomainEvent {
///     static let type = EventType("order.order.placed", version: 1)
///     var order: OrderID
///     var subject: EventSubject { EventSubject("order", order, version: 1) }
/// }
/// ```
public protocol DomainEvent: Codable, Sendable {
    /// Name and version; never reused for another shape.
    static var type: EventType { get }
    /// How to read older versions; one for each version before the present one.
    static var upcasters: [Upcaster] { get }
    /// What it happened to.
    var subject: EventSubject { get }
    /// How it ended; `success` unless said otherwise.
    var outcome: EventOutcome { get }
    /// Who did it, where that is not the one the request was authenticated as.
    var actor: EventActor? { get }
}

extension DomainEvent {
    public static var upcasters: [Upcaster] { [] }
    public var outcome: EventOutcome { .success }
    public var actor: EventActor? { nil }
}

/// `<service>.<aggregate>.<past-tense verb>` with a version.
public struct EventType: Hashable, Sendable, CustomStringConvertible {
    /// Without the version: the action on the timeline.
    public var action: String
    public var version: Int

    public init(_ action: String, version: Int) {
        self.action = action
        self.version = version
    }

    /// Reads `<action>.v<version>`; a type without such an end is an action of version 1.
    public init(parsing text: String) {
        if let dot = text.lastIndex(of: "."), text[text.index(after: dot)...].first == "v",
            text[text.index(dot, offsetBy: 2)...].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let version = Int(text[text.index(dot, offsetBy: 2)...]), version > 0
        {
            self.init(String(text[..<dot]), version: version)
        } else {
            self.init(text, version: 1)
        }
    }

    /// As in `ce_type`.
    public var description: String { "\(self.action).v\(self.version)" }
}

/// What an event happened to: `ce_subject` is `<type>/<id>`.
public struct EventSubject: Hashable, Sendable {
    public var type: String
    public var id: String
    /// Version of the aggregate after the event: 1, 2, 3 …
    public var version: Int64

    public init(_ type: String, _ id: some CustomStringConvertible, version: Int64) {
        self.type = type
        self.id = id.description
        self.version = version
    }
}

/// How it ended.
public enum EventOutcome: String, Sendable, CaseIterable {
    case success, failure, denied, unknown
}

/// Who did it.
public struct EventActor: Hashable, Sendable {
    public var id: String
    /// `user`, `client`, `system` or `unknown`.
    public var type: String
    /// The address the request came from, where there was one. Personal data.
    public var ip: String?

    public init(id: String, type: String, ip: String? = nil) {
        self.id = id
        self.type = type
        self.ip = ip
    }

    /// The service itself: timers, reactions to other events.
    public static func system(_ service: String) -> EventActor { EventActor(id: service, type: "system") }
}
