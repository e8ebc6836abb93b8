import Crypto
import Foundation
import JWTKit
import LanternIdentity
import Synchronization
import Testing

@Suite("Access tokens are verified")
struct TokenVerifierTests {
    private static let now: Int64 = 1_800_000_000
    private static let header = #"{"alg":"ES256","typ":"at+jwt","kid":"hand"}"#

    private let signer = HandSigner()

    private func verifier(_ keys: (any KeySource)? = nil, leeway: Int64 = 30) throws -> TokenVerifier {
        TokenVerifier(
            issuer: "https://auth.test", audience: "platform", keys: try keys ?? KnownKeys(["hand": self.signer.jwk]),
            leeway: leeway
        )
    }

    private func claims(_ change: (inout AccessToken) -> Void = { _ in }) -> AccessToken {
        var token = AccessToken(
            issuer: "https://auth.test", subject: "user-1", audience: ["platform"], expires: Self.now + 900,
            issuedAt: Self.now, id: "t-1", clientID: "lantern", scope: "orders:read", roles: ["customer"],
            sessionID: "s-1"
        )
        change(&token)
        return token
    }

    /// Why a token is refused.
    private func refusal(of token: String, _ verifier: TokenVerifier? = nil) async throws -> TokenError.Code {
        let verifier = try verifier ?? self.verifier()
        let error = try await #require(throws: TokenError.self) { try await verifier.verify(token, now: Self.now) }
        return error.code
    }

    // MARK: - What passes

    @Test("a token that our key signed gives its claims")
    func valid() async throws {
        let key = SigningKey()
        let claims = self.claims()
        let verified = try await self.verifier(KnownKeys([key.id: key.publicJWK])).verify(
            try await key.sign(claims), now: Self.now)
        #expect(try Self.json(verified) == Self.json(claims))
    }

    @Test("a client's RS256 token, signed by another implementation, is accepted; what it leaves out is empty")
    func rs256() async throws {
        // Signed with Python's cryptography; its payload is
        // {"iss":"https://auth.test","sub":"client-1","aud":"platform","exp":1800000900,"iat":1800000000,"jti":"t-1",
        //  "client_id":"till","scope":"payments:write"}
        let keys = try KnownKeys([
            "rsa-1": [
                "kty": "RSA", "kid": "rsa-1", "alg": "RS256", "use": "sig", "e": "AQAB",
                "n":
                    "vFcCXICKm56onfdyIxne6Gpbb7WSE12xgd37zIcZ8mWhmcyvj5niTW1yVtloPtl2G8znDDJzkRypFlNVL5DbSjUPk1K2__9SAqwlC7FpGD13"
                    + "JXBIHaO7kxcxzBYYMVo2FMcqfnbnhq_5wkLVwFlRIayPdQ6nvkkqmS4dKTiaUuMebo_qNSp9GJjB6CvCjWAPbqhgTH0IrmISW0GEtga0"
                    + "Oj3AmZl5gJydHsLim492bcF7XpWH7oIKSHWc0qZP-HoozNIgcnw_CfYxHqVtM_fYorKZB_Xd4KkI3RXSEcxurdAXeO1qa9-_gzJr75rQ"
                    + "F3w3fkYaEsthLc6YAlDbL987wQ",
            ]
        ])
        let token =
            "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6InJzYS0xIn0."
            + "eyJpc3MiOiJodHRwczovL2F1dGgudGVzdCIsInN1YiI6ImNsaWVudC0xIiwiYXVkIjoicGxhdGZvcm0iLCJleHAiOjE4MDAwMDA5MDAsImlhdCI6MTgw"
            + "MDAwMDAwMCwianRpIjoidC0xIiwiY2xpZW50X2lkIjoidGlsbCIsInNjb3BlIjoicGF5bWVudHM6d3JpdGUifQ."
            + "VOLt0x22gSIz0ekhtKsx1EoqDJQk1oHvKexZnpQLd_5rSNTziBCZQ356TwSBDL-P435IGvXGICfLJPLqPiz93j8mjMBYPs8IamNx8ux5ULpLOSTSXxfY"
            + "UhSR5jj9nSqiscllQHkViheJVzgWd9z3YZ0at5BKoswoa6qunxj4sQfYy-ZZ4EiyXSPJNhO0GS9725wd6I0NOimsmNX8D5PeyYrdhKmX_UH7_0jnJpxz"
            + "SLT0rpTlDPDG0AtMJl72P6AfOJ4-hAlmoYi2kExRfLdopBSzXR5tcd_P9wX7EMPe8MyeeBMJ6hhXpnyX07PtEG8zvXHca_X-pDOSBiN9fjuA7A"
        let claims = try await self.verifier(keys).verify(token, now: Self.now)
        #expect(claims.subject == "client-1")
        #expect(claims.audience == ["platform"])
        #expect(claims.scope == "payments:write")
        #expect(claims.roles == [])
        #expect(claims.sessionID == nil)
    }

    @Test(
        "the audience may be a plain string", arguments: [#""platform""#, #"["platform"]"#, #"["other","platform"]"#])
    func audience(json: String) async throws {
        let payload = Self.payload.replacing(#""aud":["platform"]"#, with: #""aud":"# + json)
        let token = try self.signer.token(Self.header, payload)
        #expect(try await self.verifier().verify(token, now: Self.now).audience.contains("platform"))
    }

    @Test(
        "the media type of the token may be written in full and in any case",
        arguments: ["at+jwt", "AT+JWT", "application/at+jwt"])
    func types(type: String) async throws {
        let token = try self.signer.token(Self.header.replacing("at+jwt", with: type), Self.payload)
        #expect(try await self.verifier().verify(token, now: Self.now).subject == "user-1")
    }

    // MARK: - Time

    @Test(
        "a token ends when it says so, but for the leeway of clocks",
        arguments: [(900, true), (1, true), (0, true), (-29, true), (-30, false), (-31, false), (-900, false)]
            as [(Int64, Bool)]
    )
    func expiry(seconds: Int64, isValid: Bool) async throws {
        let token = try self.signer.token(self.claims { $0.expires = Self.now + seconds })
        if isValid {
            #expect(try await self.verifier().verify(token, now: Self.now).id == "t-1")
        } else {
            #expect(try await self.refusal(of: token) == .expired)
        }
    }

    @Test("without leeway a token is no longer good at the second it ends (RFC 7519, section 4.1.4)")
    func noLeeway() async throws {
        let token = try self.signer.token(self.claims { $0.expires = Self.now })
        #expect(try await self.refusal(of: token, self.verifier(leeway: 0)) == .expired)
    }

    @Test(
        "a token from the future is refused, but for the leeway",
        arguments: [(30, true), (31, false), (86_400, false)] as [(Int64, Bool)])
    func future(seconds: Int64, isValid: Bool) async throws {
        let token = try self.signer.token(self.claims { $0.issuedAt = Self.now + seconds })
        if isValid {
            #expect(try await self.verifier().verify(token, now: Self.now).id == "t-1")
        } else {
            #expect(try await self.refusal(of: token) == .malformed)
        }
    }

    @Test(
        "a token is no good before its time, but for the leeway (RFC 7519, section 4.1.5)",
        arguments: [(-900, true), (30, true), (31, false)] as [(Int64, Bool)])
    func notBefore(seconds: Int64, isValid: Bool) async throws {
        let token = try self.signer.token(self.claims { $0.notBefore = Self.now + seconds })
        if isValid {
            #expect(try await self.verifier().verify(token, now: Self.now).id == "t-1")
        } else {
            #expect(try await self.refusal(of: token) == .notYetValid)
        }
    }

    // MARK: - For whom, from whom

    @Test(
        "a token of another issuer is refused",
        arguments: [
            "", "https://auth.test/", "https://AUTH.test", "https://auth.test.evil.example", "https://evil.example",
        ]
    )
    func issuer(issuer: String) async throws {
        let token = try self.signer.token(self.claims { $0.issuer = issuer })
        #expect(try await self.refusal(of: token) == .wrongIssuer)
    }

    @Test(
        "a token for somebody else is refused",
        arguments: [[], ["other"], ["platform2"], ["PLATFORM"], ["plat", "form"], [""]])
    func otherAudience(audience: [String]) async throws {
        let token = try self.signer.token(self.claims { $0.audience = audience })
        #expect(try await self.refusal(of: token) == .wrongAudience)
    }

    @Test("a claim that is missing is not made up", arguments: ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"])
    func missingClaim(name: String) async throws {
        var claims = try #require(
            try JSONSerialization.jsonObject(with: Data(Self.payload.utf8)) as? [String: Any]
        )
        claims[name] = nil
        let payload = String(decoding: try JSONSerialization.data(withJSONObject: claims), as: UTF8.self)
        let token = try self.signer.token(Self.header, payload)
        await #expect(throws: TokenError.self) { try await self.verifier().verify(token, now: Self.now) }
    }

    @Test(
        "a claim of another type is refused",
        arguments: [
            (#""exp":1800000900"#, #""exp":"1800000900""#), (#""exp":1800000900"#, #""exp":1e300"#),
            (#""exp":1800000900"#, #""exp":null"#), (#""aud":["platform"]"#, #""aud":{"platform":true}"#),
            (#""sub":"user-1""#, #""sub":1"#), (#""roles":["customer"]"#, #""roles":"admin""#),
        ]
    )
    func wrongType(claim: String, spoiled: String) async throws {
        let payload = Self.payload.replacing(claim, with: spoiled)
        #expect(payload != Self.payload)
        let token = try self.signer.token(Self.header, payload)
        await #expect(throws: TokenError.self) { try await self.verifier().verify(token, now: Self.now) }
    }

    // MARK: - The header

    @Test(
        "a header that is not an access token's is refused, though the signature is good",
        arguments: [
            // Of another kind: an ID token must not pass for an access token (RFC 9068, section 4).
            (#"{"alg":"ES256","kid":"hand"}"#, .malformed), (#"{"alg":"ES256","typ":"JWT","kid":"hand"}"#, .malformed),
            (#"{"alg":"ES256","typ":"","kid":"hand"}"#, .malformed),
            (#"{"alg":"ES256","typ":null,"kid":"hand"}"#, .malformed),
            (#"{"alg":"ES256","typ":"application/jwt","kid":"hand"}"#, .malformed),
            // Of another algorithm, or none.
            (#"{"alg":"none","typ":"at+jwt","kid":"hand"}"#, .signature),
            (#"{"alg":"None","typ":"at+jwt","kid":"hand"}"#, .signature),
            (#"{"alg":"","typ":"at+jwt","kid":"hand"}"#, .signature),
            (#"{"alg":"es256","typ":"at+jwt","kid":"hand"}"#, .signature),
            (#"{"alg":"HS256","typ":"at+jwt","kid":"hand"}"#, .signature),
            (#"{"alg":"ES384","typ":"at+jwt","kid":"hand"}"#, .signature),
            (#"{"alg":"PS256","typ":"at+jwt","kid":"hand"}"#, .signature),
            (#"{"alg":"RS256","typ":"at+jwt","kid":"hand"}"#, .signature),
            (#"{"typ":"at+jwt","kid":"hand"}"#, .malformed), (#"{"alg":null,"typ":"at+jwt","kid":"hand"}"#, .malformed),
            // Of a key that is not said, or not ours.
            (#"{"alg":"ES256","typ":"at+jwt"}"#, .unknownKey),
            (#"{"alg":"ES256","typ":"at+jwt","kid":null}"#, .unknownKey),
            (#"{"alg":"ES256","typ":"at+jwt","kid":""}"#, .unknownKey),
            (#"{"alg":"ES256","typ":"at+jwt","kid":"HAND"}"#, .unknownKey),
            (#"{"alg":"ES256","typ":"at+jwt","kid":"../hand"}"#, .unknownKey),
            (#"{"alg":"ES256","typ":"at+jwt","kid":7}"#, .malformed),
            // With extensions that must be understood (RFC 7515, section 4.1.11).
            (#"{"alg":"ES256","typ":"at+jwt","kid":"hand","crit":["exp"],"exp":1}"#, .malformed),
            (#"{"alg":"ES256","typ":"at+jwt","kid":"hand","crit":["b64"],"b64":false}"#, .malformed),
            (#"{"alg":"ES256","typ":"at+jwt","kid":"hand","crit":[]}"#, .malformed),
            (#"{"alg":"ES256","typ":"at+jwt","kid":"hand","crit":"exp"}"#, .malformed),
        ] as [(String, TokenError.Code)]
    )
    func header(header: String, code: TokenError.Code) async throws {
        let token = try self.signer.token(header, Self.payload)
        #expect(try await self.refusal(of: token) == code)
    }

    @Test("keys that the token brings itself are not looked at")
    func ownKeys() async throws {
        let stranger = HandSigner()
        let jwk = String(decoding: try JSONEncoder().encode(stranger.jwk), as: UTF8.self)
        for header in [
            #"{"alg":"ES256","typ":"at+jwt","kid":"hand","jwk":\#(jwk)}"#,
            #"{"alg":"ES256","typ":"at+jwt","kid":"hand","jku":"https://evil.example/jwks.json","x5u":"https://evil.example/x"}"#,
        ] {
            let token = try stranger.token(header, Self.payload)
            #expect(try await self.refusal(of: token) == .signature)
        }
    }

    @Test("a key that does not say its algorithm verifies nothing")
    func keyWithoutAlgorithm() async throws {
        var jwk = self.signer.jwk
        jwk["alg"] = nil
        let token = try self.signer.token(self.claims())
        #expect(try await self.refusal(of: token, self.verifier(KnownKeys(["hand": jwk]))) == .signature)
    }

    // MARK: - The signature

    @Test("an unsigned token is refused, whatever it calls itself", arguments: ["none", "NONE", "ES256", "HS256"])
    func unsigned(algorithm: String) async throws {
        let header = Self.header.replacing("ES256", with: algorithm)
        let token = "\(Base64URL.encode(header.utf8)).\(Base64URL.encode(Self.payload.utf8))."
        #expect(try await self.refusal(of: token) == .signature)
    }

    @Test("the public key is no secret: an HMAC made with it is refused", arguments: ["HS256", "ES256"])
    func publicKeyAsSecret(algorithm: String) async throws {
        let publicKey = self.signer.key.publicKey
        let secrets = [
            publicKey.rawRepresentation, publicKey.x963Representation, publicKey.derRepresentation,
            Data(publicKey.pemRepresentation.utf8), try JSONEncoder().encode(self.signer.jwk),
        ]
        let header = Self.header.replacing("ES256", with: algorithm)
        let input = "\(Base64URL.encode(header.utf8)).\(Base64URL.encode(Self.payload.utf8))"
        for secret in secrets {
            let code = HMAC<SHA256>.authenticationCode(for: Data(input.utf8), using: SymmetricKey(data: secret))
            #expect(try await self.refusal(of: "\(input).\(Base64URL.encode(code))") == .signature)
        }
    }

    @Test("claims that were changed on the way are refused")
    func tamperedPayload() async throws {
        let token = try self.signer.token(Self.header, Self.payload)
        let parts = token.split(separator: ".")
        let payload = Self.payload.replacing("customer", with: "admin")
        #expect(payload != Self.payload)
        #expect(try await self.refusal(of: "\(parts[0]).\(Base64URL.encode(payload.utf8)).\(parts[2])") == .signature)
    }

    @Test("a header that was changed on the way is refused")
    func tamperedHeader() async throws {
        let token = try self.signer.token(Self.header, Self.payload)
        let parts = token.split(separator: ".")
        let header = Base64URL.encode((Self.header + " ").utf8)
        #expect(try await self.refusal(of: "\(header).\(parts[1]).\(parts[2])") == .signature)
    }

    @Test("a signature that was changed, cut, lengthened or left out is refused")
    func tamperedSignature() async throws {
        let token = try self.signer.token(Self.header, Self.payload)
        let parts = token.split(separator: ".")
        let signature = Array(try #require(Base64URL.decode(String(parts[2]))))
        #expect(signature.count == 64)
        var flipped: [[UInt8]] = []
        for index in [0, 31, 32, 63] {
            var changed = signature
            changed[index] ^= 1
            flipped.append(changed)
        }
        // All zeros pass for a signature of anything where nobody checks the range of r and s (CVE-2022-21449).
        let others: [[UInt8]] = [
            [], Array(signature.dropLast()), signature + [0], Array(repeating: 0, count: 64), [0x30, 0x00],
        ]
        for changed in flipped + others {
            #expect(try await self.refusal(of: "\(parts[0]).\(parts[1]).\(Base64URL.encode(changed))") == .signature)
        }
    }

    @Test("a token that another key signed is refused, though it names ours")
    func otherKey() async throws {
        let token = try HandSigner().token(Self.header, Self.payload)
        #expect(try await self.refusal(of: token) == .signature)
    }

    @Test("a signature in base64 with padding is no JWS (RFC 7515, section 2)")
    func paddedSignature() async throws {
        let token = try self.signer.token(Self.header, Self.payload) + "=="
        #expect(try await self.refusal(of: token) == .malformed)
    }

    // MARK: - What is no token at all

    @Test(
        "anything else is malformed, and no key is asked for",
        arguments: [
            "", " ", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d", "Bearer a.b.c", "é.é.é", "🏮.🏮.🏮", "\0.\0.\0",
            // {} and [] and 1 as headers, with a payload of {}.
            "e30.e30.e30", "W10.e30.e30", "MQ.e30.e30", ".e30.e30", "e30=.e30.e30", "e3 0.e30.e30",
            // A token in five parts is encrypted.
            "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AA.AA.AA",
        ]
    )
    func garbage(token: String) async throws {
        let keys = try KnownKeys(["hand": self.signer.jwk])
        #expect(try await self.refusal(of: token, self.verifier(keys)) == .malformed)
        #expect(keys.asked == [])
    }

    @Test("a token may be so long and no longer, however good it is")
    func tooLong() async throws {
        let keys = try KnownKeys(["hand": self.signer.jwk])
        let token = try self.signer.token(self.claims { $0.scope = String(repeating: "x", count: 13_000) })
        #expect(token.utf8.count > 16_384)
        #expect(try await self.refusal(of: token, self.verifier(keys)) == .malformed)
        #expect(keys.asked == [])

        let shorter = try self.signer.token(self.claims { $0.scope = String(repeating: "x", count: 11_000) })
        #expect(try await self.verifier(keys).verify(shorter, now: Self.now).id == "t-1")
    }

    @Test(
        "a good token with something around it is another text",
        arguments: [" ", "\n", "\t", "\0", "Bearer ", ".", "e30."])
    func surrounded(text: String) async throws {
        let token = try self.signer.token(self.claims())
        for changed in [text + token, token + text] {
            await #expect(throws: TokenError.self) { try await self.verifier().verify(changed, now: Self.now) }
        }
    }

    @Test("while nobody knows the keys the token is neither good nor bad")
    func keysUnavailable() async throws {
        let token = try self.signer.token(self.claims())
        #expect(try await self.refusal(of: token, self.verifier(NoKeys())) == .keysUnavailable)
    }

    @Test("the key that the token names is asked for, once")
    func asksOnce() async throws {
        let keys = try KnownKeys(["hand": self.signer.jwk, "other": HandSigner().jwk])
        _ = try await self.verifier(keys).verify(try self.signer.token(self.claims()), now: Self.now)
        #expect(keys.asked == ["hand"])
    }

    @Test("errors tell nothing of the token's content")
    func quietErrors() async throws {
        let token = try self.signer.token(
            self.claims {
                $0.subject = "s3cret"; $0.issuer = "s3cret"
            })
        let verifier = try self.verifier()
        let error = try await #require(throws: TokenError.self) { try await verifier.verify(token, now: Self.now) }
        #expect(!error.description.contains("s3cret"))
    }

    /// What ``claims(_:)`` says, as the text that is signed by hand.
    private static let payload =
        #"{"iss":"https://auth.test","sub":"user-1","aud":["platform"],"exp":1800000900,"iat":1800000000,"jti":"t-1","#
        + #""client_id":"lantern","scope":"orders:read","roles":["customer"],"sid":"s-1"}"#

    private static func json(_ token: AccessToken) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(token), as: UTF8.self)
    }

    /// A key pair whose tokens are put together by hand, so that each rule can be broken on its own.
    private struct HandSigner {
        let key = P256.Signing.PrivateKey()

        var jwk: [String: String] {
            let raw = self.key.publicKey.rawRepresentation
            return [
                "kty": "EC", "crv": "P-256", "x": Base64URL.encode(raw.prefix(32)),
                "y": Base64URL.encode(raw.suffix(32)),
                "kid": "hand", "alg": "ES256", "use": "sig",
            ]
        }

        func token(_ header: String, _ payload: String) throws -> String {
            let input = "\(Base64URL.encode(header.utf8)).\(Base64URL.encode(payload.utf8))"
            let signature = try self.key.signature(for: Data(input.utf8))
            return "\(input).\(Base64URL.encode(signature.rawRepresentation))"
        }

        func token(_ claims: AccessToken) throws -> String {
            try self.token(
                #"{"alg":"ES256","typ":"at+jwt","kid":"hand"}"#,
                String(decoding: try JSONEncoder().encode(claims), as: UTF8.self)
            )
        }
    }

    /// A key set that never changes, and remembers what it was asked.
    private final class KnownKeys: KeySource {
        private let keys: [String: JWK]
        private let questions = Mutex<[String]>([])

        init(_ keys: [String: [String: String]]) throws {
            self.keys = try keys.mapValues { try JWK(json: String(decoding: JSONEncoder().encode($0), as: UTF8.self)) }
        }

        var asked: [String] { self.questions.withLock { $0 } }

        func key(_ id: String) async throws(TokenError) -> JWK? {
            self.questions.withLock { $0.append(id) }
            return self.keys[id]
        }
    }

    /// A key set that could never be fetched.
    private struct NoKeys: KeySource {
        func key(_ id: String) async throws(TokenError) -> JWK? {
            throw TokenError(code: .keysUnavailable, message: "the key set could not be fetched")
        }
    }
}
