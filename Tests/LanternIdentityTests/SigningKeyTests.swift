import Crypto
import Foundation
import JWTKit
import LanternIdentity
import Testing

@Suite("Signing keys")
struct SigningKeyTests {
    private static let secret = Data(repeating: 7, count: 32)

    private func encryptionKey(_ data: Data = Self.secret) throws -> KeyEncryptionKey {
        try #require(KeyEncryptionKey(base64: data.base64EncodedString()))
    }

    @Test("a key is known by its RFC 7638 thumbprint")
    func thumbprint() throws {
        // The key of RFC 7515, appendix A.3; its thumbprint was worked out with other software.
        let raw = try #require(Base64URL.decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"))
        let box = try AES.GCM.seal(raw, using: SymmetricKey(data: Self.secret), authenticating: Data("row".utf8))
        let key = try SigningKey(sealed: try #require(box.combined), id: "row", with: self.encryptionKey())
        #expect(key.id == "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U")
        #expect(key.publicJWK["x"] == "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")
        #expect(key.publicJWK["y"] == "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
    }

    @Test("what is published of a key is its public half, and nothing else")
    func publicMembers() throws {
        let key = SigningKey()
        let jwk = key.publicJWK
        #expect(Set(jwk.keys) == ["kty", "crv", "x", "y", "kid", "alg", "use"])
        #expect(jwk["kty"] == "EC")
        #expect(jwk["crv"] == "P-256")
        #expect(jwk["alg"] == "ES256")
        #expect(jwk["use"] == "sig")
        #expect(jwk["kid"] == key.id)
        for name in ["x", "y", "kid"] {
            let text = try #require(jwk[name])
            #expect(Base64URL.decode(text)?.count == 32)
        }
    }

    @Test("coordinates keep their leading zeros (RFC 7518, section 6.2.1.2)")
    func leadingZeros() throws {
        // One key in 128 has a coordinate that begins with a zero byte.
        for _ in 0..<600 {
            let jwk = SigningKey().publicJWK
            #expect(jwk["x"]?.utf8.count == 43 && jwk["y"]?.utf8.count == 43)
        }
    }

    @Test("two new keys are two keys")
    func distinct() {
        #expect(SigningKey().id != SigningKey().id)
    }

    @Test("a token says how and with which key it was signed, and that it is an access token")
    func header() async throws {
        let key = SigningKey()
        let parts = try await self.sign(with: key).split(separator: ".")
        #expect(parts.count == 3)
        let data = try #require(Base64URL.decode(String(parts[0])))
        let header = try JSONDecoder().decode([String: String].self, from: data)
        #expect(header == ["alg": "ES256", "typ": "at+jwt", "kid": key.id])
    }

    @Test("a token carries the claims by their registered names")
    func claims() async throws {
        let parts = try await self.sign(with: SigningKey()).split(separator: ".")
        let data = try #require(Base64URL.decode(String(parts[1])))
        let members = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(Set(members.keys) == ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "roles", "sid"])

        struct Claims: Decodable, Equatable {
            var iss: String; var sub: String; var aud: [String]; var exp: Int64; var jti: String
        }
        let claims = try JSONDecoder().decode(Claims.self, from: data)
        #expect(
            claims == Claims(iss: "https://auth.test", sub: "user-1", aud: ["platform"], exp: 1_800_000_900, jti: "t-1")
        )
    }

    // MARK: - Keeping it

    @Test("a sealed key comes back and signs as before")
    func sealAndOpen() async throws {
        let key = SigningKey()
        let reopened = try SigningKey(
            sealed: try key.sealed(with: self.encryptionKey()), id: key.id, with: self.encryptionKey())
        #expect(reopened.id == key.id)
        #expect(reopened.publicJWK == key.publicJWK)

        let verifier = TokenVerifier(
            issuer: "https://auth.test", audience: "platform", keys: OneKey(jwk: key.publicJWK))
        let token = try await self.sign(with: reopened)
        #expect(try await verifier.verify(token, now: 1_800_000_000).subject == "user-1")
    }

    @Test("sealing twice gives other bytes each time, and never the key itself")
    func freshNonce() throws {
        let raw = try #require(Base64URL.decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"))
        let box = try AES.GCM.seal(raw, using: SymmetricKey(data: Self.secret), authenticating: Data("row".utf8))
        let key = try SigningKey(sealed: try #require(box.combined), id: "row", with: self.encryptionKey())
        let first = try key.sealed(with: self.encryptionKey())
        let second = try key.sealed(with: self.encryptionKey())
        #expect(first != second)
        #expect(first.firstRange(of: raw) == nil)
    }

    @Test("with another encryption key it stays closed")
    func wrongEncryptionKey() throws {
        let key = SigningKey()
        let sealed = try key.sealed(with: self.encryptionKey())
        var almost = Self.secret
        almost[31] ^= 1
        let other = try self.encryptionKey(almost)
        #expect(throws: CryptoKitError.self) { try SigningKey(sealed: sealed, id: key.id, with: other) }
    }

    @Test("a row whose id was swapped for another's stays closed")
    func swappedID() throws {
        let (first, second) = (SigningKey(), SigningKey())
        let encryptionKey = try self.encryptionKey()
        let sealed = try first.sealed(with: encryptionKey)
        #expect(throws: CryptoKitError.self) { try SigningKey(sealed: sealed, id: second.id, with: encryptionKey) }
        #expect(throws: CryptoKitError.self) { try SigningKey(sealed: sealed, id: "", with: encryptionKey) }
    }

    @Test("a sealed key that was changed anywhere stays closed")
    func changed() throws {
        let key = SigningKey()
        let encryptionKey = try self.encryptionKey()
        let sealed = Array(try key.sealed(with: encryptionKey))
        for index in sealed.indices {
            var bytes = sealed
            bytes[index] ^= 0x80
            let changed = Data(bytes)
            #expect(throws: CryptoKitError.self) { try SigningKey(sealed: changed, id: key.id, with: encryptionKey) }
        }
        for count in [0, 1, 27, 28, sealed.count - 1] {
            let cut = Data(sealed.prefix(count))
            #expect(throws: CryptoKitError.self) { try SigningKey(sealed: cut, id: key.id, with: encryptionKey) }
        }
    }

    private func sign(with key: SigningKey) async throws -> String {
        try await key.sign(
            AccessToken(
                issuer: "https://auth.test", subject: "user-1", audience: ["platform"], expires: 1_800_000_900,
                issuedAt: 1_800_000_000, id: "t-1", clientID: "lantern", scope: "", roles: ["customer"],
                sessionID: "s-1"
            )
        )
    }
}

private struct OneKey: KeySource {
    let jwk: [String: String]

    func key(_ id: String) async throws(TokenError) -> JWK? {
        guard id == self.jwk["kid"], let data = try? JSONEncoder().encode(self.jwk) else { return nil }
        return try? JWK(json: String(decoding: data, as: UTF8.self))
    }
}
