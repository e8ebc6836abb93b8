import Foundation

/// Finds out the shape of a `Decodable` type by letting it decode from nothing: what it asks for is what it consists of.
///
/// A type that checks its text (an identifier, a time) is tried with several texts; the one that it takes tells its format.
enum SchemaProbe {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    static func schema<Value: Decodable>(of type: Value.Type) throws -> JSONSchema { try Self.probe(type).schema }

    /// The shape, and a value that the type took.
    static func probe<Value: Decodable>(_ type: Value.Type) throws -> (schema: JSONSchema, value: Value) {
        if let known = Self.enumeration(type) { return known }
        var last: any Error = Failure(description: "\(type) cannot be decoded from nothing")
        for candidate in Self.candidates {
            let recorder = Recorder(text: candidate.text)
            do {
                let value = try Value(from: ProbeDecoder(recorder: recorder))
                return (recorder.schema(format: candidate.format), value)
            } catch {
                last = error
                // What never asked for text does not care which.
                if !recorder.askedForText { break }
            }
        }
        throw Failure(
            description: "the JSON Schema of \(type) cannot be found out; an enumeration must be CaseIterable (\(last))"
        )
    }

    private static let candidates: [(text: String, format: String?)] = [
        ("text", nil), ("0198a4b2-7c00-7000-8000-000000000001", "uuid"), ("2026-01-31T23:59:59.000001Z", "date-time"),
        ("EUR", "currency"), ("https://example.com/", "uri"), ("0", nil), ("", nil),
    ]

    /// The texts of an enumeration that can list its cases.
    private static func enumeration<Value: Decodable>(_ type: Value.Type) -> (JSONSchema, Value)? {
        guard let listed = type as? any (CaseIterable & Encodable).Type else { return nil }
        func texts<Listed: CaseIterable & Encodable>(_ type: Listed.Type) -> [String]? {
            let texts = Listed.allCases.compactMap { value -> String? in
                guard let data = try? JSONEncoder().encode(value) else { return nil }
                return try? JSONDecoder().decode(String.self, from: data)
            }
            return texts.count == Listed.allCases.count && !texts.isEmpty ? texts : nil
        }
        guard let values = texts(listed), let first = values.first,
            let value = try? Value(from: ProbeDecoder(recorder: Recorder(text: first)))
        else { return nil }
        return (.enumeration(values), value)
    }
}

/// What a type asked for.
private final class Recorder {
    let text: String
    var askedForText = false
    var members: [JSONSchema.Member]?
    var element: JSONSchema?
    var single: JSONSchema?
    var mapped: JSONSchema?

    init(text: String) { self.text = text }

    func schema(format: String?) -> JSONSchema {
        if let mapped { return .map(mapped) }
        if let members { return .object(members) }
        if let element { return .array(element) }
        if case .string = self.single { return .string(format: format) }
        return self.single ?? .any
    }

    func value<Value: Decodable>(_ type: Value.Type) throws -> (JSONSchema, Value) {
        func leaf(_ schema: JSONSchema, _ value: Any) throws -> (JSONSchema, Value) {
            guard let value = value as? Value else { throw SchemaProbe.Failure(description: "\(type)") }
            return (schema, value)
        }
        switch type {
        case is String.Type: return try leaf(.string(format: nil), self.text)
        case is Bool.Type: return try leaf(.boolean, true)
        case is Int.Type: return try leaf(.integer, 1)
        case is Int8.Type: return try leaf(.integer, Int8(1))
        case is Int16.Type: return try leaf(.integer, Int16(1))
        case is Int32.Type: return try leaf(.integer, Int32(1))
        case is Int64.Type: return try leaf(.integer, Int64(1))
        case is UInt.Type: return try leaf(.integer, UInt(1))
        case is UInt8.Type: return try leaf(.integer, UInt8(1))
        case is UInt16.Type: return try leaf(.integer, UInt16(1))
        case is UInt32.Type: return try leaf(.integer, UInt32(1))
        case is UInt64.Type: return try leaf(.integer, UInt64(1))
        case is Double.Type: return try leaf(.number, 1.5)
        case is Float.Type: return try leaf(.number, Float(1.5))
        case is Decimal.Type: return try leaf(.number, Decimal(1))
        case is UUID.Type: return try leaf(.string(format: "uuid"), UUID())
        case is URL.Type:
            guard let url = URL(string: "https://example.com/") else { break }
            return try leaf(.string(format: "uri"), url)
        case is Date.Type: return try leaf(.number, Date(timeIntervalSinceReferenceDate: 0))
        case is Data.Type: return try leaf(.string(format: "base64"), Data())
        default: break
        }
        return try SchemaProbe.probe(type)
    }
}

private struct ProbeDecoder: Decoder {
    let recorder: Recorder
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        if self.recorder.members == nil { self.recorder.members = [] }
        return KeyedDecodingContainer(ProbeKeyed<Key>(recorder: self.recorder))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer { ProbeUnkeyed(recorder: self.recorder) }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { ProbeSingle(recorder: self.recorder) }
}

private struct ProbeKeyed<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let recorder: Recorder
    var codingPath: [any CodingKey] { [] }

    /// A dictionary asks which keys there are, and takes any; other types know theirs.
    var allKeys: [Key] { Key(stringValue: "name").map { [$0] } ?? [] }

    func contains(_ key: Key) -> Bool { true }

    func decodeNil(forKey key: Key) throws -> Bool { false }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try self.record(type, key, isRequired: true)
    }

    func decodeIfPresent<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value? {
        try self.record(type, key, isRequired: false)
    }

    private func record<Value: Decodable>(_ type: Value.Type, _ key: Key, isRequired: Bool) throws -> Value {
        let (schema, value) = try self.recorder.value(type)
        if Key.self is any CaseIterable.Type || !String(reflecting: Key.self).hasSuffix("_DictionaryCodingKey") {
            self.recorder.members?.append(
                JSONSchema.Member(name: key.stringValue, schema: schema, isRequired: isRequired))
        } else {
            self.recorder.mapped = schema
        }
        return value
    }

    func decodeIfPresent(_ type: String.Type, forKey key: Key) throws -> String? {
        try self.record(type, key, isRequired: false)
    }
    func decodeIfPresent(_ type: Bool.Type, forKey key: Key) throws -> Bool? {
        try self.record(type, key, isRequired: false)
    }
    func decodeIfPresent(_ type: Int.Type, forKey key: Key) throws -> Int? {
        try self.record(type, key, isRequired: false)
    }
    func decodeIfPresent(_ type: Int64.Type, forKey key: Key) throws -> Int64? {
        try self.record(type, key, isRequired: false)
    }
    func decodeIfPresent(_ type: Int32.Type, forKey key: Key) throws -> Int32? {
        try self.record(type, key, isRequired: false)
    }
    func decodeIfPresent(_ type: Double.Type, forKey key: Key) throws -> Double? {
        try self.record(type, key, isRequired: false)
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        throw SchemaProbe.Failure(description: "nested containers say nothing of their shape")
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        throw SchemaProbe.Failure(description: "nested containers say nothing of their shape")
    }

    func superDecoder() throws -> any Decoder { ProbeDecoder(recorder: self.recorder) }
    func superDecoder(forKey key: Key) throws -> any Decoder { ProbeDecoder(recorder: self.recorder) }
}

private struct ProbeUnkeyed: UnkeyedDecodingContainer {
    let recorder: Recorder
    var codingPath: [any CodingKey] { [] }
    var count: Int? { 1 }
    var isAtEnd: Bool { self.currentIndex > 0 }
    var currentIndex = 0

    init(recorder: Recorder) {
        self.recorder = recorder
        recorder.element = .any
    }

    mutating func decodeNil() throws -> Bool { false }

    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let (schema, value) = try self.recorder.value(type)
        self.recorder.element = schema
        self.currentIndex += 1
        return value
    }

    mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        throw SchemaProbe.Failure(description: "nested containers say nothing of their shape")
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw SchemaProbe.Failure(description: "nested containers say nothing of their shape")
    }

    mutating func superDecoder() throws -> any Decoder { ProbeDecoder(recorder: self.recorder) }
}

private struct ProbeSingle: SingleValueDecodingContainer {
    let recorder: Recorder
    var codingPath: [any CodingKey] { [] }

    func decodeNil() -> Bool { false }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if type is String.Type { self.recorder.askedForText = true }
        let (schema, value) = try self.recorder.value(type)
        self.recorder.single = schema
        return value
    }
}
