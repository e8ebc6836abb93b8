import Testing

@testable import LanternLogging

/// The rule as one would say it: the letters of the key, in lower case, contain one of the words.
private func contains(_ key: String, anyOf words: [String]) -> Bool {
    let letters = key.unicodeScalars.filter { $0.isASCII && $0.properties.isAlphabetic }
    let folded = Array(String(String.UnicodeScalarView(letters)).lowercased().utf8)
    return words.contains { word in
        let word = Array(word.utf8)
        return folded.indices.contains { folded[$0...].starts(with: word) }
    }
}

@Suite("Keys that name a secret")
struct RedactionAutomatonTests {
    private static let words = [
        "password", "passwd", "passphrase", "secret", "authorization", "cookie", "token", "apikey", "privatekey",
        "credential",
    ]

    /// A key of pieces of the words, and of what is passed over.
    private func key(_ words: [String], using dice: inout SeededGenerator) -> String {
        let between = [
            "-", "_", ".", " ", "/", "0", "9", "@", "[", "`", "{", "\u{0}", "é", "ß", "\u{301}", "😀", "あ", "\u{FF41}",
        ]
        var key = ""
        for _ in 0..<Int.random(in: 1...4, using: &dice) {
            let word = words.randomElement(using: &dice) ?? ""
            let start = Int.random(in: 0...1, using: &dice) * Int.random(in: 0..<word.count, using: &dice)
            let end = Bool.random(using: &dice) ? word.count : Int.random(in: start...word.count, using: &dice)
            for letter in word.dropFirst(start).prefix(end - start) {
                key += Int.random(in: 0..<4, using: &dice) == 0 ? letter.uppercased() : String(letter)
                if Int.random(in: 0..<8, using: &dice) == 0 { key += between.randomElement(using: &dice) ?? "" }
                if Int.random(in: 0..<60, using: &dice) == 0 { key += "x" }
            }
        }
        return key
    }

    @Test("keys by chance are hidden as the rule says", arguments: 0..<10)
    func keys(seed: UInt64) {
        var dice = SeededGenerator(seed: seed)
        var hidden = 0
        for _ in 0..<2_000 {
            let key = self.key(Self.words, using: &dice)
            let expected = contains(key, anyOf: Self.words)
            #expect(Redaction.hides(key) == expected, "seed \(seed), key \(key.debugDescription)")
            if expected { hidden += 1 }
        }
        // Chance that always hides, or never, would test nothing.
        #expect((200...1_800).contains(hidden))
    }

    @Test(
        "letters count, in whatever case, and nothing else does",
        arguments: [
            ("PASSWORD", true), ("pass_word", true), ("p.a.s.s.w.d", true), ("pass\u{301}word", true),
            ("passpassword", true), ("passwopassword", true), ("ppassphrase", true), ("tokentoken", true),
            ("api-key", true), ("apiKeys", true), ("toke n", true), ("secre-t", true),
            ("", false), ("-", false), ("api", false), ("passwor", false), ("pässword", false), ("p@ssword", false),
            ("x-forwarded-for", false), ("authorisation", false),
        ]
    )
    func examples(key: String, isHidden: Bool) {
        #expect(Redaction.hides(key) == isHidden)
    }
}
