import Lantern

/// A user came to be.
struct UserRegistered: DomainEvent {
    static let type = EventType("auth.user.registered", version: 1)
    var userID: UserID
    var email: String
    var name: String
    var roles: [String]

    private enum CodingKeys: String, CodingKey {
        case email, name, roles
        case userID = "user_id"
    }

    var subject: EventSubject { EventSubject("user", self.userID, version: 1) }
    /// Who registers is nobody yet, and somebody with this event.
    var actor: EventActor? { EventActor(id: self.userID.description, type: "user") }
}

struct UserDisabled: DomainEvent {
    static let type = EventType("auth.user.disabled", version: 1)
    var userID: UserID
    var version: Int64

    private enum CodingKeys: String, CodingKey {
        case version
        case userID = "user_id"
    }

    var subject: EventSubject { EventSubject("user", self.userID, version: self.version) }
}

struct UserEnabled: DomainEvent {
    static let type = EventType("auth.user.enabled", version: 1)
    var userID: UserID
    var version: Int64

    private enum CodingKeys: String, CodingKey {
        case version
        case userID = "user_id"
    }

    var subject: EventSubject { EventSubject("user", self.userID, version: self.version) }
}

struct UserRolesChanged: DomainEvent {
    static let type = EventType("auth.user.roles_changed", version: 1)
    var userID: UserID
    var version: Int64
    var before: [String]
    var after: [String]

    private enum CodingKeys: String, CodingKey {
        case version, before, after
        case userID = "user_id"
    }

    var subject: EventSubject { EventSubject("user", self.userID, version: self.version) }
}

/// Somebody logged in.
struct SessionStarted: DomainEvent {
    static let type = EventType("auth.session.started", version: 1)
    var sessionID: SessionID
    var userID: UserID

    private enum CodingKeys: String, CodingKey {
        case sessionID = "session_id"
        case userID = "user_id"
    }

    var subject: EventSubject { EventSubject("session", self.sessionID, version: 1) }
    var actor: EventActor? { EventActor(id: self.userID.description, type: "user") }
}

/// Somebody tried to log in and was refused.
struct SessionRefused: DomainEvent {
    enum Reason: String, CaseIterable, Codable {
        case unknownUser = "unknown_user", wrongPassword = "wrong_password", disabled
    }

    static let type = EventType("auth.session.refused", version: 1)
    var sessionID: SessionID
    var userID: UserID?
    var reason: Reason

    private enum CodingKeys: String, CodingKey {
        case reason
        case sessionID = "session_id"
        case userID = "user_id"
    }

    var subject: EventSubject { EventSubject("session", self.sessionID, version: 1) }
    var outcome: EventOutcome { .denied }
    var actor: EventActor? { self.userID.map { EventActor(id: $0.description, type: "user") } }
}

/// Tokens are signed with a new key from now on.
struct KeyRotated: DomainEvent {
    static let type = EventType("auth.key.rotated", version: 1)
    var keyID: String

    private enum CodingKeys: String, CodingKey {
        case keyID = "key_id"
    }

    var subject: EventSubject { EventSubject("key", self.keyID, version: 1) }
}
