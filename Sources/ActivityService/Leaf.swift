import Crypto
import Foundation
import Lantern

/// A leaf of the log: what is hashed of an event (`docs/wire.md`, "Leaf bytes").
///
/// Data and personal fields go in by salted hashes only, so that both can be erased while the leaf, and every proof that
/// rests on it, stays as it is.
struct Leaf: Sendable {
    var dataSalt: [UInt8]
    var personalSalt: [UInt8]

    /// With new salts of 32 bytes each.
    init() { self = Self.make(1)[0] }

    /// So many, whose salts are asked of the kernel together: for each alone that is a call that costs more than the hashes.
    static func make(_ count: Int) -> [Leaf] {
        guard count > 0 else { return [] }
        // From the generator of keys: one that asks the kernel for each byte would cost more than all the rest of an entry.
        return SymmetricKey(size: SymmetricKeySize(bitCount: 512 * count)).withUnsafeBytes { random in
            (0..<count).map { index in
                Leaf(
                    dataSalt: Array(random[(index * 64)..<(index * 64 + 32)]),
                    personalSalt: Array(random[(index * 64 + 32)..<(index * 64 + 64)]))
            }
        }
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
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512)
        for field in fields { LengthPrefixed.append(field.utf8, to: &bytes) }
        LengthPrefixed.append(Self.digest(self.dataSalt, event.data), to: &bytes)
        LengthPrefixed.append(Self.digest(self.personalSalt, personal), to: &bytes)
        return bytes
    }

    /// RFC 6962, section 2.1: the hash of a leaf is that of a zero byte and its bytes.
    static func hash(_ bytes: [UInt8]) -> [UInt8] { self.digest([0], bytes) }

    private static func digest(_ first: [UInt8], _ second: [UInt8]) -> [UInt8] {
        var hash = SHA256()
        hash.update(data: first)
        hash.update(data: second)
        return Array(hash.finalize())
    }
}
