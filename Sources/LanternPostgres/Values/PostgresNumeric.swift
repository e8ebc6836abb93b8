public import Foundation

/// A number of PostgreSQL's type `numeric`: exact, with up to 131,072 digits before the point and 16,383 behind it, or NaN, or
/// infinite. Written as PostgreSQL writes it; equal where it is written alike, so that 1.0 is not 1.00.
public struct PostgresNumeric: Hashable, Sendable, CustomStringConvertible {
    public let description: String

    /// `nil` where the text is no number of digits with an optional sign and point, nor `NaN`, `Infinity`, `-Infinity`.
    public init?(_ text: String) {
        if ["NaN", "Infinity", "-Infinity"].contains(text) {
            self.description = text
            return
        }
        var digits = Substring(text)
        if digits.first == "-" || digits.first == "+" { digits = digits.dropFirst() }
        let parts = digits.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.contains(where: { !$0.isEmpty }),
            parts.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } })
        else { return nil }
        self.description = text
    }

    public init(_ value: Int) { self.description = String(value) }

    /// `nil` where `Decimal` cannot keep all of its digits (38), or it is not finite.
    public var decimal: Decimal? {
        // Which reads the words as zero.
        guard self.description.utf8.last.map({ (0x30...0x39).contains($0) || $0 == 0x2E }) ?? false,
            let value = Decimal(string: self.description, locale: nil)
        else { return nil }
        let significant = self.description.filter { $0 != "-" && $0 != "+" && $0 != "." }.drop { $0 == "0" }
        return significant.count <= 38 ? value : nil
    }

    /// Groups of four decimal digits: how many, the weight of the first, sign, digits behind the point; then the groups.
    init?(binary bytes: UnsafeRawBufferPointer) {
        var reader = BinaryReader(bytes)
        guard let count = reader.integer(UInt16.self), let weight = reader.integer(Int16.self),
            let sign = reader.integer(UInt16.self), let scale = reader.integer(UInt16.self)
        else { return nil }
        switch sign {
        case 0xC000: self.description = "NaN"
        case 0xD000: self.description = "Infinity"
        case 0xF000: self.description = "-Infinity"
        case 0, 0x4000:
            var groups: [UInt16] = []
            for _ in 0..<count {
                guard let group = reader.integer(UInt16.self), group < 10_000 else { return nil }
                groups.append(group)
            }
            func group(_ index: Int) -> String {
                let value = groups.indices.contains(index) ? String(groups[index]) : "0"
                return String(repeating: "0", count: 4 - value.count) + value
            }
            var whole = ""
            for index in 0..<max(0, Int(weight) + 1) { whole += group(index) }
            whole = String(whole.drop { $0 == "0" })
            var fraction = ""
            // Groups behind the point begin at weight -1; those before the first one are zeros.
            var index = Int(weight) + 1
            while index - Int(weight) - 1 < (Int(scale) + 3) / 4 {
                fraction += group(index)
                index += 1
            }
            self.description =
                (sign == 0 ? "" : "-") + (whole.isEmpty ? "0" : whole)
                + (scale == 0 ? "" : "." + fraction.prefix(Int(scale)))
        default: return nil
        }
    }
}

extension PostgresNumeric: PostgresEncodable, PostgresDecodable {
    public static let postgresType: UInt32 = 1_700
    public static let postgresArrayType: UInt32 = 1_231
    public var postgresText: String? { self.description }

    public init(_ cell: PostgresCell) throws {
        guard let value = cell.text.flatMap({ PostgresNumeric($0) }) else { throw cell.fail("a number") }
        self = value
    }
}

extension Decimal: PostgresEncodable, PostgresDecodable {
    public static let postgresType: UInt32 = 1_700
    public static let postgresArrayType: UInt32 = 1_231
    public static let postgresFormat = PostgresFormat.text
    public var postgresText: String? { self.isNaN ? "NaN" : self.description }

    public init(_ cell: PostgresCell) throws {
        guard let value = try PostgresNumeric(cell).decimal else {
            throw cell.fail("a finite number of at most 38 digits")
        }
        self = value
    }
}
