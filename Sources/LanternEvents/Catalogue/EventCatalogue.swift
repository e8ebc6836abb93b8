public import Foundation

/// The events that a service records, with the shape of their data: generated from the code, so it is true to it.
public struct EventCatalogue: Sendable {
    /// One event type in one version.
    public struct Entry: Sendable {
        public var type: EventType
        public var schema: JSONSchema
        /// Older versions that are still read.
        public var readsFrom: [Int]
    }

    public let service: String
    public let entries: [Entry]

    /// - Parameter events: All that the service records, in the order of the document.
    /// - Throws: Where a type's shape cannot be found out, or two have one name and version.
    public init(service: String, _ events: [any DomainEvent.Type]) throws {
        self.service = service
        self.entries = try events.map { try Self.entry($0) }
        for (type, same) in Dictionary(grouping: self.entries, by: \.type) where same.count > 1 {
            throw EventError(code: .invalidAttribute, message: "\(type) is in the catalogue \(same.count) times")
        }
    }

    private static func entry<Event: DomainEvent>(_ event: Event.Type) throws -> Entry {
        Entry(
            type: Event.type, schema: try SchemaProbe.schema(of: Event.self),
            readsFrom: Event.upcasters.map(\.from).sorted()
        )
    }

    public func contains(_ type: EventType) -> Bool { self.entries.contains { $0.type == type } }

    /// The catalogue as JSON, to be kept in the repository and compared with (``incompatibilities(with:)``).
    public func recorded() throws -> Data {
        try JSONSerialization.data(
            withJSONObject: Dictionary(
                self.entries.map { entry -> (String, Any) in
                    var schema = entry.schema.json
                    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
                    schema["$id"] = Self.schemaID(of: entry.type)
                    return (entry.type.description, schema)
                }, uniquingKeysWith: { $1 }
            ), options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        ) + Data("\n".utf8)
    }

    /// `ce_dataschema`.
    public static func schemaID(of type: EventType) -> String { "urn:lantern:event:\(type)" }

    /// What has changed since `recorded` so that old events cannot be read any more, or new ones not by those who know the
    /// old shape. For a service's own tests: a type whose shape must change gets a new version, and an upcaster.
    /// - Throws: Where `recorded` is no catalogue.
    public func incompatibilities(with recorded: Data) throws -> [String] {
        guard let old = try JSONSerialization.jsonObject(with: recorded) as? [String: Any] else {
            throw EventError(code: .undecodable, message: "what was recorded is no catalogue")
        }
        var faults: [String] = []
        for (name, json) in old.sorted(by: { $0.key < $1.key }) {
            let type = EventType(parsing: name)
            guard let schema = JSONSchema(json: json) else {
                throw EventError(code: .undecodable, message: "\(name) has no schema")
            }
            if let entry = self.entries.first(where: { $0.type == type }) {
                faults += entry.schema.incompatibilities(with: schema, at: "").map { "\(name): \($0)" }
            } else if let newer = self.entries.first(where: {
                $0.type.action == type.action && $0.type.version > type.version
            }) {
                // Every version on the way needs its upcaster.
                let missing = (type.version..<newer.type.version).filter { !newer.readsFrom.contains($0) }
                if !missing.isEmpty {
                    faults.append("\(name): \(newer.type) has no upcaster from version \(missing[0])")
                }
            } else {
                faults.append("\(name): is not recorded any more, and events of it are on the timeline")
            }
        }
        return faults
    }

    /// The page of the catalogue, in Markdown.
    public func markdown() throws -> String {
        var page = "## \(self.service), topic `\(self.service).events.v1`\n"
        for entry in self.entries {
            page += "\n### `\(entry.type)`\n"
            if case .object(let members) = entry.schema, !members.isEmpty {
                page += "| member | type |\n|---|---|\n"
                for member in members {
                    page +=
                        "| `\(member.name)`\(member.isRequired ? "" : ", optional") | \(Self.words(member.schema)) |\n"
                }
            }
            let example = try JSONSerialization.data(
                withJSONObject: entry.schema.example, options: [.sortedKeys, .withoutEscapingSlashes])
            page += "\n```json\n\(String(decoding: example, as: UTF8.self))\n```\n"
        }
        return page
    }

    private static func words(_ schema: JSONSchema) -> String {
        switch schema {
        case .object(let members):
            "object: "
                + members.map { "`\($0.name)`\($0.isRequired ? "" : "?") \(Self.words($0.schema))" }
                .joined(separator: ", ")
        case .map(let value): "object of \(Self.words(value))"
        case .array(let element): "array of \(Self.words(element))"
        case .string("uuid"): "UUID"
        case .string("date-time"): "time, RFC 3339"
        case .string("currency"): "currency, ISO 4217"
        case .string(let format): format ?? "text"
        case .enumeration(let values): "one of " + values.map { "`\($0)`" }.joined(separator: " ")
        case .integer: "whole number"
        case .number: "number"
        case .boolean: "true or false"
        case .any: "anything"
        }
    }
}
