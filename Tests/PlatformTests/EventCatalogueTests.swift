import ActivityService
import AuthService
import Foundation
import Lantern
import OrderService
import Testing

/// The lists of events in `docs/` against the code; `LANTERN_GENERATE=1` writes them.
@Suite("The catalogue of events")
struct EventCatalogueTests {
    private static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("docs")
    private static let page = folder.appendingPathComponent("events.md")
    private static func record(_ service: String) -> URL {
        self.folder.appendingPathComponent("events/\(service).json")
    }

    private static let isGenerating = ProcessInfo.processInfo.environment["LANTERN_GENERATE"] != nil

    private static func catalogues() throws -> [EventCatalogue] {
        [try Auth.catalogue(), try Ordering.catalogue(), try Activity.catalogue()]
    }

    private static let introduction = """
        # Event types

        Every event type, generated from the code by `make generate`; the schemas stand in [events/](events). The data is JSON with
        sorted keys; an optional member is left out where there is no value. Headers are in [wire.md](wire.md).
        `ce_type` is the type as written here, with its version; the action on the timeline is the same without it. The
        examples show the form, not an event that happened.


        """

    private static let control = """

        ## Control
        Records that are never entries of the timeline; [wire.md](wire.md) says what they mean.

        | `ce_type` | topic | value |
        |---|---|---|
        | `lantern.source.head.v1` | `<service>.events.v1`, every partition | `source`, `epoch`, `sequence`, `partitions`, `previous?` |
        | `lantern.source.acknowledged.v1` | `lantern.control.v1` | `source`, `through`: array of `epoch`, `sequence` |
        | `lantern.replay.requested.v1` | `lantern.control.v1` | `source`, `epoch`, `ranges`: array of first and last |

        """

    @Test("docs/events.md is what the code says")
    func page() throws {
        let text =
            Self.introduction + (try Self.catalogues().map { try $0.markdown() }.joined(separator: "\n"))
            + Self.control
        if Self.isGenerating { try text.write(to: Self.page, atomically: true, encoding: .utf8) }
        #expect(try String(contentsOf: Self.page, encoding: .utf8) == text, "run `make generate`")
    }

    @Test("an event type that changed can still be read, by old readers and of old events", arguments: 0..<3)
    func compatible(index: Int) throws {
        let catalogue = try Self.catalogues()[index]
        let file = Self.record(catalogue.service)
        if let recorded = try? Data(contentsOf: file) {
            #expect(
                try catalogue.incompatibilities(with: recorded) == [], "give the type a new version and an upcaster")
        } else {
            #expect(Self.isGenerating, "\(catalogue.service) has no record; run `make generate`")
        }
        if Self.isGenerating {
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try catalogue.recorded().write(to: file)
        }
        #expect(try Data(contentsOf: file) == catalogue.recorded(), "run `make generate`")
    }
}
