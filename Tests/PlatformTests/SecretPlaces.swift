import Foundation
import Lantern
import LanternLogging
import LanternTracing
import NIOHTTP1
import TestSupport
import Tracing

/// Everything that a platform has said to anybody: its log, its spans, its metrics, its events.
enum SecretPlaces {
    // MARK: Log

    /// The members of those lines that hold a secret.
    static func log(of service: String, _ lines: [String], _ canaries: Canaries) -> [Place] {
        lines.filter { !canaries.found(in: $0).isEmpty }.flatMap { line -> [Place] in
            guard let members = (try? JSONSerialization.jsonObject(with: Data(line.utf8))) as? [String: Any] else {
                return [Place(name: "a log line of \(service) that is no JSON", text: line)]
            }
            let message = members["message"] as? String ?? ""
            return self.texts(members, "").map { path, text in
                Place(
                    name: "log of \(service), \(path) of \"\(message.prefix(60))\"", text: text,
                    tolerates: path == "url.path" ? .path : nil
                )
            }
        }
    }

    /// All that a JSON value holds, by the way to it; names of members count as well.
    static func texts(_ value: Any, _ path: String) -> [(path: String, text: String)] {
        switch value {
        case let object as [String: Any]:
            object.flatMap { key, value in
                let inner = path.isEmpty ? key : "\(path) > \(key)"
                return [(path: "a name in \(path)", text: key)] + self.texts(value, inner)
            }
        case let list as [Any]: list.flatMap { self.texts($0, path) }
        default: [(path: path, text: "\(value)")]
        }
    }

    // MARK: Spans

    /// What those spans consist of that hold a secret.
    static func spans(of service: String, _ spans: [FinishedSpan], _ canaries: Canaries) -> [Place] {
        spans.flatMap { span -> [Place] in
            let owner = "span \"\(span.name.prefix(60))\" of \(service)"
            var places = [Place(name: "name of a \(owner)", text: span.name)]
            places.append(Place(name: "tracestate of \(owner)", text: span.context.traceState))
            places.append(Place(name: "status of \(owner)", text: span.status?.message ?? ""))
            places += self.attributes(span.attributes, owner)
            for event in span.events {
                places.append(Place(name: "an event of \(owner)", text: event.name))
                places += self.attributes(event.attributes, "event \"\(event.name)\" of \(owner)")
            }
            for link in span.links {
                places.append(Place(name: "a link of \(owner)", text: link.context.spanContext?.traceState ?? ""))
                places += self.attributes(link.attributes, "a link of \(owner)")
            }
            return canaries.found(in: places.map(\.text).joined(separator: "\n")).isEmpty ? [] : places
        }
    }

    private static func attributes(_ attributes: SpanAttributes, _ owner: String) -> [Place] {
        var places: [Place] = []
        attributes.forEach { key, value in
            var text = "\(value)"
            if case .string(let string) = value { text = string }
            let tolerates: Canary.Tolerance? =
                switch key {
                case "url.path": .path
                case "user_agent.original": .userAgent
                default: nil
                }
            places.append(Place(name: "attribute \(key) of \(owner)", text: text, tolerates: tolerates))
            places.append(Place(name: "an attribute's name of \(owner)", text: key))
        }
        return places
    }

    // MARK: Events

    /// Rows of the outbox, all columns of them, with the data as text.
    static func outbox(of service: TestPlatform.Running, _ platform: TestPlatform) async throws -> [Place] {
        try await platform.withDatabase(of: service) { database in
            let rows = try await database.query(
                "SELECT type, (to_jsonb(o) - 'data')::text AS columns, convert_from(data, 'UTF8') AS data FROM outbox o"
            )
            return try rows.flatMap { row in
                let owner = "event \(try row("type", as: String.self)) in the outbox of \(service.host.name)"
                return [
                    Place(name: "a column of \(owner)", text: try row("columns")),
                    Place(name: "the data of \(owner)", text: try row("data")),
                ]
            }
        }
    }

    /// All entries of the timeline, once what the services recorded is there.
    static func timeline(_ platform: TestPlatform, token: String) async throws -> [[String: Any]] {
        var expected = 0
        for service in [platform.auth, platform.order] {
            expected += try await platform.withDatabase(of: service) { database in
                try await database.query("SELECT id FROM outbox").count
            }
        }
        nonisolated(unsafe) var entries: [[String: Any]] = []
        let count = expected
        _ = try await eventually { () -> Bool? in
            entries = []
            var cursor = ""
            while true {
                let url = "\(platform.activity.url)/v1/timeline?order=log&limit=200\(cursor)"
                let answer = try await platform.send(.GET, url, token: token)
                entries += answer.list
                guard let next = (answer.json["page"] as? [String: Any])?["next_cursor"] as? String else { break }
                cursor = "&cursor=\(next)"
            }
            return entries.count >= count ? true : nil
        }
        return entries
    }

    static func entries(_ entries: [[String: Any]]) -> [Place] {
        entries.flatMap { entry in
            self.texts(entry, "").map { path, text in
                Place(name: "\(path) of entry \(entry["action"] as? String ?? "") on the timeline", text: text)
            }
        }
    }
}
