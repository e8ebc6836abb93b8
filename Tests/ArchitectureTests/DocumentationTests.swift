import Foundation
import Testing

/// The generated lists of `docs/` against the code.
@Suite("The lists in the documentation")
struct DocumentationTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func sources() throws -> String {
        let folder = self.root.appendingPathComponent("Sources")
        let files = try #require(FileManager.default.enumerator(atPath: folder.path))
        var text = ""
        for case let file as String in files where file.hasSuffix(".swift") && !file.hasSuffix(".pb.swift") {
            text += try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
        }
        return text
    }

    private static func page(_ name: String) throws -> String {
        try String(contentsOf: self.root.appendingPathComponent("docs/\(name)"), encoding: .utf8)
    }

    /// What the first group of a pattern finds, once each.
    private static func all(_ pattern: String, in text: String) throws -> Set<String> {
        Set(text.matches(of: try Regex(pattern)).compactMap { $0.output[1].substring.map { String($0) } })
    }

    @Test("every environment variable that the code reads is in docs/configuration.md")
    func configuration() throws {
        let names = try Self.all(
            #"(?:string|required|value|port|boolean|duration|milliseconds)\(\s*"([A-Z][A-Z0-9_]+)""#, in: Self.sources()
        )
        #expect(names.count > 20)
        let page = try Self.page("configuration.md")
        for name in names.sorted() { #expect(page.contains("`\(name)`"), "\(name) is not documented") }
    }

    @Test("every event that the code records is in docs/events.md")
    func events() throws {
        let names = try Self.all(#"EventType\("([a-z_.]+)", version"#, in: Self.sources())
        #expect(names.count > 10)
        let page = try Self.page("events.md")
        for name in names.sorted() { #expect(page.contains("\(name).v1"), "\(name) is not documented") }
    }
}
