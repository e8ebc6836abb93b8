import Foundation
public import Hummingbird

/// One page of a list.
public struct Page<Element: Encodable & Sendable>: Encodable, Sendable {
    public struct Cursors: Encodable, Sendable {
        public var next: String?
        public var previous: String?

        private enum CodingKeys: String, CodingKey {
            case next = "next_cursor"
            case previous = "prev_cursor"
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            // Present and null at the ends, as the contract says.
            try container.encode(self.next, forKey: .next)
            try container.encode(self.previous, forKey: .previous)
        }
    }

    public var data: [Element]
    public var page: Cursors

    public init(_ data: [Element], next: String?, previous: String?) {
        self.data = data
        self.page = Cursors(next: next, previous: previous)
    }
}

/// A place in a list, opaque to clients: base64url of its JSON.
public enum Cursor {
    public static func encode(_ position: some Encodable) throws -> String {
        try JSON.encoder().encode(position).base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    /// - Throws: ``Problem`` 400 `invalid_cursor`.
    public static func decode<Position: Decodable>(
        _ text: String, as type: Position.Type = Position.self
    ) throws(Problem) -> Position {
        let standard = text.replacing("-", with: "+").replacing("_", with: "/")
        guard text.utf8.count <= 2_048,
            let data = Data(base64Encoded: standard + String(repeating: "=", count: (4 - standard.utf8.count % 4) % 4)),
            let position = try? JSONDecoder().decode(Position.self, from: data)
        else { throw Problem(.badRequest, "invalid_cursor", "The cursor is not one that this list gave.") }
        return position
    }
}

/// Query parameters, read with their rules; faults are collected.
public struct QueryFields: Sendable {
    private let parameters: [String: String]
    public private(set) var faults: [Problem.Field] = []

    public init(_ request: Request) {
        var parameters: [String: String] = [:]
        for (name, value) in request.uri.queryParameters { parameters[String(name)] = String(value) }
        self.parameters = parameters
    }

    public mutating func string(_ name: String, maximum: Int = 500) -> String? {
        guard let value = self.parameters[name], !value.isEmpty else { return nil }
        guard value.utf8.count <= maximum, !value.utf8.contains(0) else {
            self.faults.append(Problem.Field(name, "must have at most \(maximum) bytes and no NUL character"))
            return nil
        }
        return value
    }

    public mutating func integer(_ name: String, in range: ClosedRange<Int>, default value: Int) -> Int {
        guard let text = self.parameters[name] else { return value }
        guard let number = Int(text), range.contains(number) else {
            self.faults.append(
                Problem.Field(name, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            )
            return value
        }
        return number
    }

    public mutating func parsed<Value>(_ name: String, _ expected: String, _ parse: (String) -> Value?) -> Value? {
        guard let text = self.string(name) else { return nil }
        guard let value = parse(text) else {
            self.faults.append(Problem.Field(name, "must be \(expected)"))
            return nil
        }
        return value
    }

    /// `limit`, 1…200, 50 if not given.
    public mutating func limit() -> Int { self.integer("limit", in: 1...200, default: 50) }

    /// - Throws: ``Problem`` 422 with every fault, if there is one.
    public func check() throws(Problem) {
        if !self.faults.isEmpty { throw Problem.invalid(self.faults) }
    }
}
