/// What a statement does to what, for span names and labels: `INSERT outbox`. Read from the text, without parsing it all:
/// the last verb at nesting depth 0, and the name behind FROM, INTO, UPDATE or TABLE that belongs to it.
struct StatementSummary: CustomStringConvertible, Equatable {
    var operation: String
    var collection: String

    var description: String { self.collection.isEmpty ? self.operation : "\(self.operation) \(self.collection)" }

    init(operation: String, collection: String) {
        self.operation = operation
        self.collection = collection
    }

    init(_ text: String) {
        var depth = 0
        var word = ""
        var words: [String] = []
        var quoted = false
        for character in Self.withoutComments(text) {
            if character == "'" { quoted.toggle() }
            if !quoted, character == "(" {
                // Stands for what is in the brackets: a subquery is no table, and the word behind it is its alias.
                if depth == 0 {
                    if !word.isEmpty { words.append(word) }
                    words.append("(")
                    word = ""
                }
                depth += 1
            }
            if depth == 0, !quoted,
                character.properties.isAlphabetic || character == "_" || character == "."
                    || ("0"..."9").contains(character)
            {
                word.unicodeScalars.append(character)
            } else if !word.isEmpty {
                words.append(word)
                word = ""
            }
            if !quoted, character == ")" { depth -= 1 }
        }
        if !word.isEmpty { words.append(word) }

        let verbs: Set<String> = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"]
        let upper = words.map { $0.uppercased() }
        guard let first = upper.first(where: { $0 != "(" }) else {
            self.operation = "UNKNOWN"
            self.collection = ""
            return
        }
        // `WITH a AS (…) UPDATE b`: what stands in brackets is skipped, so the first verb is the statement's own.
        let start = (first == "WITH" ? upper.firstIndex(where: verbs.contains) : upper.firstIndex(of: first)) ?? 0
        self.operation = upper[start]
        let behind: Set<String>
        switch self.operation {
        case "SELECT", "DELETE": behind = ["FROM"]
        case "INSERT", "MERGE": behind = ["INTO"]
        case "UPDATE": behind = ["UPDATE"]
        case "CREATE", "ALTER", "DROP": behind = ["TABLE"]
        default: behind = []
        }
        let name = upper.indices
            .first { $0 >= start && behind.contains(upper[$0]) }
            .flatMap { index in
                words.indices.first { $0 > index && !["IF", "NOT", "EXISTS", "ONLY"].contains(upper[$0]) }.map {
                    words[$0]
                }
            }
        self.collection = name.map { $0 == "(" ? "" : $0.lowercased() } ?? ""
    }

    /// `-- …` to the end of the line, and `/* … */`, which nest; not within quotes.
    private static func withoutComments(_ text: String) -> [Unicode.Scalar] {
        guard text.contains("--") || text.contains("/*") else { return Array(text.unicodeScalars) }
        let scalars = Array(text.unicodeScalars)
        var kept: [Unicode.Scalar] = []
        var quote: Unicode.Scalar?
        var depth = 0
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            let next = index + 1 < scalars.count ? scalars[index + 1] : nil
            if let open = quote {
                kept.append(scalar)
                if scalar == open { quote = nil }
            } else if scalar == "/", next == "*" {
                depth += 1
                index += 1
            } else if depth > 0 {
                if scalar == "*", next == "/" {
                    depth -= 1
                    index += 1
                    kept.append(" ")
                }
            } else if scalar == "-", next == "-" {
                while index < scalars.count, scalars[index] != "\n" { index += 1 }
                kept.append(" ")
            } else {
                if scalar == "'" || scalar == "\"" { quote = scalar }
                kept.append(scalar)
            }
            index += 1
        }
        return kept
    }
}
