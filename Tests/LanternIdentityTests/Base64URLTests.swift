import Foundation
import LanternIdentity
import Testing

@Suite("base64url")
struct Base64URLTests {
    @Test(
        "bytes and text, by RFC 4648, section 10, without padding",
        arguments: [
            ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ]
    )
    func vectors(bytes: String, text: String) {
        #expect(Base64URL.encode(bytes.utf8) == text)
        #expect(Base64URL.decode(text) == Data(bytes.utf8))
    }

    @Test("the two characters that URLs cannot hold are replaced")
    func alphabet() {
        #expect(Base64URL.encode([0xFB, 0xFF, 0xBF] as [UInt8]) == "-_-_")
        #expect(Base64URL.decode("-_-_") == Data([0xFB, 0xFF, 0xBF]))
    }

    @Test("bytes of any number come back", arguments: 0...66)
    func roundTrip(count: Int) throws {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ count) }
        let text = Base64URL.encode(bytes)
        #expect(!text.contains("="))
        let decoded = try #require(Base64URL.decode(text))
        #expect(Array(decoded) == bytes)
    }

    @Test(
        "plain base64, padding, white space and anything else is refused",
        arguments: [
            "+_+_", "-/-/", "Zg==", "Zm8=", "Zg=", "=", "Z", "Zm9vY", " Zm9v", "Zm9v ", "Zm 9v", "Zm9v\n", "Zm9v\0",
            "Zm9v.", "Zm9é",
            "Ｚm9v", "Zm9-\u{301}",
        ]
    )
    func refuses(text: String) {
        #expect(Base64URL.decode(text) == nil)
    }
}
