@testable import LanternPostgres

extension SQLParameters {
    /// What each value is in PostgreSQL's text format; `nil` is NULL, and floating point in binary format.
    var texts: [String?] {
        self.items.map { item in
            guard item.length >= 0 else { return nil }
            let start = Int(item.start)
            return self.buffer.bytes[start..<start + Int(item.length)].withUnsafeBytes { bytes in
                item.format == .text
                    ? String(decoding: bytes, as: UTF8.self) : PostgresBinary.text(of: bytes, type: item.type)
            }
        }
    }

    /// Object ids of their types.
    var types: [UInt32] { self.items.map { $0.type } }
}
