import CLanternLogging
public import Logging

/// How sensitive a metadata value is, as a swift-log attribute:
/// `logger.info("…", metadata: ["email": "\(email, attributes: [Sensitivity.sensitive])"])`.
public enum Sensitivity: Int64, Sendable, Logger.MetadataValueAttributes.Attribute {
    /// May be shown to whoever reads the logs.
    case `public` = 0
    /// Is written as `"***"`.
    case sensitive = 1
}

/// Which metadata values never reach a line: those marked sensitive, and those whose key names a secret.
enum Redaction {
    /// Compared with the letters of a key, in any case, wherever they stand in it.
    private static let secrets = [
        "password", "passwd", "passphrase", "secret", "authorization", "cookie", "token", "apikey", "privatekey",
        "credential",
    ]

    /// Whether a key names a secret.
    static func hides(_ key: String) -> Bool {
        if let hides = key.utf8.withContiguousStorageIfAvailable(self.matches) { return hides }
        return Array(key.utf8).withUnsafeBufferPointer(self.matches)
    }

    private static func matches(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        self.automaton.withUnsafeBufferPointer {
            lantern_finds_word($0.baseAddress, text.baseAddress, UInt64(text.count)) != 0
        }
    }

    /// For each state, where each letter leads, in rows of 32: finds any of the words in one pass (Aho and Corasick, 1975).
    static let automaton: [UInt8] = {
        let found = UInt8.max
        // Children of each state, by letter; 0 for none.
        var children = [[Int]](repeating: [Int](repeating: 0, count: 26), count: 1)
        var ends: Set<Int> = []
        for word in Redaction.secrets {
            var state = 0
            for letter in word.utf8.map({ Int($0 - UInt8(ascii: "a")) }) {
                if children[state][letter] == 0 {
                    children.append([Int](repeating: 0, count: 26))
                    children[state][letter] = children.count - 1
                }
                state = children[state][letter]
            }
            ends.insert(state)
        }
        precondition(children.count < Int(found), "too many words for states of one byte")
        // Where a letter does not lead on, go on as if the text had begun later.
        var fallback = [Int](repeating: 0, count: children.count)
        var queue = children[0].filter { $0 != 0 }
        while !queue.isEmpty {
            let state = queue.removeFirst()
            if ends.contains(fallback[state]) { ends.insert(state) }
            for letter in 0..<26 {
                let child = children[state][letter]
                if child != 0 {
                    fallback[child] = children[fallback[state]][letter]
                    queue.append(child)
                } else {
                    children[state][letter] = children[fallback[state]][letter]
                }
            }
        }
        return children.flatMap { row in
            row.map { ends.contains($0) ? found : UInt8($0) } + [UInt8](repeating: 0, count: 6)
        }
    }()
}
