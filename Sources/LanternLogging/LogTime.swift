import Glibc

/// A moment of the wall clock, written as RFC 3339 in UTC with microseconds, without Foundation.
struct LogTime: Equatable {
    /// Microseconds since 1970-01-01T00:00:00Z.
    var microseconds: Int64

    static func now() -> LogTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return LogTime(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
    }

    func append(to line: inout LineBuffer) {
        let seconds = Self.floorDivide(self.microseconds, 1_000_000)
        let days = Self.floorDivide(seconds, 86_400)
        let second = Int(seconds - days * 86_400)
        let (year, month, day) = Self.civil(daysSinceEpoch: days)
        Self.append(year, digits: 4, to: &line)
        line.append(byte: UInt8(ascii: "-"))
        Self.append(month, digits: 2, to: &line)
        line.append(byte: UInt8(ascii: "-"))
        Self.append(day, digits: 2, to: &line)
        line.append(byte: UInt8(ascii: "T"))
        Self.append(second / 3_600, digits: 2, to: &line)
        line.append(byte: UInt8(ascii: ":"))
        Self.append(second / 60 % 60, digits: 2, to: &line)
        line.append(byte: UInt8(ascii: ":"))
        Self.append(second % 60, digits: 2, to: &line)
        line.append(byte: UInt8(ascii: "."))
        Self.append(Int(self.microseconds - seconds * 1_000_000), digits: 6, to: &line)
        line.append(byte: UInt8(ascii: "Z"))
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }

    /// The proleptic Gregorian date of a day: years are counted from March, so that the leap day comes last, in eras of
    /// 400 years that all have 146,097 days.
    private static func civil(daysSinceEpoch days: Int64) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = self.floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (Int(yearOfEra + era * 400 + (month <= 2 ? 1 : 0)), Int(month), Int(day))
    }

    private static func append(_ value: Int, digits: Int, to line: inout LineBuffer) {
        let text = String(value)
        for _ in 0..<max(0, digits - text.utf8.count) { line.append(byte: UInt8(ascii: "0")) }
        line.append(text)
    }
}
