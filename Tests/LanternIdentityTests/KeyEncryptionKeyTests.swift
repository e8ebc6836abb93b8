import Foundation
import LanternIdentity
import Testing

@Suite("The key that seals signing keys")
struct KeyEncryptionKeyTests {
    @Test("32 bytes in base64 are one", arguments: [UInt8(0), 7, 255])
    func reads(byte: UInt8) {
        #expect(KeyEncryptionKey(base64: Data(repeating: byte, count: 32).base64EncodedString()) != nil)
    }

    @Test("fewer or more bytes are none", arguments: [0, 1, 16, 24, 31, 33, 48, 64])
    func length(count: Int) {
        #expect(KeyEncryptionKey(base64: Data(repeating: 7, count: count).base64EncodedString()) == nil)
    }

    @Test(
        "other text is none, so that a password is not taken for a key",
        arguments: [
            "change me", String(repeating: "07", count: 32),
            // 32 bytes of 0xFF in base64url, without padding, and with something around.
            String(repeating: "_", count: 42) + "8=", String(repeating: "/", count: 42) + "8",
            " " + String(repeating: "/", count: 42) + "8=", String(repeating: "/", count: 42) + "8=\n",
        ]
    )
    func otherText(text: String) {
        #expect(KeyEncryptionKey(base64: text) == nil)
    }
}
