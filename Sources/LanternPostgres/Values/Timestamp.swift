public import Foundation

/// A moment in UTC with microseconds, as PostgreSQL's `timestamptz` keeps it and RFC 3339 writes it.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Microseconds since 1970-01-01T00:00:00Z.
    public var microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }

    public init(_ date: Date) {
        self.microseconds = Int64((date.timeIntervalSince1970 * 1_000_000).rounded())
    }

    /// This machine's wall clock.
    public static var now: Timestamp { Timestamp(Date()) }

    public var date: Date { Date(timeIntervalSince1970: Double(self.microseconds) / 1_000_000) }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.microseconds < right.microseconds }

    public static func + (left: Timestamp, right: Duration) -> Timestamp {
        let (seconds, attoseconds) = right.components
        return Timestamp(microseconds: left.microseconds + seconds * 1_000_000 + attoseconds / 1_000_000_000_000)
    }

    /// Seconds from `other` to this.
    public func seconds(since other: Timestamp) -> Double {
        Double(self.microseconds - other.microseconds) / 1_000_000
    }

    /// Reads RFC 3339, and what PostgreSQL writes for `timestamptz` (a space for the `T`, an offset of hours only).
    /// `nil` for anything else, and for dates that do not exist.
    public init?(_ text: String) {
        var digits = Digits(text)
        guard let year = digits.number(4), digits.take("-"), let month = digits.number(2), digits.take("-"),
            let day = digits.number(2), digits.take("T") || digits.take("t") || digits.take(" "),
            let hour = digits.number(2), digits.take(":"), let minute = digits.number(2), digits.take(":"),
            let second = digits.number(2), year > 0, (1...12).contains(month), (0...23).contains(hour),
            (0...59).contains(minute), (0...60).contains(second), day >= 1, day <= Self.days(in: month, of: year)
        else { return nil }
        var microseconds: Int64 = 0
        if digits.take(".") {
            guard let fraction = digits.fraction() else { return nil }
            microseconds = fraction
        }
        var offset: Int64 = 0
        if !(digits.take("Z") || digits.take("z")) {
            let sign: Int64
            if digits.take("+") { sign = 1 } else if digits.take("-") { sign = -1 } else { return nil }
            guard let hours = digits.number(2), hours <= 23 else { return nil }
            var minutes = 0
            if digits.take(":") {
                guard let number = digits.number(2) else { return nil }
                minutes = number
            } else if let number = digits.number(2) {
                minutes = number
            }
            guard minutes <= 59 else { return nil }
            offset = sign * Int64(hours * 3_600 + minutes * 60)
        }
        guard digits.isAtEnd else { return nil }
        let seconds =
            Self.daysSinceEpoch(year: year, month: month, day: day) * 86_400
            + Int64(hour * 3_600 + minute * 60 + second) - offset
        // In UTC it may be another year than it was written in; only four digits can be written again.
        guard
            (Self.daysSinceEpoch(year: 1, month: 1, day: 1) * 86_400..<Self.daysSinceEpoch(
                year: 10_000, month: 1, day: 1) * 86_400)
                .contains(seconds)
        else { return nil }
        self.microseconds = seconds * 1_000_000 + microseconds
    }

    /// RFC 3339 in UTC with six decimals: `2026-01-31T23:59:59.000001Z`.
    public var description: String {
        let whole = self.microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        let second = whole.remainder < 0 ? whole.quotient - 1 : whole.quotient
        let fraction = whole.remainder < 0 ? whole.remainder + 1_000_000 : whole.remainder
        let dayCount = second.quotientAndRemainder(dividingBy: 86_400)
        let days = dayCount.remainder < 0 ? dayCount.quotient - 1 : dayCount.quotient
        let clock = Int(second - days * 86_400)
        let (year, month, day) = Self.civil(days)
        func pad(_ value: Int, _ width: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))T\(pad(clock / 3_600, 2)):\(pad(clock / 60 % 60, 2)):"
            + "\(pad(clock % 60, 2)).\(pad(Int(fraction), 6))Z"
    }

    private static func days(in month: Int, of year: Int) -> Int {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    // Years counted from March put the leap day last; an era of 400 years always has 146,097 days.
    static func daysSinceEpoch(year: Int, month: Int, day: Int) -> Int64 {
        let shifted = Int64(month <= 2 ? year - 1 : year)
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = Int64((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1)
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func civil(_ daysSinceEpoch: Int64) -> (Int, Int, Int) {
        let shifted = daysSinceEpoch + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        return (
            Int(yearOfEra + era * 400 + (month >= 10 ? 1 : 0)), Int(month < 10 ? month + 3 : month - 9), Int(day)
        )
    }

    private struct Digits {
        private var rest: Substring.UTF8View

        init(_ text: String) { self.rest = Substring(text).utf8 }

        var isAtEnd: Bool { self.rest.isEmpty }

        mutating func take(_ character: Character) -> Bool {
            guard let byte = self.rest.first, byte == character.asciiValue else { return false }
            self.rest = self.rest.dropFirst()
            return true
        }

        mutating func number(_ count: Int) -> Int? {
            var value = 0
            var copy = self.rest
            for _ in 0..<count {
                guard let byte = copy.first, (0x30...0x39).contains(byte) else { return nil }
                value = value * 10 + Int(byte - 0x30)
                copy = copy.dropFirst()
            }
            self.rest = copy
            return value
        }

        /// Microseconds of a fraction; digits beyond the sixth are cut.
        mutating func fraction() -> Int64? {
            var value: Int64 = 0
            var count = 0
            while let byte = self.rest.first, (0x30...0x39).contains(byte) {
                if count < 6 { value = value * 10 + Int64(byte - 0x30) }
                count += 1
                self.rest = self.rest.dropFirst()
            }
            guard count > 0 else { return nil }
            for _ in 0..<max(0, 6 - count) { value *= 10 }
            return value
        }
    }
}

extension Timestamp: CustomStringConvertible, Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Timestamp(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected an RFC 3339 time")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self.description)
    }
}

extension Timestamp: PostgresEncodable, PostgresDecodable {
    public static let postgresType: UInt32 = 1_184
    public static let postgresArrayType: UInt32 = 1_185
    public static let postgresFormat = PostgresFormat.binary
    public var postgresText: String? { PostgresTime(self).description }

    public func encode(into buffer: inout PostgresBuffer) -> Bool { PostgresTime(self).encode(into: &buffer) }

    public init(_ cell: PostgresCell) throws {
        guard let value = (try? PostgresTime(cell))?.timestamp, Self.writable.contains(value.microseconds) else {
            throw cell.fail("a finite time in UTC")
        }
        self = value
    }

    /// What RFC 3339 can write.
    private static let writable =
        daysSinceEpoch(year: 1, month: 1, day: 1) * 86_400_000_000..<daysSinceEpoch(year: 10_000, month: 1, day: 1)
        * 86_400_000_000
}
