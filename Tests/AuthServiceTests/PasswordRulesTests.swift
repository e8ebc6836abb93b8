@testable import AuthService
import Testing

@Suite("What a password must be")
struct PasswordRulesTests {
    @Test(
        "a password that nobody guesses is taken, in any script",
        arguments: [
            "korrekt pferd batterie", "Tr0ub4dor&3-xyz", "пароль длинный 42", "日本語のパスワード十二番", "7f3a9c1e5b2d8064",
            "x!9Kq#2mLp$7",
            "the quick brown fox", "ünïcödé pässwörd ok",
        ]
    )
    func accepts(password: String) {
        #expect(PasswordRules.fault(of: password, email: "ada.lovelace@example.org") == nil)
        #expect(PasswordRules.fault(of: password, email: nil) == nil)
    }

    @Test(
        "a common password is refused, however it is dressed up",
        arguments: [
            "passwordpassword", "PasswordPassword", "Password!2026", "p.a.s.s.w.o.r.d", "12password34", "qwertyuiop12",
            "QWERTYUIOP!!",
            "letmeinplease", "LetMeIn 123456", "iloveyou 2026!", "correct horse battery staple",
            "CorrectHorseBatteryStaple1",
            "123456789012", "1q2w3e4r5t6y", "abcd1234abcd", "changeme-changeme", "Administrator1", "superman#2026",
        ]
    )
    func common(password: String) {
        #expect(PasswordRules.length.contains(password.count))
        #expect(PasswordRules.fault(of: password, email: nil) == "is one of the most common passwords")
    }

    @Test(
        "the same few characters again and again are refused",
        arguments: [
            "aaaaaaaaaaaa", "abababababab", "abcabcabcabc", "AaAaAaAaAaAa", "111111111112", "............",
            "            ", "🏮🏮🏮🏮🏮🏮🏮🏮🏮🏮🏮🏮",
        ]
    )
    func fewCharacters(password: String) {
        #expect(PasswordRules.fault(of: password, email: nil) == "must not consist of the same few characters")
    }

    @Test(
        "a sequence is refused, up or down",
        arguments: ["mnopqrstuvwx", "MNOPQRSTUVWX", "zyxwvutsrqpo", "!\"#$%&'()*+,-", "абвгдежзийклм"])
    func sequences(password: String) {
        #expect(PasswordRules.fault(of: password, email: nil) == "must not be a sequence")
    }

    @Test(
        "the name of one's e-mail address is refused, in any case and with anything around it",
        arguments: [
            ("ada.lovelace", "ada.lovelace@example.org"), ("xxADA.LOVELACE-2026", "ada.lovelace@example.org"),
            ("my name is Ada.Lovelace", "ADA.LOVELACE@example.org"), ("grace-1906-12-09", "grace@example.org"),
        ]
    )
    func email(password: String, email: String) {
        #expect(PasswordRules.fault(of: password, email: email) == "must not contain the name of the e-mail address")
        #expect(PasswordRules.fault(of: password, email: "somebody.else@example.org") == nil)
    }

    @Test(
        "a name so short that it stands in any text by chance is no fault, nor is the domain",
        arguments: [
            ("cicada nebula 99", "ada@example.org"), ("x!9Kq#2mLp$7", "x@example.org"),
            ("example.org rocks", "grace@example.org"),
        ]
    )
    func shortName(password: String, email: String) {
        #expect(PasswordRules.fault(of: password, email: email) == nil)
    }

    @Test("it has at least twelve characters, and no more than hashing should be asked for")
    func length() {
        #expect([11, 12, 1_024, 1_025].map { PasswordRules.length.contains($0) } == [false, true, true, false])
    }
}
