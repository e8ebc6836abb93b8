import Foundation

/// An event in structured mode: one JSON object with the attributes, and the data in `data` or `data_base64`
/// (CloudEvents JSON format 1.0.2).
struct StructuredEvent: EventAttributes {
    private let attributes: [String: String]
    /// As it was sent: JSON byte for byte, text, or what base64 stood for.
    let data: [UInt8]

    /// - Throws: ``EventError`` with code `notACloudEvent` or `invalidAttribute`.
    init(_ bytes: [UInt8]) throws(EventError) {
        guard let object = try? JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any] else {
            throw EventError(code: .notACloudEvent, message: "the value is not a JSON object")
        }
        var attributes: [String: String] = [:]
        for (name, value) in object where name != "data" && name != "data_base64" {
            switch value {
            case let text as String: attributes[name] = text
            case let number as NSNumber: attributes[name] = number.description
            case is NSNull: break
            default:
                throw EventError(code: .invalidAttribute, message: "an attribute is neither text nor a number")
            }
        }
        self.attributes = attributes
        let isJSON = Self.isJSON(attributes["datacontenttype"])
        if let encoded = object["data_base64"], !(encoded is NSNull) {
            guard object["data"] == nil || object["data"] is NSNull, let text = encoded as? String,
                let data = Data(base64Encoded: text)
            else {
                throw EventError(
                    code: .invalidAttribute, message: "data_base64 is not base64, or stands beside data")
            }
            self.data = Array(data)
        } else if let text = object["data"] as? String, !isJSON {
            self.data = Array(text.utf8)
        } else if object["data"] != nil, let range = JSONMembers.value(of: "data", in: bytes) {
            self.data = Array(bytes[range])
        } else {
            self.data = []
        }
    }

    func text(_ name: String) -> String? { self.attributes[name] }

    func isPresent(_ name: String) -> Bool { self.attributes[name]?.isEmpty == false }

    func label(_ name: String) -> String { name }

    func trace(_ name: String) -> String? { self.attributes[name] }

    /// JSON unless said otherwise.
    private static func isJSON(_ contentType: String?) -> Bool {
        guard let contentType else { return true }
        let type =
            contentType.split(separator: ";").first.map { $0.lowercased().trimmingCharacters(in: .whitespaces) } ?? ""
        return type.hasSuffix("/json") || type.hasSuffix("+json")
    }
}

/// Finds where a member of a JSON object stands in its text, which a parser has found to be valid.
enum JSONMembers {
    /// The bytes of the value of a top-level member, without the space around it; of the last one where there are several.
    static func value(of name: String, in bytes: [UInt8]) -> Range<Int>? {
        var index = 0
        var depth = 0
        var found: Range<Int>?
        var key: Range<Int>?
        var start: Int?
        func end(at position: Int) {
            guard depth == 1, let from = start, let member = key else { return }
            if Self.text(bytes[member]) == name {
                var to = position
                while to > from, Self.isSpace(bytes[to - 1]) { to -= 1 }
                found = from..<to
            }
            key = nil
            start = nil
        }
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\""):
                let open = index
                index += 1
                while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
                    index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                if depth == 1, key == nil {
                    key = open..<min(bytes.count, index + 1)
                } else if depth == 1, start == nil {
                    start = open
                }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                if depth == 1, key != nil, start == nil { start = index }
                depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 1 { end(at: index) }
                depth -= 1
            case UInt8(ascii: ","): end(at: index)
            case UInt8(ascii: ":"): break
            case let byte where !Self.isSpace(byte):
                if depth == 1, key != nil, start == nil { start = index }
            default: break
            }
            index += 1
        }
        return found
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
        try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed) as? String
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }
}
