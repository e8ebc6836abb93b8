/// The members of a JSON object, read with their rules. Faults are collected, so that all are told at once:
///
/// ```swift
/// var fields = try await request.fields(context)
/// let name = fields.string("name", length: 1...200)
/// let stock = fields.integer("stock", in: 0...1_000_000)
/// let (name, stock) = try fields.valid(name, stock)
/// ```
public struct RequestFields: Sendable {
    private let members: [String: JSONValue]
    private let path: String
    public private(set) var faults: [Problem.Field] = []

    public init(_ members: [String: JSONValue], path: String = "") {
        self.members = members
        self.path = path
    }

    /// Whether the member is there and not null.
    public func has(_ name: String) -> Bool {
        self.members[name].map { $0 != .null } ?? false
    }

    public mutating func fault(_ name: String, _ message: String) {
        self.faults.append(Problem.Field(self.path + name, message))
    }

    /// Text of so many characters, without NUL, which PostgreSQL cannot hold.
    public mutating func string(_ name: String, length: ClosedRange<Int>) -> String? {
        guard let value = self.required(name) else { return nil }
        guard case .string(let text) = value else { return self.fail(name, "must be a string") }
        guard length.contains(text.unicodeScalars.count) else {
            return self.fail(name, "must have \(length.lowerBound) to \(length.upperBound) characters")
        }
        guard !text.unicodeScalars.contains("\0") else { return self.fail(name, "must not hold a NUL character") }
        return text
    }

    /// As ``string(_:length:)``, `nil` without a fault where the member is missing or null.
    public mutating func optionalString(_ name: String, length: ClosedRange<Int>) -> String? {
        self.has(name) ? self.string(name, length: length) : nil
    }

    /// `nil` without a fault where the member is missing or null.
    public mutating func optionalBoolean(_ name: String) -> Bool? {
        guard self.has(name), let value = self.required(name) else { return nil }
        guard case .bool(let flag) = value else { return self.fail(name, "must be true or false") }
        return flag
    }

    public mutating func integer(_ name: String, in range: ClosedRange<Int64>) -> Int64? {
        guard let value = self.required(name) else { return nil }
        guard case .integer(let number) = value else {
            return self.fail(name, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        guard range.contains(number) else {
            return self.fail(name, "must be from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// An object, whose members are read by `read`; its faults join these, with the name in front.
    public mutating func object<Value>(_ name: String, _ read: (inout RequestFields) -> Value?) -> Value? {
        guard let value = self.required(name) else { return nil }
        guard case .object(let members) = value else { return self.fail(name, "must be an object") }
        var fields = RequestFields(members, path: "\(self.path)\(name).")
        let result = read(&fields)
        self.faults += fields.faults
        return fields.faults.isEmpty ? result : nil
    }

    /// A list of objects, each read by `read`; faults name the index: `lines[2].quantity`.
    public mutating func objects<Value>(
        _ name: String, count: ClosedRange<Int>, _ read: (inout RequestFields) -> Value?
    ) -> [Value]? {
        guard let value = self.required(name) else { return nil }
        guard case .array(let elements) = value else { return self.fail(name, "must be a list") }
        guard count.contains(elements.count) else {
            return self.fail(name, "must have \(count.lowerBound) to \(count.upperBound) elements")
        }
        var values: [Value] = []
        for (index, element) in elements.enumerated() {
            guard case .object(let members) = element else {
                self.fault("\(name)[\(index)]", "must be an object")
                continue
            }
            var fields = RequestFields(members, path: "\(self.path)\(name)[\(index)].")
            if let value = read(&fields), fields.faults.isEmpty { values.append(value) }
            self.faults += fields.faults
        }
        return values.count == elements.count ? values : nil
    }

    /// A list of strings.
    public mutating func strings(_ name: String, count: ClosedRange<Int>, oneOf allowed: [String]) -> [String]? {
        guard let value = self.required(name) else { return nil }
        guard case .array(let elements) = value, count.contains(elements.count) else {
            return self.fail(name, "must be a list of \(count.lowerBound) to \(count.upperBound) strings")
        }
        var values: [String] = []
        for (index, element) in elements.enumerated() {
            guard case .string(let text) = element, allowed.contains(text) else {
                self.fault("\(name)[\(index)]", "must be one of \(allowed.joined(separator: ", "))")
                continue
            }
            values.append(text)
        }
        return values.count == elements.count ? values : nil
    }

    /// An object whose members are all strings that `parse` understands.
    public mutating func map<Value>(
        _ name: String, count: ClosedRange<Int>, _ expected: String, _ parse: (String) -> Value?
    ) -> [String: Value]? {
        guard let value = self.required(name) else { return nil }
        guard case .object(let members) = value, count.contains(members.count) else {
            return self.fail(name, "must be an object of \(count.lowerBound) to \(count.upperBound) members")
        }
        var values: [String: Value] = [:]
        for (key, member) in members.sorted(by: { $0.key < $1.key }) {
            guard case .string(let text) = member, let parsed = parse(text) else {
                self.fault("\(name).\(key)", "must be \(expected)")
                continue
            }
            values[key] = parsed
        }
        return values.count == members.count ? values : nil
    }

    /// A value that `parse` makes of a string.
    public mutating func parsed<Value>(_ name: String, _ expected: String, _ parse: (String) -> Value?) -> Value? {
        guard let value = self.required(name) else { return nil }
        guard case .string(let text) = value, let parsed = parse(text) else {
            return self.fail(name, "must be \(expected)")
        }
        return parsed
    }

    /// The values, all of them there.
    /// - Throws: ``Problem`` 422 with every fault.
    public func valid<each Value>(_ values: repeat (each Value)?) throws(Problem) -> (repeat each Value) {
        guard self.faults.isEmpty else { throw Problem.invalid(self.faults) }
        func unwrap<Part>(_ value: Part?) throws(Problem) -> Part {
            guard let value else { throw Problem.invalid([Problem.Field(self.path, "is incomplete")]) }
            return value
        }
        return (repeat try unwrap(each values))
    }

    /// - Throws: ``Problem`` 422 with every fault, if there is one.
    public func check() throws(Problem) {
        if !self.faults.isEmpty { throw Problem.invalid(self.faults) }
    }

    private mutating func required(_ name: String) -> JSONValue? {
        guard let value = self.members[name], value != .null else { return self.fail(name, "is required") }
        return value
    }

    private mutating func fail<Value>(_ name: String, _ message: String) -> Value? {
        self.fault(name, message)
        return nil
    }
}
