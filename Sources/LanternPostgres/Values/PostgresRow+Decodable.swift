import Foundation

extension PostgresRow {
    /// The row as a `Decodable` value: each key is a column, `customerID` also one named `customer_id`.
    ///
    /// A member is read as its ``PostgresDecodable`` conformance says; an enum by its raw value; anything else from `json` or
    /// `jsonb`. Optional members may be NULL or have no column.
    /// - Throws: `DecodingError` that names the column, never its value.
    public func decode<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
        do {
            return try Value(from: RowDecoder(row: self))
        } catch DecodingError.dataCorrupted where self.columns.count == 1 {
            // What the type says of a raw value that it does not know repeats it.
            throw DecodingError.typeMismatch(
                type, .init(codingPath: [], debugDescription: "column \(self.columns[0]) is not a \(type)"))
        }
    }
}

extension PostgresResult {
    /// All rows as `Decodable` values.
    public func decode<Value: Decodable>(as type: Value.Type = Value.self) throws -> [Value] {
        try self.map { try $0.decode(as: type) }
    }
}

/// Decodes a row by its columns.
private struct RowDecoder: Decoder {
    let row: PostgresRow
    let codingPath: [any CodingKey] = []
    let userInfo: [CodingUserInfoKey: Any] = [:]

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(RowContainer<Key>(decoder: self))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw DecodingError.typeMismatch(
            [Any].self, .init(codingPath: [], debugDescription: "a row is read by the names of its columns"))
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        RowValue(decoder: self)
    }

    func cell(_ key: any CodingKey) -> PostgresCell? {
        (try? self.row.cell(key.stringValue)) ?? (try? self.row.cell(Self.snakeCase(key.stringValue)))
    }

    /// `customerID` is `customer_id`, `totalHTTPBytes` is `total_http_bytes`.
    static func snakeCase(_ name: String) -> String {
        var words = ""
        let characters = Array(name)
        for (index, character) in characters.enumerated() {
            if character.isUppercase, index > 0 {
                let isAfterLower = !characters[index - 1].isUppercase
                let isBeforeLower = index + 1 < characters.count && characters[index + 1].isLowercase
                if isAfterLower || isBeforeLower { words += "_" }
            }
            words += character.lowercased()
        }
        return words
    }
}

/// A row where one value is asked for: that of its only column, or the row itself where the type has members.
private struct RowValue: SingleValueDecodingContainer {
    let decoder: RowDecoder
    var codingPath: [any CodingKey] { [] }

    private var cell: PostgresCell? {
        let row = self.decoder.row
        return row.result.columnCount == 1 ? row.result.cell(row: row.index, column: 0) : nil
    }

    func decodeNil() -> Bool { self.cell?.isNull ?? false }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if type is any PostgresDecodable.Type || type is any FixedWidthInteger.Type {
            guard let cell else {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: [], debugDescription: "a single value is read from a row of one column"))
            }
            return try CellDecoder(cell: cell, codingPath: []).decode(type)
        }
        do {
            return try Value(from: self.decoder)
        } catch  where self.cell != nil {
            // What the decoder says may repeat the value.
            throw DecodingError.typeMismatch(
                type,
                .init(
                    codingPath: [],
                    debugDescription: "column \(self.decoder.row.columns.first ?? "") is not a \(type)"))
        }
    }
}

private struct RowContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let decoder: RowDecoder
    var codingPath: [any CodingKey] { self.decoder.codingPath }
    var allKeys: [Key] { self.decoder.row.columns.compactMap { Key(stringValue: $0) } }

    func contains(_ key: Key) -> Bool { self.decoder.cell(key) != nil }

    func decodeNil(forKey key: Key) throws -> Bool { try self.cell(key).isNull }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try CellDecoder(cell: self.cell(key), codingPath: [key]).decode(type)
    }

    private func cell(_ key: Key) throws -> PostgresCell {
        guard let cell = self.decoder.cell(key) else {
            throw DecodingError.keyNotFound(
                key, .init(codingPath: [], debugDescription: "the result has no column \(key.stringValue)"))
        }
        return cell
    }

    private var flat: DecodingError {
        .dataCorrupted(.init(codingPath: [], debugDescription: "a row has no rows within it"))
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> { throw self.flat }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { throw self.flat }

    func superDecoder() throws -> any Decoder { self.decoder }

    func superDecoder(forKey key: Key) throws -> any Decoder {
        CellDecoder(cell: try self.cell(key), codingPath: [key])
    }
}

/// Decodes one column.
private struct CellDecoder: Decoder, SingleValueDecodingContainer {
    let cell: PostgresCell
    let codingPath: [any CodingKey]
    let userInfo: [CodingUserInfoKey: Any] = [:]

    func singleValueContainer() throws -> any SingleValueDecodingContainer { self }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> { throw self.plain }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer { throw self.plain }

    private var plain: DecodingError {
        .typeMismatch(
            String.self,
            .init(
                codingPath: self.codingPath,
                debugDescription: "column \(self.cell.column) holds one value, and is no JSON"))
    }

    func decodeNil() -> Bool { self.cell.isNull }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if let type = type as? any PostgresDecodable.Type {
            do {
                if let value = try type.init(self.cell) as? Value { return value }
            } catch let error as PostgresError {
                throw DecodingError.typeMismatch(
                    Value.self, .init(codingPath: self.codingPath, debugDescription: error.message))
            }
        }
        // Those that have no type of PostgreSQL's.
        if let type = type as? any FixedWidthInteger.Type, let value = try self.integer(type) as? Value { return value }
        do {
            if self.cell.type == PostgresType.json || self.cell.type == PostgresType.jsonb, let text = self.cell.text {
                return try JSONDecoder().decode(type, from: Data(text.utf8))
            }
            return try Value(from: self)
        } catch {
            // What the decoder says may repeat the value.
            throw self.mismatch(type)
        }
    }

    private func mismatch(_ type: Any.Type) -> DecodingError {
        .typeMismatch(
            type, .init(codingPath: self.codingPath, debugDescription: "column \(self.cell.column) is not a \(type)"))
    }

    private func integer<Integer: FixedWidthInteger>(_ type: Integer.Type) throws -> Integer {
        do {
            return try self.cell.integer("\(type)")
        } catch {
            throw self.mismatch(type)
        }
    }
}
