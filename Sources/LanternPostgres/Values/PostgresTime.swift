/// Any value of `timestamptz`: ``Timestamp`` covers years 1 to 9999, which RFC 3339 can write; PostgreSQL keeps 4714 BC to 294276,
/// and infinity on both sides.
public struct PostgresTime: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Since 2000-01-01T00:00:00Z, where PostgreSQL counts from. The extremes mean infinity.
    private let microseconds: Int64

    public static let infinity = PostgresTime(binary: .max)
    public static let negativeInfinity = PostgresTime(binary: .min)

    /// Microseconds from 1970-01-01, where Unix counts from, to 2000-01-01.
    private static let epoch: Int64 = 946_684_800_000_000

    init(binary value: Int64) { self.microseconds = value }

    var binary: Int64 { self.microseconds }

    public init(_ time: Timestamp) {
        let (value, overflow) = time.microseconds.subtractingReportingOverflow(Self.epoch)
        // Not the extremes; the server refuses what is beyond its range.
        self.microseconds = overflow ? .min + 1 : min(max(value, .min + 1), .max - 1)
    }

    public var isFinite: Bool { self.microseconds != .max && self.microseconds != .min }

    /// `nil` where it is infinite, or in one of the last thirty years that PostgreSQL knows.
    public var timestamp: Timestamp? {
        guard self.isFinite else { return nil }
        let (value, overflow) = self.microseconds.addingReportingOverflow(Self.epoch)
        return overflow ? nil : Timestamp(microseconds: value)
    }

    public static func < (left: PostgresTime, right: PostgresTime) -> Bool { left.microseconds < right.microseconds }

    /// As PostgreSQL writes it in UTC and ISO style: `2026-01-31 23:59:59.000001+00`, `0044-03-15 00:00:00+00 BC`.
    public var description: String {
        guard self.isFinite else { return self.microseconds > 0 ? "infinity" : "-infinity" }
        let day: Int64 = 86_400_000_000
        var days = self.microseconds / day
        var rest = self.microseconds % day
        if rest < 0 {
            days -= 1
            rest += day
        }
        let (year, month, dayOfMonth) = Timestamp.civil(days + 10_957)
        func pad(_ value: Int64, _ width: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let seconds = rest / 1_000_000
        var fraction = rest % 1_000_000 == 0 ? "" : "." + pad(rest % 1_000_000, 6)
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return pad(Int64(year > 0 ? year : 1 - year), 4) + "-" + pad(Int64(month), 2) + "-" + pad(Int64(dayOfMonth), 2)
            + " " + pad(seconds / 3_600, 2) + ":" + pad(seconds / 60 % 60, 2) + ":" + pad(seconds % 60, 2) + fraction
            + "+00"
            + (year > 0 ? "" : " BC")
    }

    /// Reads what PostgreSQL writes in ISO style, and RFC 3339.
    public init?(_ text: String) {
        switch text {
        case "infinity": self = .infinity
        case "-infinity": self = .negativeInfinity
        default:
            if let time = Timestamp(text) {
                self.init(time)
                return
            }
            let isBefore = text.hasSuffix(" BC")
            let body = isBefore ? text.dropLast(3) : text[...]
            guard let dash = body.firstIndex(of: "-"), let written = Int(body[..<dash]), (1...300_000).contains(written)
            else { return nil }
            // A year of the same length, with its leap days in the same places, takes its place to read the rest.
            let year = isBefore ? 1 - written : written
            let twin = ((year % 400) + 400) % 400 + 2_000
            guard let time = Timestamp("\(twin)\(body[dash...])") else { return nil }
            let days =
                Timestamp.daysSinceEpoch(year: year, month: 1, day: 1)
                - Timestamp.daysSinceEpoch(year: twin, month: 1, day: 1)
            let (shift, isTooFar) = days.multipliedReportingOverflow(by: 86_400_000_000)
            let (value, overflow) = PostgresTime(time).microseconds.addingReportingOverflow(shift)
            guard !isTooFar, !overflow else { return nil }
            self.init(binary: value)
        }
    }
}

extension PostgresTime: PostgresEncodable, PostgresDecodable {
    public static let postgresType: UInt32 = 1_184
    public static let postgresArrayType: UInt32 = 1_185
    public static let postgresFormat = PostgresFormat.binary
    public var postgresText: String? { self.description }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        buffer.append(self.microseconds)
        return true
    }

    public init(_ cell: PostgresCell) throws {
        let value =
            cell.type == PostgresType.timestamptz && cell.format == .binary
            ? cell.withBytes { $0?.bigEndian(Int64.self) }.map { PostgresTime(binary: $0) }
            : cell.text.flatMap { PostgresTime($0) }
        guard let value else { throw cell.fail("a time with time zone") }
        self = value
    }
}
