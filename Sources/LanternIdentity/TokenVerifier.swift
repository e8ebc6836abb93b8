public import Foundation
public import JWTKit

/// Checks access tokens against a cached key set.
///
/// Accepts ES256 and RS256 with `typ: at+jwt` only, and only with the algorithm that the key itself is for; so neither
/// `none` nor a public key used as an HMAC secret can pass. Safe from any task.
public struct TokenVerifier: Sendable {
    private let issuer: String
    private let audience: String
    private let keys: any KeySource
    private let leeway: Int64

    /// - Parameters:
    ///   - leeway: Seconds that clocks may differ.
    public init(issuer: String, audience: String, keys: any KeySource, leeway: Int64 = 30) {
        self.issuer = issuer
        self.audience = audience
        self.keys = keys
        self.leeway = leeway
    }

    /// The claims of a valid token.
    /// - Parameter now: Seconds since the epoch.
    /// - Throws: ``TokenError``.
    public func verify(
        _ token: String, now: Int64 = Int64(Date().timeIntervalSince1970)
    ) async throws(TokenError) -> AccessToken {
        let header = try Self.header(of: token)
        guard ["at+jwt", "application/at+jwt"].contains(header.typ?.lowercased() ?? "") else {
            throw TokenError(code: .malformed, message: "the token is not an access token")
        }
        guard header.alg == "ES256" || header.alg == "RS256" else {
            throw TokenError(code: .signature, message: "the algorithm is not accepted")
        }
        // Extensions that we must understand and do not (RFC 7515, section 4.1.11).
        guard header.crit == nil else {
            throw TokenError(code: .malformed, message: "the token has critical extensions")
        }
        guard let kid = header.kid, let jwk = try await self.keys.key(kid) else {
            throw TokenError(code: .unknownKey, message: "the token's key is not known")
        }
        guard jwk.algorithm?.rawValue == header.alg else {
            throw TokenError(code: .signature, message: "the algorithm is not that of the key")
        }
        let claims: AccessToken
        do {
            let collection = JWTKeyCollection()
            try await collection.add(jwk: jwk)
            claims = try await collection.verify(token, as: AccessToken.self)
        } catch {
            throw TokenError(code: .signature, message: "the signature or the claims are not valid")
        }
        guard claims.expires > now - self.leeway else {
            throw TokenError(code: .expired, message: "the token has expired")
        }
        guard claims.issuedAt <= now + self.leeway else {
            throw TokenError(code: .malformed, message: "the token was issued in the future")
        }
        guard claims.notBefore ?? .min <= now + self.leeway else {
            throw TokenError(code: .notYetValid, message: "the token is not valid yet")
        }
        guard claims.issuer == self.issuer else {
            throw TokenError(code: .wrongIssuer, message: "the token is of another issuer")
        }
        guard claims.audience.contains(self.audience) else {
            throw TokenError(code: .wrongAudience, message: "the token is for another audience")
        }
        return claims
    }

    private struct Header: Decodable {
        var alg: String
        var typ: String?
        var kid: String?
        var crit: [String]?
    }

    private static func header(of token: String) throws(TokenError) -> Header {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard token.utf8.count <= 16_384, parts.count == 3,
            // Strictly: padding and the other alphabet are no JWS (RFC 7515, section 2).
            parts.allSatisfy({ Base64URL.decode(String($0)) != nil }), let data = Base64URL.decode(String(parts[0])),
            let header = try? JSONDecoder().decode(Header.self, from: data)
        else { throw TokenError(code: .malformed, message: "the token is not a signed JWT") }
        return header
    }
}

/// Gives public keys by their id.
public protocol KeySource: Sendable {
    /// The key, or `nil` where it is not in the set.
    /// - Throws: ``TokenError`` with code `keysUnavailable`.
    func key(_ id: String) async throws(TokenError) -> JWK?
}

/// base64url without padding (RFC 4648, section 5).
public enum Base64URL {
    public static func encode(_ data: some Sequence<UInt8>) -> String {
        Data(data).base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    public static func decode(_ text: String) -> Data? {
        guard text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "=") })
        else {
            return nil
        }
        let standard = text.replacing("-", with: "+").replacing("_", with: "/")
        return Data(base64Encoded: standard + String(repeating: "=", count: (4 - standard.utf8.count % 4) % 4))
    }
}
