import Crypto
import CryptoExtras
import Foundation

/// A password as it is stored: scrypt (RFC 7914), with its parameters beside it:
/// `$scrypt$ln=15,r=8,p=1$<salt>$<hash>`, salt and hash in base64 without padding.
public struct PasswordHash: Sendable, Equatable {
    /// Cost parameters. Hashing takes `128 · r · 2^logN` bytes of memory.
    public struct Parameters: Sendable, Equatable {
        public var logN: Int
        public var r: Int
        public var p: Int

        public init(logN: Int, r: Int, p: Int) {
            self.logN = logN
            self.r = r
            self.p = p
        }

        /// 32 MiB, some 60 ms on a current core: OWASP's advice for scrypt with p = 3, of the same strength.
        public static let current = Parameters(logN: 15, r: 8, p: 3)
    }

    public let parameters: Parameters
    private let salt: Data
    private let hash: Data

    /// Hashes a password with a new salt. Takes long by design: call it off the request's event loop.
    public init(_ password: String, parameters: Parameters = .current) throws {
        var generator = SystemRandomNumberGenerator()
        let salt = Data((0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) })
        self.parameters = parameters
        self.salt = salt
        self.hash = try Self.derive(password, salt: salt, parameters)
    }

    /// Reads the stored form; `nil` where it is not one, or asks for absurd costs.
    public init?(stored: String) {
        let parts = stored.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0].isEmpty, parts[1] == "scrypt" else { return nil }
        let numbers = parts[2].split(separator: ",").map { $0.split(separator: "=") }
        guard numbers.count == 3, numbers.allSatisfy({ $0.count == 2 }), numbers.map({ $0[0] }) == ["ln", "r", "p"],
            let logN = Int(numbers[0][1]), let r = Int(numbers[1][1]), let p = Int(numbers[2][1]),
            // Above 16, swift-crypto's own memory limit refuses what RFC 7914 allows.
            (1...20).contains(logN), (1...16).contains(r), (1...16).contains(p),
            let salt = Self.decode(parts[3]), let hash = Self.decode(parts[4]), hash.count == 32
        else { return nil }
        self.parameters = Parameters(logN: logN, r: r, p: p)
        self.salt = salt
        self.hash = hash
    }

    public var stored: String {
        func encode(_ data: Data) -> String { data.base64EncodedString().replacing("=", with: "") }
        return "$scrypt$ln=\(self.parameters.logN),r=\(self.parameters.r),p=\(self.parameters.p)"
            + "$\(encode(self.salt))$\(encode(self.hash))"
    }

    /// Whether this is the password. Compares in constant time.
    public func matches(_ password: String) throws -> Bool {
        let other = try Self.derive(password, salt: self.salt, self.parameters)
        return zip(self.hash, other).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0 && self.hash.count == other.count
    }

    private static func derive(_ password: String, salt: Data, _ parameters: Parameters) throws -> Data {
        let key = try KDF.Scrypt.deriveKey(
            // One form for all ways to type the same text (RFC 8265, section 4.2.1).
            from: Data(password.precomposedStringWithCanonicalMapping.utf8), salt: salt, outputByteCount: 32,
            rounds: 1 << parameters.logN, blockSize: parameters.r, parallelism: parameters.p,
            maxMemory: 256 * parameters.r * (1 << parameters.logN)
        )
        return key.withUnsafeBytes { Data($0) }
    }

    private static func decode(_ text: Substring) -> Data? {
        Data(base64Encoded: text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4))
    }
}
