import Foundation
import Testing

/// The house as `ARCHITECTURE.md` draws it: imports point down only, and the tools do not know each other.
@Suite("The floors of the house")
struct FloorTests {
    private static let floors: [String: Int] = [
        "CLibPQ": -1, "CRDKafka": -1, "CZlib": -1, "CLanternSystem": -1, "CBrokerPort": -1,
        "CLanternMetrics": -1,
        "CLanternLogging": -1,
        "LanternLogging": 0, "LanternMetrics": 0, "LanternTracing": 0, "LanternPostgres": 0, "LanternKafka": 0,
        "LanternKafkaTesting": 0, "LanternJSON": 0,
        "LanternHTTP": 1, "LanternEvents": 1, "LanternIdentity": 1, "LanternMetricsTesting": 1,
        "LanternTracingTesting": 1,
        "Lantern": 2, "LanternLocal": 2, "LanternEventsTesting": 2,
        "AuthService": 3, "OrderService": 3, "ActivityService": 3,
        "auth": 4, "order": 4, "activity": 4, "LanternCLI": 4,
    ]

    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Every import of every source file: `(target, file, module)`.
    private static func imports() throws -> [(target: String, file: String, module: String)] {
        let sources = self.root.appendingPathComponent("Sources")
        let files = try #require(FileManager.default.enumerator(atPath: sources.path))
        var found: [(String, String, String)] = []
        for case let file as String in files where file.hasSuffix(".swift") {
            let target = String(file.prefix { $0 != "/" })
            let text = try String(contentsOf: sources.appendingPathComponent(file), encoding: .utf8)
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ").filter {
                    !$0.hasPrefix("@") && !["public", "package", "internal"].contains($0)
                }
                guard words.count >= 2, words[0] == "import" else { continue }
                found.append((target, file, String(words[words.count - 1].prefix { $0 != "." })))
            }
        }
        return found
    }

    @Test("every target has a floor, and every floor's target exists")
    func complete() throws {
        let folders = try FileManager.default.contentsOfDirectory(
            atPath: Self.root.appendingPathComponent("Sources").path)
        #expect(Set(folders) == Set(Self.floors.keys))
        #expect(Set(folders.map { $0.lowercased() }).count == folders.count, "two folders differ only in case")
    }

    @Test("imports point down only")
    func downwards() throws {
        let imports = try Self.imports()
        #expect(imports.count > 100)
        for (target, file, module) in imports {
            guard let from = Self.floors[target], let to = Self.floors[module] else { continue }
            #expect(to < from, "\(file) imports \(module), which is not below \(target)")
        }
    }

    @Test("a file of one subject stays short")
    func short() throws {
        let sources = Self.root.appendingPathComponent("Sources")
        let files = try #require(FileManager.default.enumerator(atPath: sources.path))
        for case let file as String in files where file.hasSuffix(".swift") && !file.hasSuffix(".pb.swift") {
            let lines = try String(contentsOf: sources.appendingPathComponent(file), encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            #expect(lines.count <= 500, "\(file) has \(lines.count) lines")
        }
    }
}
