import Crypto
import Foundation
import Lantern

/// A leaf of the log: what is hashed of an event (`docs/wire.md`, "Leaf bytes").
///
/// Data and personal fields go in by salted hashes only, so that both can be erased while the leaf, and every proof that
/// rests on it, stays as it is.
struct Leaf {
    var dataSalt: [UInt8]
    var personalSalt: [UInt8]

    /// With new salts of 32 bytes each.
    init() {
        var generator = SystemRandomNumberGenerator()
        func salt() -> [UInt8] { (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) } }
        self.init(dataSalt: salt(), personalSalt: salt())
    }

    init(dataSalt: [UInt8], personalSalt: [UInt8]) {
        self.dataSalt = dataSalt
        self.personalSalt = personalSalt
    }

    /// The leaf's bytes.
    func bytes(of event: EventEnvelope, time: Timestamp, traceID: String?) -> [UInt8] {
        let fields: [String] = [
            "lantern-entry/v1", event.source, event.epoch.map(String.init) ?? "", event.sequence.map(String.init) ?? "",
            event.id, event.type, time.description, event.tenant, event.actor.id, event.subject ?? "",
            event.outcome.rawValue, traceID ?? "",
        ]
        let personal = LengthPrefixed.encode([Array((event.actor.ip ?? "").utf8)])
        return LengthPrefixed.encode(
            fields.map { Array($0.utf8) }
                + [Self.digest(self.dataSalt + event.data), Self.digest(self.personalSalt + personal)]
        )
    }

    /// RFC 6962, section 2.1: the hash of a leaf is that of a zero byte and its bytes.
    static func hash(_ bytes: [UInt8]) -> [UInt8] { self.digest([0] + bytes) }

    private static func digest(_ bytes: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: bytes)) }
}
