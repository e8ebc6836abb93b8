extension Array: PostgresEncodable where Element: PostgresEncodable {
    public static var postgresType: UInt32 { Element.postgresArrayType }
    public static var postgresArrayType: UInt32 { Element.postgresArrayType }
    public static var postgresFormat: PostgresFormat { Element.postgresFormat }

    /// An array literal: every element quoted, so that commas, braces and the word NULL in it stay data.
    public var postgresText: String? {
        ArrayLiteral.text(self.map { $0.postgresText })
    }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        guard Element.postgresFormat == .binary else {
            buffer.append(ArrayLiteral.text(self.map { $0.postgresText }))
            return true
        }
        PostgresArray.encode([self.count], self, into: &buffer)
        return true
    }
}

/// An array of any number of dimensions, its elements in row-major order: the last index varies fastest.
///
/// PostgreSQL has no array of arrays but rectangles; `Array` is one of a single dimension.
public struct PostgresArray<Element: Sendable>: Sendable {
    /// Elements along each dimension; none where the array is empty.
    public let dimensions: [Int]
    public let elements: [Element]

    /// `nil` where the elements do not fill the dimensions, or there are more than six of them, which PostgreSQL cannot keep.
    public init?(dimensions: [Int], elements: [Element]) {
        guard dimensions.count <= 6, dimensions.allSatisfy({ $0 > 0 }) else { return nil }
        var count = dimensions.isEmpty ? 0 : 1
        for size in dimensions {
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            guard !overflow else { return nil }
            count = product
        }
        guard elements.count == count else { return nil }
        self.dimensions = dimensions
        self.elements = elements
    }
}

extension PostgresArray: Equatable where Element: Equatable {}

extension PostgresArray: PostgresEncodable where Element: PostgresEncodable {
    public static var postgresType: UInt32 { Element.postgresArrayType }
    public static var postgresArrayType: UInt32 { Element.postgresArrayType }
    public static var postgresFormat: PostgresFormat { Element.postgresFormat }

    public var postgresText: String? {
        guard !self.dimensions.isEmpty else { return "{}" }
        return self.text(self.elements[...], self.dimensions[...])
    }

    private func text(_ elements: ArraySlice<Element>, _ dimensions: ArraySlice<Int>) -> String {
        guard dimensions.count > 1, let first = dimensions.first else {
            return ArrayLiteral.text(elements.map { $0.postgresText })
        }
        let size = elements.count / first
        let parts = (0..<first).map { index -> String in
            let start = elements.startIndex + index * size
            return self.text(elements[start..<start + size], dimensions.dropFirst())
        }
        return "{" + parts.joined(separator: ",") + "}"
    }

    public func encode(into buffer: inout PostgresBuffer) -> Bool {
        if Element.postgresFormat == .text {
            buffer.append(self.postgresText ?? "{}")
        } else {
            Self.encode(self.dimensions, self.elements, into: &buffer)
        }
        return true
    }

    /// As `array_recv` of PostgreSQL reads it: dimensions, whether there are NULLs, the elements' type; size and lower bound of
    /// each dimension; each element behind its length.
    static func encode(_ dimensions: [Int], _ elements: [Element], into buffer: inout PostgresBuffer) {
        guard !elements.isEmpty else {
            buffer.append(Int32(0))
            buffer.append(Int32(0))
            buffer.append(Element.postgresType)
            return
        }
        buffer.append(Int32(dimensions.count))
        // The server looks for NULLs itself.
        buffer.append(Int32(1))
        buffer.append(Element.postgresType)
        for size in dimensions {
            buffer.append(Int32(clamping: size))
            buffer.append(Int32(1))
        }
        for element in elements {
            var isNull = false
            let start = buffer.bytes.count
            buffer.appendCounted { isNull = !element.encode(into: &$0) }
            if isNull { buffer.setNull(at: start) }
        }
    }
}

extension PostgresBuffer {
    /// Makes the length at `start` that of a NULL.
    fileprivate mutating func setNull(at start: Int) {
        self.replaceLength(at: start, with: -1)
    }
}

extension PostgresArray: PostgresDecodable where Element: PostgresDecodable {
    public init(_ cell: PostgresCell) throws {
        let (dimensions, cells) = try cell.arrayElements()
        self.dimensions = dimensions
        self.elements = try cells.map { try Element($0) }
    }
}

extension Array: PostgresDecodable where Element: PostgresDecodable {
    /// Reads an array of one dimension.
    public init(_ cell: PostgresCell) throws {
        let (dimensions, cells) = try cell.arrayElements()
        guard dimensions.count <= 1 else { throw cell.fail("a one-dimensional array") }
        self = try cells.map { try Element($0) }
    }
}

/// Arrays in PostgreSQL's text format.
enum ArrayLiteral {
    static func text(_ elements: [String?]) -> String {
        var text = "{"
        for (index, element) in elements.enumerated() {
            if index > 0 { text += "," }
            guard let value = element else {
                text += "NULL"
                continue
            }
            text += "\""
            for character in value.unicodeScalars {
                if character == "\"" || character == "\\" { text += "\\" }
                text.unicodeScalars.append(character)
            }
            text += "\""
        }
        return text + "}"
    }

    /// The elements of `{a,"b c",NULL}`; `nil` where it is not an array of one dimension.
    static func parse(_ text: String) -> [String?]? {
        guard let (dimensions, elements) = Self.parseAll(text), dimensions.count <= 1 else { return nil }
        return elements
    }

    /// Dimensions and elements of an array; `nil` where it is none, or no rectangle.
    static func parseAll(_ text: String) -> (dimensions: [Int], elements: [String?])? {
        var scanner = Scanner(text)
        // `[0:2]={…}` says the bounds of an array that does not begin at 1; they can be counted as well.
        if text.unicodeScalars.first == "[" { guard scanner.skipBounds() else { return nil } }
        guard scanner.array(depth: 0), scanner.isAtEnd else { return nil }
        if scanner.elements.isEmpty { return scanner.sizes.count <= 1 ? ([], []) : nil }
        let count = scanner.sizes.reduce(1, *)
        return count == scanner.elements.count ? (scanner.sizes, scanner.elements) : nil
    }

    private struct Scanner {
        // Code points, not characters: an element may begin with one that joins the brace.
        private let scalars: [Unicode.Scalar]
        private var index = 0
        var elements: [String?] = []
        var sizes: [Int] = []
        /// Of the arrays that hold elements.
        private var leafDepth: Int?

        init(_ text: String) { self.scalars = Array(text.unicodeScalars) }

        var isAtEnd: Bool { self.index == self.scalars.count }

        private var next: Unicode.Scalar? { self.index < self.scalars.count ? self.scalars[self.index] : nil }

        private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
            guard self.next == scalar else { return false }
            self.index += 1
            return true
        }

        mutating func skipBounds() -> Bool {
            guard let end = self.scalars.firstIndex(of: "="),
                self.scalars[..<end].allSatisfy({ "[]:-0123456789".unicodeScalars.contains($0) })
            else { return false }
            self.index = end + 1
            return true
        }

        mutating func array(depth: Int) -> Bool {
            guard depth < 6, self.take("{") else { return false }
            if self.take("}") {
                if depth == 0 { self.sizes = [0] }
                return depth == 0
            }
            var count = 0
            let holdsArrays = self.next == "{"
            repeat {
                guard holdsArrays == (self.next == "{") else { return false }
                guard holdsArrays ? self.array(depth: depth + 1) : self.element() else { return false }
                count += 1
            } while self.take(",")
            guard self.take("}") else { return false }
            return self.hasSize(count, at: depth, isInnermost: !holdsArrays)
        }

        /// All arrays of one depth have one size, and are of one depth below.
        private mutating func hasSize(_ count: Int, at depth: Int, isInnermost: Bool) -> Bool {
            // Filled from the innermost: what is missing in between belongs to those that are still open.
            while self.sizes.count <= depth { self.sizes.append(-1) }
            if isInnermost {
                if self.leafDepth.map({ $0 != depth }) ?? false { return false }
                self.leafDepth = depth
            }
            if self.sizes[depth] == -1 { self.sizes[depth] = count }
            return self.sizes[depth] == count
        }

        private mutating func element() -> Bool {
            var value = String.UnicodeScalarView()
            if self.take("\"") {
                while let scalar = self.next, scalar != "\"" {
                    if scalar == "\\" { self.index += 1 }
                    guard let scalar = self.next else { return false }
                    value.append(scalar)
                    self.index += 1
                }
                guard self.take("\"") else { return false }
                self.elements.append(String(value))
                return true
            }
            var isEscaped = false
            while let scalar = self.next, scalar != ",", scalar != "}", scalar != "{", scalar != "\"" {
                if scalar == "\\" {
                    isEscaped = true
                    self.index += 1
                }
                guard let scalar = self.next else { return false }
                value.append(scalar)
                self.index += 1
            }
            let text = String(value)
            self.elements.append(!isEscaped && text == "NULL" ? nil : text)
            return true
        }
    }
}
