@testable import AuthService
import Testing

@Suite("E-mail addresses")
struct EmailAddressTests {
    @Test(
        "what may be an address is taken as it is",
        arguments: [
            "ada@example.org", "Ada.Lovelace@Example.ORG", "ada+orders@mail.example.org", "o'brien@example.org",
            "_@example.org",
            "ada@localhost", "ada@xn--exmple-cua.org", "ädä@exämple.org", "用户@例子.公司", "ada@[192.0.2.1]", "1@2.3",
            String(repeating: "x", count: 64) + "@example.org",
            String(repeating: "x", count: 64) + "@" + String(repeating: "y", count: 189),
        ]
    )
    func accepts(text: String) {
        #expect(EmailAddress.parse(text) == text)
    }

    @Test(
        "what cannot be one is refused",
        arguments: [
            "", " ", "@", "ada", "ada@", "@example.org", "ada@@example.org", "ada@home@example.org", "ada@.",
            "ada@.org", "ada@example.",
            "ada@example..org", "ada at example.org",
        ]
    )
    func refuses(text: String) {
        #expect(EmailAddress.parse(text) == nil)
    }

    @Test(
        "white space and control characters are refused, wherever they stand",
        arguments: [
            " ", "\t", "\n", "\r\n", "\0", "\u{7F}", "\u{85}", "\u{A0}", "\u{1680}", "\u{2003}", "\u{2028}", "\u{202F}",
            "\u{3000}",
        ]
    )
    func space(character: String) {
        for text in [
            "\(character)ada@example.org", "a\(character)da@example.org", "ada@exam\(character)ple.org",
            "ada@example.org\(character)",
        ] {
            #expect(EmailAddress.parse(text) == nil)
        }
    }

    @Test("a header cannot be smuggled in by a line break")
    func headerInjection() {
        #expect(EmailAddress.parse("ada@example.org\r\nBcc:everybody@example.org") == nil)
    }

    @Test("an address has its limits (RFC 5321, section 4.5.3.1)")
    func limits() {
        #expect(EmailAddress.parse(String(repeating: "x", count: 65) + "@example.org") == nil)
        #expect(EmailAddress.parse(String(repeating: "x", count: 64) + "@" + String(repeating: "y", count: 190)) == nil)
        // In bytes: a database column and a mail server count those.
        #expect(EmailAddress.parse(String(repeating: "ä", count: 33) + "@example.org") == nil)
    }
}
