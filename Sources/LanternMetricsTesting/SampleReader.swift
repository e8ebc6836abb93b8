/// Reads one sample line of the Prometheus text format.
struct SampleReader {
    private var rest: ArraySlice<UInt8>

    init(_ line: String) { self.rest = Array(line.utf8)[...] }

    mutating func sample() -> MetricsSnapshot.Sample? {
        let name = self.take { $0 != UInt8(ascii: "{") && $0 != UInt8(ascii: " ") }
        var labels: [String: String] = [:]
        if self.skip("{") {
            while !self.skip("}") {
                let label = self.take { $0 != UInt8(ascii: "=") }
                guard self.skip("="), let value = self.quoted() else { return nil }
                labels[label] = value
                guard self.skip(",") || self.rest.first == UInt8(ascii: "}") else { return nil }
            }
        }
        guard !name.isEmpty, self.skip(" "), let value = self.number() else { return nil }
        return MetricsSnapshot.Sample(name: name, labels: labels, value: value)
    }

    private mutating func take(while condition: (UInt8) -> Bool) -> String {
        let taken = self.rest.prefix(while: condition)
        self.rest = self.rest[taken.endIndex...]
        return String(decoding: taken, as: UTF8.self)
    }

    private mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard self.rest.first == UInt8(ascii: character) else { return false }
        self.rest.removeFirst()
        return true
    }

    private mutating func quoted() -> String? {
        guard self.skip("\"") else { return nil }
        var value: [UInt8] = []
        while let byte = self.rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: value, as: UTF8.self)
            case UInt8(ascii: "\\"):
                switch self.rest.popFirst() {
                case UInt8(ascii: "n"): value.append(UInt8(ascii: "\n"))
                case UInt8(ascii: "\""): value.append(UInt8(ascii: "\""))
                case UInt8(ascii: "\\"): value.append(UInt8(ascii: "\\"))
                default: return nil
                }
            default: value.append(byte)
            }
        }
        return nil
    }

    private func number() -> Double? {
        switch String(decoding: self.rest, as: UTF8.self) {
        case "+Inf": .infinity
        case "-Inf": -.infinity
        case "NaN": .nan
        case let text: Double(text)
        }
    }
}
