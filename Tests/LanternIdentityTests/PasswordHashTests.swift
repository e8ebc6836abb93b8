import Foundation
import LanternIdentity
import Testing

@Suite("Password hashes")
struct PasswordHashTests {
    /// As cheap as can be: what is tested here is not how long it takes.
    private static let cheap = PasswordHash.Parameters(logN: 4, r: 8, p: 1)

    @Test(
        "the password matches, through what is stored of it",
        arguments: ["correct horse battery", " spaces ", "pässwörd 🏮", "a"])
    func roundTrip(password: String) throws {
        let hash = try PasswordHash(password, parameters: Self.cheap)
        let stored = try #require(PasswordHash(stored: hash.stored))
        #expect(stored == hash)
        #expect(stored.parameters == Self.cheap)
        #expect(stored.stored == hash.stored)
        #expect(try stored.matches(password))
    }

    @Test(
        "nothing else matches",
        arguments: [
            "Correct horse battery", "correct horse batter", "correct horse battery ", " correct horse battery",
            "correct  horse battery", "correct-horse-battery", "x",
        ]
    )
    func wrong(password: String) throws {
        #expect(try !PasswordHash("correct horse battery", parameters: Self.cheap).matches(password))
    }

    @Test("one password has another hash each time")
    func salt() throws {
        let first = try PasswordHash("correct horse battery", parameters: Self.cheap)
        let second = try PasswordHash("correct horse battery", parameters: Self.cheap)
        #expect(first != second)
        #expect(first.stored != second.stored)
    }

    @Test("what is stored names algorithm and costs, and holds 16 bytes of salt and 32 of hash")
    func shape() throws {
        let stored = try PasswordHash("correct horse battery", parameters: Self.cheap).stored
        let shape = #/\$scrypt\$ln=4,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}/#
        #expect(stored.wholeMatch(of: shape) != nil)
        #expect(!stored.contains("horse"))
    }

    @Test(
        "hashes that other software made are understood",
        arguments: [
            // RFC 7914, section 12: the first 32 of the 64 bytes given there.
            ("password", "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWI"),
            ("pleaseletmein", "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI"),
        ]
    )
    func vectors(password: String, stored: String) throws {
        let hash = try #require(PasswordHash(stored: stored))
        #expect(try hash.matches(password))
        #expect(hash.stored == stored)
    }

    @Test(
        "the same text matches however it was typed",
        arguments: [
            ("p\u{E4}ssw\u{F6}rd", "pa\u{308}sswo\u{308}rd"), ("\u{C5}ngstr\u{F6}m", "\u{212B}ngstro\u{308}m"),
            ("Kelvin", "\u{212A}elvin"), ("\u{AC01}", "\u{1100}\u{1161}\u{11A8}"),
        ]
    )
    func normalised(composed: String, other: String) throws {
        #expect(Array(composed.utf8) != Array(other.utf8))
        #expect(try PasswordHash(composed, parameters: Self.cheap).matches(other))
        #expect(try PasswordHash(other, parameters: Self.cheap).matches(composed))
    }

    @Test(
        "letters that only look alike do not match",
        arguments: [("password", "p\u{430}ssword"), ("password", "\u{FF50}assword"), ("file", "\u{FB01}le")]
    )
    func lookalikes(password: String, other: String) throws {
        #expect(try !PasswordHash(password, parameters: Self.cheap).matches(other))
    }

    @Test(
        "costs that no sane hash has are refused before anything is worked out",
        arguments: [
            "ln=0,r=8,p=1", "ln=21,r=8,p=1", "ln=64,r=8,p=1", "ln=-1,r=8,p=1", "ln=99999999999999999999,r=8,p=1",
            "ln=15,r=0,p=1",
            "ln=15,r=17,p=1", "ln=15,r=-8,p=1", "ln=15,r=8,p=0", "ln=15,r=8,p=17", "ln=15,r=8,p=-1", "ln=1e1,r=8,p=1",
            "ln=,r=8,p=1",
        ]
    )
    func absurdCosts(costs: String) {
        #expect(PasswordHash(stored: "$scrypt$\(costs)$\(saltAndHash)") == nil)
    }

    @Test(
        "costs at the bounds are taken",
        arguments: ["ln=1,r=1,p=1", "ln=20,r=8,p=1", "ln=15,r=16,p=1", "ln=15,r=8,p=16"])
    func boundaryCosts(costs: String) {
        #expect(PasswordHash(stored: "$scrypt$\(costs)$\(saltAndHash)") != nil)
    }

    @Test(
        "what is not a stored hash is none",
        arguments: [
            "", "$", "$$$$", "correct horse battery", "$scrypt$ln=15,r=8,p=3$AAAA",
            "scrypt$ln=15,r=8,p=3$\(saltAndHash)",
            "$bcrypt$ln=15,r=8,p=3$\(saltAndHash)", "$Scrypt$ln=15,r=8,p=3$\(saltAndHash)",
            // Costs in another order, one too few, one too many.
            "$scrypt$r=8,ln=15,p=3$\(saltAndHash)", "$scrypt$ln=15,r=8$\(saltAndHash)",
            "$scrypt$ln=15,r=8,p=3,x=1$\(saltAndHash)",
            "$scrypt$ln=15;r=8;p=3$\(saltAndHash)", "$scrypt$15,8,3$\(saltAndHash)",
            // A part too many, a salt and hashes that are not.
            "$scrypt$ln=15,r=8,p=3$\(saltAndHash)$", "$scrypt$ln=15,r=8,p=3$!!!!$" + String(repeating: "A", count: 43),
            "$scrypt$ln=15,r=8,p=3$AAAAAAAAAAAAAAAAAAAAAA$", "$scrypt$ln=15,r=8,p=3$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
            "$scrypt$ln=15,r=8,p=3$AAAAAAAAAAAAAAAAAAAAAA$" + String(repeating: "A", count: 64),
            "$scrypt$ln=15,r=8,p=3$AAAAAAAAAAAAAAAAAAAAAA$" + String(repeating: "_", count: 43),
        ]
    )
    func malformed(stored: String) {
        #expect(PasswordHash(stored: stored) == nil)
    }

    @Test("new hashes cost what OWASP advises")
    func currentCosts() {
        // OWASP, Password Storage Cheat Sheet: N = 2^15 with r = 8 wants p = 3.
        #expect(PasswordHash.Parameters.current == PasswordHash.Parameters(logN: 15, r: 8, p: 3))
    }
}

/// 16 bytes of salt and 32 of hash, all zero.
private let saltAndHash = "AAAAAAAAAAAAAAAAAAAAAA$" + String(repeating: "A", count: 43)
