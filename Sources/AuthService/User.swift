import Lantern

typealias UserID = Identifier<User>
typealias SessionID = Identifier<Session>

enum Session {}

/// A user, as the API shows it.
struct User: Encodable, Sendable {
    var id: UserID
    var email: String
    var name: String
    var roles: [String]
    var disabled: Bool
    var createdAt: Timestamp
    var updatedAt: Timestamp
    var version: Int64

    private enum CodingKeys: String, CodingKey {
        case id, email, name, roles, disabled
        case createdAt = "created_at"
        case updatedAt = "updated_at"
    }

    static let columns: SQL = "id, email, name, roles, disabled, created_at, updated_at, version"

    init(_ row: PostgresRow) throws {
        self.id = try row("id")
        self.email = try row("email")
        self.name = try row("name")
        self.roles = try row("roles")
        self.disabled = try row("disabled")
        self.createdAt = try row("created_at")
        self.updatedAt = try row("updated_at")
        self.version = try row("version")
    }
}

/// What may be an e-mail address: the check is for typing errors; only a mail that arrives proves an address.
enum EmailAddress {
    static func parse(_ text: String) -> String? {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard text.utf8.count <= 254, parts.count == 2, (1...64).contains(parts[0].utf8.count), !parts[1].isEmpty,
            parts[1].split(separator: ".", omittingEmptySubsequences: false).allSatisfy({ !$0.isEmpty }),
            text.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value != 0x7F && !$0.properties.isWhitespace })
        else { return nil }
        return text
    }
}

/// What a password must be.
enum PasswordRules {
    static let length = 12...1_024

    /// What is wrong with it; `nil` if nothing is.
    static func fault(of password: String, email: String?) -> String? {
        let folded = password.lowercased()
        if let email, folded.contains(email.lowercased().prefix { $0 != "@" }),
            email.prefix(while: { $0 != "@" }).count > 3
        {
            return "must not contain the name of the e-mail address"
        }
        let letters = Set(folded)
        if letters.count < 4 { return "must not consist of the same few characters" }
        // Digits and punctuation that people add to a common word do not make it less common.
        let core = folded.filter(\.isLetter)
        if self.common.contains(folded) || self.common.contains(core) {
            return "is one of the most common passwords"
        }
        let scalars = Array(folded.unicodeScalars.map { Int($0.value) })
        let steps = zip(scalars, scalars.dropFirst()).map { $1 - $0 }
        if steps.allSatisfy({ $0 == 1 }) || steps.allSatisfy({ $0 == -1 }) { return "must not be a sequence" }
        return nil
    }

    /// The commonest that the length rule lets pass, whole or by their letters.
    private static let common: Set<String> = [
        "password", "passwordpassword", "passwort", "qwertyuiop", "qwertyuiopasdf", "qwertyqwerty", "qwerty",
        "iloveyou", "iloveyouiloveyou", "letmein", "letmeinplease", "administrator", "admin", "adminadmin", "welcome",
        "welcomewelcome", "changeme", "changemechangeme", "trustno", "sunshine", "princess", "football", "baseball",
        "superman", "batman", "dragon", "monkey", "master", "shadow", "starwars", "correcthorsebatterystaple",
        "123456789012", "1234567890123", "1234567890ab", "0123456789012", "987654321098", "123123123123",
        "1q2w3e4r5t6y", "1qaz2wsx3edc", "q1w2e3r4t5y6", "zaq12wsxcde3", "asdfghjkl123", "abcdefghijkl", "abcd1234abcd",
        "123qweasdzxc", "unknownunknown", "computercomputer", "michaelmichael", "passwordadmin", "adminpassword",
        "mypassword", "thisismypassword", "newpassword", "secretpassword", "defaultpassword", "testpassword", "test",
        "testtest", "testtesttest", "secretsecret", "loveyou", "lovelovelove", "google", "internet", "whatever",
        "aaaaaaaaaaaa", "qazwsxedcrfv", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "zxcvbnmasdfg",
    ]
}
