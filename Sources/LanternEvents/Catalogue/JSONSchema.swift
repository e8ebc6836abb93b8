import Foundation

/// The shape of JSON data, as far as Swift's `Codable` types can say it (JSON Schema 2020-12).
public indirect enum JSONSchema: Sendable, Equatable {
    /// Members in the order of their declaration.
    case object([Member])
    /// An object whose members all have one shape.
    case map(JSONSchema)
    case array(JSONSchema)
    /// `format` as in JSON Schema: `uuid`, `date-time`.
    case string(format: String?)
    /// One of these texts.
    case enumeration([String])
    case integer
    case number
    case boolean
    /// Nothing can be said.
    case any

    public struct Member: Sendable, Equatable {
        public var name: String
        public var schema: JSONSchema
        public var isRequired: Bool
    }

    /// As JSON Schema writes it, in types of `JSONSerialization`.
    var json: [String: Any] {
        switch self {
        case .object(let members):
            var json: [String: Any] = [
                "type": "object",
                "properties": Dictionary(members.map { ($0.name, $0.schema.json) }, uniquingKeysWith: { $1 }),
            ]
            let required = members.filter(\.isRequired).map(\.name)
            if !required.isEmpty { json["required"] = required.sorted() }
            return json
        case .map(let value): return ["type": "object", "additionalProperties": value.json]
        case .array(let element): return ["type": "array", "items": element.json]
        case .string(let format): return format.map { ["type": "string", "format": $0] } ?? ["type": "string"]
        case .enumeration(let values): return ["type": "string", "enum": values]
        case .integer: return ["type": "integer"]
        case .number: return ["type": "number"]
        case .boolean: return ["type": "boolean"]
        case .any: return [:]
        }
    }

    /// Reads what ``json`` wrote.
    init?(json: Any) {
        guard let json = json as? [String: Any] else { return nil }
        switch json["type"] as? String {
        case "object":
            if let value = json["additionalProperties"].flatMap({ JSONSchema(json: $0) }) {
                self = .map(value)
                return
            }
            let required = Set(json["required"] as? [String] ?? [])
            let properties = json["properties"] as? [String: Any] ?? [:]
            self = .object(
                properties.sorted { $0.key < $1.key }.compactMap { name, value in
                    JSONSchema(json: value).map {
                        Member(name: name, schema: $0, isRequired: required.contains(name))
                    }
                }
            )
        case "array": self = .array(json["items"].flatMap { JSONSchema(json: $0) } ?? .any)
        case "string":
            self = (json["enum"] as? [String]).map { .enumeration($0) } ?? .string(format: json["format"] as? String)
        case "integer": self = .integer
        case "number": self = .number
        case "boolean": self = .boolean
        default: self = .any
        }
    }

    /// Data of this shape, for documents.
    var example: Any {
        switch self {
        case .object(let members):
            Dictionary(members.map { ($0.name, $0.schema.example) }, uniquingKeysWith: { $1 })
        case .map(let value): ["name": value.example]
        case .array(let element): [element.example]
        case .string("uuid"): "0198a4b2-7c00-7000-8000-000000000001"
        case .string("date-time"): "2026-01-31T23:59:59.000001Z"
        case .string("currency"): "EUR"
        case .string: "text"
        case .enumeration(let values): values.first ?? "text"
        case .integer: 1
        case .number: 1.5
        case .boolean: true
        case .any: [String: Any]()
        }
    }

    /// Why data of `old` cannot be read as this, or data of this by those who know `old`. Empty where both can.
    /// - Parameter path: Of the member that is looked at.
    func incompatibilities(with old: JSONSchema, at path: String) -> [String] {
        switch (old, self) {
        case (.object(let before), .object(let after)):
            return Self.incompatibilities(of: after, with: before, at: path)
        case (.array(let before), .array(let after)): return after.incompatibilities(with: before, at: path + "[]")
        case (.map(let before), .map(let after)): return after.incompatibilities(with: before, at: path + ".*")
        case (.enumeration(let before), .enumeration(let after)):
            // A value more is unknown to those who read; a value less is unreadable to this.
            let changed = Set(before).symmetricDifference(after)
            return changed.isEmpty
                ? [] : ["\(path): the values \(changed.sorted().joined(separator: ", ")) are new or gone"]
        case (.string, .string): return []
        default: return old == self ? [] : ["\(path): the type has changed"]
        }
    }

    private static func incompatibilities(of after: [Member], with before: [Member], at path: String) -> [String] {
        let old = Dictionary(before.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
        let new = Dictionary(after.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
        var faults: [String] = []
        for member in before.sorted(by: { $0.name < $1.name }) {
            let place = path.isEmpty ? member.name : "\(path).\(member.name)"
            guard let now = new[member.name] else {
                if member.isRequired { faults.append("\(place): is gone, and readers require it") }
                continue
            }
            if member.isRequired, !now.isRequired {
                faults.append("\(place): may be missing now, and readers require it")
            }
            if !member.isRequired, now.isRequired {
                faults.append("\(place): is required now, and old events may lack it")
            }
            faults += now.schema.incompatibilities(with: member.schema, at: place)
        }
        for member in after.sorted(by: { $0.name < $1.name }) where old[member.name] == nil && member.isRequired {
            faults.append(
                "\(path.isEmpty ? "" : path + ".")\(member.name): is new and required, and old events lack it")
        }
        return faults
    }
}
