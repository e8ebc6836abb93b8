/// One SQL statement with its parameters. Values that are interpolated are always bound, never spliced into the text:
///
/// ```swift
/// let rows = try await client.query("SELECT name FROM product WHERE id = \(id)")
/// ```
public struct SQL: Sendable, ExpressibleByStringInterpolation {
    /// The statement, with `$1`, `$2` … where values were interpolated.
    public private(set) var text: String
    private(set) var parameters: [SQLParameter]

    public init(stringLiteral value: String) {
        self.text = value
        self.parameters = []
    }

    public init(stringInterpolation interpolation: StringInterpolation) {
        self.text = interpolation.text
        self.parameters = interpolation.parameters
    }

    /// A statement without parameters that is not known when compiling: a migration, DDL for a partition. Never build
    /// one from what a user sent.
    public init(unchecked text: String) {
        self.text = text
        self.parameters = []
    }

    /// Appends another piece, renumbering its parameters.
    public mutating func append(_ other: SQL) {
        var interpolation = StringInterpolation(text: self.text, parameters: self.parameters)
        interpolation.appendInterpolation(other)
        self = SQL(stringInterpolation: interpolation)
    }

    public struct StringInterpolation: StringInterpolationProtocol {
        var text: String
        var parameters: [SQLParameter]

        init(text: String, parameters: [SQLParameter]) {
            self.text = text
            self.parameters = parameters
        }

        public init(literalCapacity: Int, interpolationCount: Int) {
            self.text = ""
            self.text.reserveCapacity(literalCapacity + interpolationCount * 3)
            self.parameters = []
            self.parameters.reserveCapacity(interpolationCount)
        }

        public mutating func appendLiteral(_ literal: String) {
            self.text += literal
        }

        /// Binds a value.
        public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value) {
            self.parameters.append(SQLParameter(type: Value.postgresType, text: value.postgresText))
            self.text += "$\(self.parameters.count)"
        }

        /// Binds a value, or NULL.
        public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) {
            self.parameters.append(SQLParameter(type: Value.postgresType, text: value?.postgresText))
            self.text += "$\(self.parameters.count)"
        }

        /// Splices another statement's text, its parameters bound behind those already here.
        public mutating func appendInterpolation(_ other: SQL) {
            guard !other.parameters.isEmpty else {
                self.text += other.text
                return
            }
            // `$n` becomes `$(n + offset)`. The texts are ours: `$` occurs in them as a parameter only.
            let offset = self.parameters.count
            var digits = ""
            var inParameter = false
            func flush(_ text: inout String) {
                if inParameter { text += digits.isEmpty ? "$" : "$\((Int(digits) ?? 0) + offset)" }
            }
            for character in other.text {
                if inParameter, character.isASCII, character.isNumber {
                    digits.append(character)
                } else {
                    flush(&self.text)
                    inParameter = character == "$"
                    digits = ""
                    if !inParameter { self.text.append(character) }
                }
            }
            flush(&self.text)
            self.parameters += other.parameters
        }
    }
}

/// A bound value in PostgreSQL's text format, with its type.
struct SQLParameter: Sendable {
    var type: UInt32
    var text: String?
}
