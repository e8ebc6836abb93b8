import Crypto
public import Foundation
import JWTKit

/// An ES256 key pair that signs tokens, and its public half as a JWK.
public struct SigningKey: Sendable {
    /// The key's RFC 7638 thumbprint.
    public let id: String
    private let key: P256.Signing.PrivateKey

    /// A new key.
    public init() {
        self.init(P256.Signing.PrivateKey())
    }

    private init(_ key: P256.Signing.PrivateKey) {
        self.key = key
        let (x, y) = Self.coordinates(key.publicKey)
        // Members in lexicographic order, without white space (RFC 7638, section 3).
        let canonical = #"{"crv":"P-256","kty":"EC","x":"\#(x)","y":"\#(y)"}"#
        self.id = Base64URL.encode(SHA256.hash(data: Data(canonical.utf8)))
    }

    /// The public key, as it stands in the JWKS.
    public var publicJWK: [String: String] {
        let (x, y) = Self.coordinates(self.key.publicKey)
        return [
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.id, "alg": "ES256", "use": "sig",
        ]
    }

    /// A signed token with `typ: at+jwt`.
    public func sign(_ token: AccessToken) async throws -> String {
        let keys = JWTKeyCollection()
        await keys.add(ecdsa: try ES256PrivateKey(backing: self.key), kid: JWKIdentifier(string: self.id))
        return try await keys.sign(
            token, kid: JWKIdentifier(string: self.id), header: ["typ": .string("at+jwt")]
        )
    }

    // MARK: - Keeping it

    /// The private key, sealed with AES-256-GCM; the key id is bound to it, so that rows cannot be swapped.
    public func sealed(with encryptionKey: KeyEncryptionKey) throws -> Data {
        let box = try AES.GCM.seal(
            self.key.rawRepresentation, using: encryptionKey.key, authenticating: Data(self.id.utf8)
        )
        guard let combined = box.combined else { throw CryptoKitError.incorrectParameterSize }
        return combined
    }

    /// - Throws: `CryptoKitError` where the encryption key is not the one it was sealed with, or the bytes were changed.
    public init(sealed: Data, id: String, with encryptionKey: KeyEncryptionKey) throws {
        let raw = try AES.GCM.open(
            AES.GCM.SealedBox(combined: sealed), using: encryptionKey.key, authenticating: Data(id.utf8)
        )
        self.init(try P256.Signing.PrivateKey(rawRepresentation: raw))
    }

    private static func coordinates(_ key: P256.Signing.PublicKey) -> (x: String, y: String) {
        let raw = key.rawRepresentation
        return (Base64URL.encode(raw.prefix(32)), Base64URL.encode(raw.suffix(32)))
    }
}

/// What private keys are sealed with: 32 bytes.
public struct KeyEncryptionKey: Sendable {
    let key: SymmetricKey

    /// `nil` unless the text is base64 of 32 bytes.
    public init?(base64: String) {
        guard let data = Data(base64Encoded: base64), data.count == 32 else { return nil }
        self.key = SymmetricKey(data: data)
    }
}
