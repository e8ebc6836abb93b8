import Foundation
import HTTPTypes
import Lantern
import NIOCore

/// The routes of the timeline.
struct TimelineController: Sendable {
    let timeline: TimelineStore
    let sources: SourceStore

    func register(on router: Router<PlatformContext>) {
        router.get("/v1/timeline", use: self.list)
        router.get("/v1/timeline/{id}", use: self.get)
        router.get("/v1/sources", use: self.listSources)
    }

    @Sendable private func list(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let query = try TimelineQuery(request, restrictedTo: try self.restriction(context))
        let result = try await self.timeline.page(query)
        var body = Data("{\"data\":[".utf8)
        for (index, entry) in result.entries.enumerated() {
            if index > 0 { body.append(UInt8(ascii: ",")) }
            body.append(try entry.json())
        }
        body.append(contentsOf: "],\"page\":".utf8)
        body.append(try JSON.encoder().encode(try self.cursors(result, query)))
        body.append(UInt8(ascii: "}"))
        return Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body))
        )
    }

    private func cursors(_ result: TimelineStore.Result, _ query: TimelineQuery) throws -> Page<Entry>.Cursors {
        let backwards = query.cursor?.direction == .previous
        func cursor(_ entry: Entry?, _ direction: TimelineCursor.Direction) throws -> String? {
            try entry.map { entry in
                try Cursor.encode(
                    TimelineCursor(
                        asOf: result.asOf, filters: query.filtersHash, order: query.order, direction: direction,
                        time: entry.time.description, id: entry.id.description, logIndex: entry.log_index
                    )
                )
            }
        }
        return Page<Entry>(
            [],
            next: try backwards || result.more ? cursor(result.entries.last, .next) : nil,
            previous: try (backwards ? result.more : query.cursor != nil)
                ? cursor(result.entries.first, .previous) : nil
        ).page
    }

    @Sendable private func get(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let restriction = try self.restriction(context)
        let id = try context.parameter("id", of: "entry") { Identifier<Entry>($0) }
        guard let entry = try await self.timeline.find(id, restrictedTo: restriction) else {
            throw Problem.notFound("entry")
        }
        return Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try entry.json()))
        )
    }

    @Sendable private func listSources(_ request: Request, _ context: PlatformContext) async throws -> Response {
        _ = try context.require(.auditor, .admin)
        return try JSON.response(Page(try await self.sources.all(), next: nil, previous: nil))
    }

    /// Auditors and admins see all; everybody else their own acts.
    private func restriction(_ context: PlatformContext) throws -> String? {
        let principal = try context.requirePrincipal()
        return principal.has(.auditor) || principal.has(.admin) ? nil : principal.subject
    }
}
