import Foundation
public import JWTKit

/// The claims of an access token (RFC 9068).
public struct AccessToken: JWTPayload, Sendable {
    public var issuer: String
    public var subject: String
    public var audience: [String]
    public var expires: Int64
    public var issuedAt: Int64
    /// Not valid before this time, where the issuer says so (`nbf`).
    public var notBefore: Int64?
    public var id: String
    public var clientID: String
    public var scope: String
    public var roles: [String]
    public var sessionID: String?

    public init(
        issuer: String, subject: String, audience: [String], expires: Int64, issuedAt: Int64, id: String,
        clientID: String, scope: String, roles: [String], sessionID: String?
    ) {
        self.issuer = issuer
        self.subject = subject
        self.audience = audience
        self.expires = expires
        self.issuedAt = issuedAt
        self.id = id
        self.clientID = clientID
        self.scope = scope
        self.roles = roles
        self.sessionID = sessionID
    }

    private enum CodingKeys: String, CodingKey {
        case issuer = "iss"
        case subject = "sub"
        case audience = "aud"
        case expires = "exp"
        case issuedAt = "iat"
        case notBefore = "nbf"
        case id = "jti"
        case clientID = "client_id"
        case scope, roles
        case sessionID = "sid"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.issuer = try container.decode(String.self, forKey: .issuer)
        self.subject = try container.decode(String.self, forKey: .subject)
        // A single audience may be a plain string (RFC 7519, section 4.1.3).
        if let one = try? container.decode(String.self, forKey: .audience) {
            self.audience = [one]
        } else {
            self.audience = try container.decode([String].self, forKey: .audience)
        }
        self.expires = try container.decode(Int64.self, forKey: .expires)
        self.issuedAt = try container.decode(Int64.self, forKey: .issuedAt)
        self.notBefore = try container.decodeIfPresent(Int64.self, forKey: .notBefore)
        self.id = try container.decode(String.self, forKey: .id)
        self.clientID = try container.decode(String.self, forKey: .clientID)
        self.scope = try container.decodeIfPresent(String.self, forKey: .scope) ?? ""
        self.roles = try container.decodeIfPresent([String].self, forKey: .roles) ?? []
        self.sessionID = try container.decodeIfPresent(String.self, forKey: .sessionID)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(self.issuer, forKey: .issuer)
        try container.encode(self.subject, forKey: .subject)
        try container.encode(self.audience, forKey: .audience)
        try container.encode(self.expires, forKey: .expires)
        try container.encode(self.issuedAt, forKey: .issuedAt)
        try container.encodeIfPresent(self.notBefore, forKey: .notBefore)
        try container.encode(self.id, forKey: .id)
        try container.encode(self.clientID, forKey: .clientID)
        try container.encode(self.scope, forKey: .scope)
        try container.encode(self.roles, forKey: .roles)
        try container.encodeIfPresent(self.sessionID, forKey: .sessionID)
    }

    /// Claims are checked by ``TokenVerifier``, which knows issuer and audience.
    public func verify(using algorithm: some JWTAlgorithm) async throws {}
}

/// Why a token was not accepted. Says enough for `WWW-Authenticate` (RFC 6750, section 3.1), nothing of keys.
public struct TokenError: Error, Sendable, CustomStringConvertible {
    public enum Code: String, Sendable {
        case malformed
        case unknownKey = "unknown_key"
        case signature
        case expired
        case wrongIssuer = "wrong_issuer"
        case wrongAudience = "wrong_audience"
        case notYetValid = "not_yet_valid"
        /// The key set could not be fetched, so nobody can say.
        case keysUnavailable = "keys_unavailable"
    }

    public var code: Code
    public var message: String

    public init(code: Code, message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(self.code.rawValue): \(self.message)" }
}
