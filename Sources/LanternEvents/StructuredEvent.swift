import Foundation
import LanternJSON
import LanternKafka

/// An event in structured mode: one JSON object with the attributes, and the data in `data` or `data_base64`
/// (CloudEvents JSON format 1.0.2).
struct StructuredEvent: EventAttributes {
    private let attributes: [String: String]
    /// As it was sent: JSON byte for byte, text, or what base64 stood for.
    let data: [UInt8]

    private let headers: KafkaRecord

    /// - Throws: ``EventError`` with code `notACloudEvent` or `invalidAttribute`.
    init(_ record: KafkaRecord) throws(EventError) {
        let bytes = record.value ?? []
        self.headers = record
        // Strictly first: Foundation guesses encodings, and takes what is no JSON.
        guard JSONSyntax.isValid(bytes), let members = JSONMembers.all(in: bytes) else {
            throw EventError(code: .notACloudEvent, message: "the value is not a JSON object in UTF-8")
        }
        var attributes: [String: String] = [:]
        var data: Range<Int>?
        var encoded: Range<Int>?
        // Of two members with one name the last counts.
        for (name, place) in members {
            switch name {
            case "data": data = place
            case "data_base64": encoded = place
            default: attributes[name] = try Self.attribute(bytes[place])
            }
        }
        self.attributes = attributes
        func isThere(_ place: Range<Int>?) -> Range<Int>? {
            place.flatMap { bytes[$0].elementsEqual("null".utf8) ? nil : $0 }
        }
        if let encoded = isThere(encoded) {
            guard isThere(data) == nil, let text = JSONMembers.text(bytes[encoded]),
                let decoded = Data(base64Encoded: text)
            else {
                throw EventError(
                    code: .invalidAttribute, message: "data_base64 is not base64, or stands beside data")
            }
            self.data = Array(decoded)
        } else if let data, !Self.isJSON(attributes["datacontenttype"]), let text = JSONMembers.text(bytes[data]) {
            self.data = Array(text.utf8)
        } else {
            self.data = data.map { Array(bytes[$0]) } ?? []
        }
    }

    /// Text, or a number or truth value as it is written; `nil` for null.
    private static func attribute(_ value: ArraySlice<UInt8>) throws(EventError) -> String? {
        switch value.first {
        case UInt8(ascii: "\""): return JSONMembers.text(value)
        case UInt8(ascii: "n"): return nil
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            throw EventError(code: .invalidAttribute, message: "an attribute is neither text nor a number")
        default: return String(decoding: value, as: UTF8.self)
        }
    }

    func text(_ name: String) -> String? { self.attributes[name] }

    func isPresent(_ name: String) -> Bool { self.attributes[name]?.isEmpty == false }

    func label(_ name: String) -> String { name }

    /// The event's own, or that of the record that carries it.
    func trace(_ name: String) -> String? {
        self.attributes["traceparent"] != nil
            ? self.attributes[name] : KafkaHeaderCarrier().extract(key: name, from: self.headers)
    }

    /// JSON unless said otherwise.
    private static func isJSON(_ contentType: String?) -> Bool {
        guard let contentType else { return true }
        let type =
            contentType.split(separator: ";").first.map { $0.lowercased().trimmingCharacters(in: .whitespaces) } ?? ""
        return type.hasSuffix("/json") || type.hasSuffix("+json")
    }
}

/// Finds where the members of a JSON object stand in its text, which was found to be valid JSON before.
enum JSONMembers {
    /// Top-level names with the place of their value, without the space around it, in order; `nil` where it is no object.
    static func all(in bytes: [UInt8]) -> [(name: String, place: Range<Int>)]? {
        var index = 0
        func skipSpace() {
            while index < bytes.count, Self.isSpace(bytes[index]) { index += 1 }
        }
        func string() -> Range<Int> {
            let start = index
            index += 1
            while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
                index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
            }
            index = min(bytes.count, index + 1)
            return start..<index
        }
        skipSpace()
        guard index < bytes.count, bytes[index] == UInt8(ascii: "{") else { return nil }
        index += 1
        var members: [(String, Range<Int>)] = []
        while index < bytes.count {
            skipSpace()
            guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else {
                // A comma, or the end.
                index += 1
                continue
            }
            let name = Self.text(bytes[string()])
            skipSpace()
            // The colon.
            index += 1
            skipSpace()
            let start = min(index, bytes.count)
            var depth = 0
            value: while index < bytes.count {
                switch bytes[index] {
                case UInt8(ascii: "\""):
                    _ = string()
                    continue value
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    if depth == 0 { break value }
                    depth -= 1
                case UInt8(ascii: ",") where depth == 0: break value
                default: break
                }
                index += 1
            }
            var end = min(index, bytes.count)
            while end > start, Self.isSpace(bytes[end - 1]) { end -= 1 }
            if let name { members.append((name, start..<end)) }
        }
        return members
    }

    /// The bytes of the value of a top-level member; of the last one where there are several.
    static func value(of name: String, in bytes: [UInt8]) -> Range<Int>? {
        Self.all(in: bytes)?.last { $0.name == name }?.place
    }

    /// What a JSON string says.
    static func text(_ bytes: ArraySlice<UInt8>) -> String? {
        guard bytes.first == UInt8(ascii: "\"") else { return nil }
        // Most have nothing to unescape.
        if !bytes.contains(UInt8(ascii: "\\")) {
            return String(validating: bytes.dropFirst().dropLast(), as: UTF8.self)
        }
        return try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed) as? String
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
}
