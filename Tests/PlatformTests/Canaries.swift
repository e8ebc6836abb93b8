import Foundation
import Glibc
import Synchronization

/// A secret that can be told from all other text, and where it may be seen all the same.
struct Canary: Sendable, Equatable {
    enum Tolerance: Sendable {
        case nowhere
        /// In a path: `url.path` may show it, as OpenTelemetry says.
        case path
        /// In a `User-Agent`: `user_agent.original` may show it.
        case userAgent
    }

    var text: String
    /// What it was sent as: `cookie of POST /v1/users (as intended)`.
    var origin: String
    var tolerance = Tolerance.nowhere
}

/// Makes marked secrets, keeps those that others have made, and finds both in any text: as they are, in base64 and base64url
/// wherever they begin in it, and in hexadecimal.
final class Canaries: Sendable {
    private struct State {
        var planted: [Canary] = []
        var watched: [(canary: Canary, bytes: [UInt8])] = []
    }

    private let state = Mutex(State())
    /// All that are planted begin with it, so that one search finds whichever of them is there.
    private let marker: String
    private let encodedMarkers: [[UInt8]]

    init() {
        self.marker = "canary" + String(UInt64.random(in: UInt64.max / 2...UInt64.max), radix: 16)
        self.encodedMarkers = Self.encodings(of: self.marker)
    }

    /// A new marked secret: letters and digits, enough of them for a password.
    func plant(_ origin: String, _ tolerance: Canary.Tolerance = .nowhere) -> String {
        self.state.withLock { state in
            let text = "\(self.marker)n\(state.planted.count)z"
            state.planted.append(Canary(text: text, origin: origin, tolerance: tolerance))
            return text
        }
    }

    /// A secret that a service made, or was configured with.
    func watch(_ text: String, _ origin: String) {
        self.state.withLock { $0.watched.append((Canary(text: text, origin: origin), Array(text.utf8))) }
    }

    /// A token, as a whole, and those of its parts without which it is worthless.
    /// - Returns: What is watched.
    @discardableResult
    func watch(token: String, _ origin: String) -> Set<String> {
        var texts: Set<String> = [token]
        let parts = token.split(separator: ".")
        if parts.count == 3 { texts.formUnion(parts[1...].map { String($0) }) }
        for text in texts { self.watch(text, text == token ? origin : "part of \(origin)") }
        return texts
    }

    /// The secrets that a text holds.
    func found(in text: String) -> [Canary] {
        let (planted, watched) = self.state.withLock { ($0.planted, $0.watched) }
        let text = SearchedText(text)
        var found = watched.filter { text.holds($0.bytes) }.map(\.canary)
        for end in text.ends(of: Array(self.marker.utf8)) {
            // `n`, the number, `z`.
            let number = text.bytes[end...].dropFirst().prefix { (0x30...0x39).contains($0) }
            let index = Int(String(decoding: number, as: UTF8.self))
            found.append(
                index.flatMap { planted.indices.contains($0) ? planted[$0] : nil }
                    ?? Canary(text: self.marker, origin: "a piece of one")
            )
        }
        guard self.encodedMarkers.contains(where: text.holds) else { return found }
        let encoded = planted.filter { Self.encodings(of: $0.text).contains(where: text.holds) }
        return found + (encoded.isEmpty ? [Canary(text: self.marker, origin: "an encoded piece of one")] : encoded)
    }

    /// What a text is in hexadecimal, and what of it shows in base64 of something that holds it.
    private static func encodings(of text: String) -> [[UInt8]] {
        var encodings = [text.utf8.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()]
        for offset in 0..<3 {
            let bytes = Array(repeating: UInt8(0), count: offset) + text.utf8
            // Digits that also hold bits of what stands before or behind are left out.
            let digits = Data(bytes).base64EncodedString().filter { $0 != "=" }.dropFirst([0, 2, 3][offset])
            let base64 = String(bytes.count % 3 == 0 ? digits : digits.dropLast())
            encodings.append(base64)
            let url = base64.replacing("+", with: "-").replacing("/", with: "_")
            if url != base64 { encodings.append(url) }
        }
        return encodings.map { Array($0.utf8) }
    }
}

/// Finds bytes in a text, quickly: there are megabytes to look through.
private struct SearchedText {
    let bytes: [UInt8]

    init(_ text: String) { self.bytes = Array(text.utf8) }

    func holds(_ part: [UInt8]) -> Bool { self.end(of: part, from: 0) != nil }

    /// Where each occurrence ends.
    func ends(of part: [UInt8]) -> [Int] {
        var ends: [Int] = []
        while let end = self.end(of: part, from: ends.last ?? 0) { ends.append(end) }
        return ends
    }

    private func end(of part: [UInt8], from start: Int) -> Int? {
        guard let first = part.first else { return nil }
        return self.bytes.withUnsafeBytes { all in
            guard let base = all.baseAddress else { return nil }
            var index = start
            while index + part.count <= all.count {
                // Within the array: the part fits behind every place that is looked at.
                let rest = all.count - part.count - index + 1
                guard let hit = memchr(base + index, Int32(first), rest) else { return nil }
                index = UnsafeRawPointer(hit) - base
                if memcmp(base + index, part, part.count) == 0 { return index + part.count }
                index += 1
            }
            return nil
        }
    }
}

/// A text that a service gave away, and what may be in it.
struct Place: Sendable {
    var name: String
    var text: String
    var tolerates: Canary.Tolerance?
    /// Secrets of whoever this was given to.
    var owned: Set<String> = []

    /// What is in it that must not be, each by its origin and this place.
    func findings(_ canaries: Canaries) -> [String] {
        canaries.found(in: self.text).filter { canary in
            !self.owned.contains(canary.text) && (canary.tolerance == .nowhere || canary.tolerance != self.tolerates)
        }
        .map { "\($0.origin): in \(self.name)" }
    }
}
