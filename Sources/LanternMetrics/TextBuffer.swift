import CLanternMetrics

/// A growing text: the wrapper of `lantern_text.h`.
///
/// Not `Sendable`: one scrape writes into it, one task at a time.
final class TextBuffer {
    private var text = lantern_text()

    deinit { lantern_text_free(&self.text) }

    var count: Int { self.text.count }

    func append(_ byte: UInt8) {
        var byte = byte
        lantern_text_append(&self.text, &byte, 1)
    }

    func append(_ bytes: [UInt8]) { lantern_text_append(&self.text, bytes, bytes.count) }

    func append(_ bytes: ArraySlice<UInt8>) {
        bytes.withUnsafeBufferPointer { lantern_text_append(&self.text, $0.baseAddress, $0.count) }
    }

    func append(_ string: String) {
        var string = string
        string.withUTF8 { lantern_text_append(&self.text, $0.baseAddress, $0.count) }
    }

    func append(_ number: UInt64) { lantern_text_append_number(&self.text, number) }

    /// As the text formats write floating-point numbers; whole ones without a fraction.
    func append(_ value: Double) {
        if value.isNaN { return self.append("NaN") }
        if value.isInfinite { return self.append(value > 0 ? "+Inf" : "-Inf") }
        if value == value.rounded(), abs(value) < 9_007_199_254_740_992 {
            if value < 0 { self.append(UInt8(ascii: "-")) }
            return self.append(UInt64(abs(value)))
        }
        self.append(value.description)
    }

    /// `name{labels} `, where `name` ends in its brace.
    @inline(__always)
    func append(series name: [UInt8], _ labels: UnsafeBufferPointer<UInt8>) {
        lantern_text_append_series(&self.text, name, name.count, labels.baseAddress, labels.count)
    }

    /// `name{labels} value` and a newline.
    @inline(__always)
    func append(line name: [UInt8], _ labels: UnsafeBufferPointer<UInt8>, _ value: UInt64) {
        lantern_text_append_line(&self.text, name, name.count, labels.baseAddress, labels.count, value)
    }

    /// `name{labels,bound`, where `name` ends in its brace and `bound` in that and a space.
    @inline(__always)
    func append(bucket name: [UInt8], _ labels: UnsafeBufferPointer<UInt8>, _ bound: ArraySlice<UInt8>) {
        bound.withUnsafeBufferPointer { bound in
            guard let start = bound.baseAddress else { return }
            lantern_text_append_bucket(
                &self.text, name, name.count, labels.baseAddress, labels.count, start, bound.count
            )
        }
    }

    /// The lines of a histogram's buckets; answers the count of all. `cell` is the first bucket's.
    func append(
        buckets name: [UInt8], _ labels: UnsafeBufferPointer<UInt8>, _ bounds: BoundTexts, _ reader: inout CellReader,
        _ cell: CellAddress
    ) -> UInt64 {
        reader.withPages(of: cell) { pages in
            lantern_text_append_buckets(
                &self.text, pages, cell.offset, UInt32(bounds.ends.count), name, name.count, labels.baseAddress,
                labels.count, bounds.text, bounds.ends
            )
        }
    }

    /// What was written since the last call.
    func take() -> [UInt8] {
        defer { self.text.count = 0 }
        return Array(UnsafeBufferPointer(start: self.text.bytes, count: self.text.count))
    }
}

/// `le="0.005"} ` for each bound of a histogram, `+Inf` last, one behind the other.
struct BoundTexts: Sendable {
    private(set) var text: [UInt8] = []
    private(set) var ends: [UInt32] = []

    /// The same text in all formats, so that a series does not change its name with the format: OpenMetrics asks for
    /// "1.0" where the older format is free.
    init(_ bounds: [Double]) {
        for bound in bounds + [.infinity] {
            self.text += Array("le=\"\(bound.isInfinite ? "+Inf" : "\(bound)")\"} ".utf8)
            self.ends.append(UInt32(self.text.count))
        }
    }

    subscript(_ index: Int) -> ArraySlice<UInt8> {
        self.text[(index == 0 ? 0 : Int(self.ends[index - 1]))..<Int(self.ends[index])]
    }
}
