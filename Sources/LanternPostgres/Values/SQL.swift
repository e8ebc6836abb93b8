/// One SQL statement with its parameters. Values that are interpolated are always bound, never spliced into the text:
///
/// ```swift
/// let rows = try await client.query("SELECT name FROM product WHERE id = \(id)")
/// ```
public struct SQL: Sendable, ExpressibleByStringInterpolation {
    /// The statement, with `$1`, `$2` … where values were interpolated.
    public private(set) var text: String
    private(set) var parameters: SQLParameters
    /// Written out in the program: worth preparing where it comes again.
    let isLiteral: Bool

    public init(stringLiteral value: String) {
        self.text = value
        self.parameters = SQLParameters()
        self.isLiteral = true
    }

    public init(stringInterpolation interpolation: StringInterpolation) {
        self.text = interpolation.text
        self.parameters = interpolation.parameters
        self.isLiteral = interpolation.isLiteral
    }

    /// A statement without parameters that is not known when compiling: a migration, DDL for a partition. Never build
    /// one from what a user sent.
    public init(unchecked text: String) {
        self.text = text
        self.parameters = SQLParameters()
        self.isLiteral = false
    }

    /// Appends another piece, renumbering its parameters.
    public mutating func append(_ other: SQL) {
        var interpolation = StringInterpolation(
            text: self.text, parameters: self.parameters, isLiteral: self.isLiteral
        )
        interpolation.appendInterpolation(other)
        self = SQL(stringInterpolation: interpolation)
    }

    public struct StringInterpolation: StringInterpolationProtocol {
        var text: String
        var parameters: SQLParameters
        var isLiteral = true

        init(text: String, parameters: SQLParameters, isLiteral: Bool) {
            self.text = text
            self.parameters = parameters
            self.isLiteral = isLiteral
        }

        public init(literalCapacity: Int, interpolationCount: Int) {
            self.text = ""
            self.text.reserveCapacity(literalCapacity + interpolationCount * 3)
            self.parameters = SQLParameters()
            self.parameters.reserveCapacity(interpolationCount)
        }

        public mutating func appendLiteral(_ literal: String) {
            self.text += literal
        }

        /// Binds a value.
        public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value) {
            self.parameters.append(value)
            self.appendPlaceholder()
        }

        /// Binds a value, or NULL.
        public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) {
            self.parameters.append(value)
            self.appendPlaceholder()
        }

        private mutating func appendPlaceholder() {
            let number = self.parameters.count
            // Without interpolation where it is short: this runs for each parameter of each statement.
            if number < Self.placeholders.count {
                self.text += Self.placeholders[number]
            } else {
                self.text += "$\(number)"
            }
        }

        private static let placeholders = (0..<32).map { "$\($0)" }

        /// Splices another statement's text, its parameters bound behind those already here.
        public mutating func appendInterpolation(_ other: SQL) {
            if !other.isLiteral { self.isLiteral = false }
            guard other.parameters.count > 0 else {
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
            self.parameters.append(contentsOf: other.parameters)
        }
    }
}
