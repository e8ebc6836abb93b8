import Foundation
import LanternMetrics
import Testing

@testable import Lantern

/// `docs/metrics.md` lists what the code declares. `make generate` writes the list anew.
@Suite("The list of metrics")
struct MetricsPageTests {
    private static let page = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("docs/metrics.md")
    private static let begin = "<!-- Generated from the declarations by `make generate`. -->\n"
    private static let end = "<!-- End of what is generated. -->\n"

    private static let groups: [(title: String, prefixes: [String])] = [
        ("HTTP", ["http_"]), ("Database", ["db_"]), ("Kafka", ["messaging_"]),
        (
            "Events and timeline",
            [
                "lantern_outbox_", "lantern_event_visible_", "lantern_source_", "lantern_duplicates_",
                "lantern_dead_letters_", "lantern_log_size",
            ]
        ),
        ("Process", ["process_"]), ("Telemetry itself", [""]),
    ]

    private static func tables(_ declarations: [MetricDeclaration]) -> String {
        var rest = declarations
        return self.groups.map { title, prefixes in
            let rows = rest.filter { declaration in prefixes.contains { declaration.name.hasPrefix($0) } }
            rest.removeAll { declaration in rows.contains { $0.name == declaration.name } }
            return
                (["## \(title)", "| name | type | labels | help |", "|---|---|---|---|"]
                + rows.map { row in
                    let labels = row.labels.isEmpty ? "–" : row.labels.map { "`\($0)`" }.joined(separator: ", ")
                    let type = row.kind.rawValue + (row.isNative ? ", also native" : "")
                    return "| `\(row.name)` | \(type) | \(labels) | \(row.help) |"
                }).joined(separator: "\n") + "\n"
        }.joined(separator: "\n")
    }

    @Test("docs/metrics.md is what the declarations say")
    func isGenerated() throws {
        let telemetry = try Telemetry(
            service: "order", version: "1", settings: Settings(environment: [:]), overrides: Telemetry.Overrides()
        )
        let tables = Self.tables(telemetry.registry.declarations)
        let page = try String(contentsOf: Self.page, encoding: .utf8)
        let start = try #require(page.firstRange(of: Self.begin)?.upperBound)
        let stop = try #require(page.firstRange(of: Self.end)?.lowerBound)
        if ProcessInfo.processInfo.environment["LANTERN_GENERATE"] == "1" {
            try (page[..<start] + tables + page[stop...]).write(to: Self.page, atomically: true, encoding: .utf8)
        } else {
            #expect(String(page[start..<stop]) == tables, "run `make generate`")
        }
    }
}
