import Foundation
import Lantern

/// The SQL of reading the timeline.
struct TimelineStore: Sendable {
    let database: PostgresClient

    struct Result: Sendable {
        var entries: [Entry]
        var asOf: Int64
        var more: Bool
    }

    /// One page and whether there is more. Relies on the primary key `(time, id)` or the filter's index, and on
    /// `leaf_entry`; for `order=log` on the primary key of `leaf`.
    func page(_ query: TimelineQuery) async throws -> Result {
        let asOf: Int64
        if let cursor = query.cursor {
            asOf = cursor.asOf
        } else {
            let rows = try await self.database.query("SELECT log_size FROM sealer_head")
            asOf = try rows.first.map { try $0("log_size") } ?? 0
        }
        var sql: SQL =
            "SELECT \(Entry.columns) FROM entry e JOIN leaf l ON l.entry_id = e.id WHERE l.log_index < \(asOf)"
        self.filter(query, &sql)
        let backwards = query.cursor?.direction == .previous
        if let cursor = query.cursor { self.start(at: cursor, backwards: backwards, query.order, &sql) }
        let descending = (query.order == .desc) != backwards
        switch query.order {
        case .log: sql.append(descending ? " ORDER BY l.log_index DESC" : " ORDER BY l.log_index")
        case .asc, .desc: sql.append(descending ? " ORDER BY e.time DESC, e.id DESC" : " ORDER BY e.time, e.id")
        }
        // One more than asked for tells whether there is more; counting would cost the whole table.
        sql.append(" LIMIT \(query.limit + 1)")
        let found = try await self.database.query(sql).map { try Entry($0, withCoordinates: false) }
        var entries = Array(found.prefix(query.limit))
        if backwards { entries.reverse() }
        return Result(entries: entries, asOf: asOf, more: found.count > query.limit)
    }

    func find(_ id: Identifier<Entry>, restrictedTo actor: String?) async throws -> Entry? {
        var sql: SQL = "SELECT \(Entry.columns) FROM entry e JOIN leaf l ON l.entry_id = e.id WHERE e.id = \(id)"
        if let actor { sql.append(" AND e.actor_id = \(actor)") }
        return try await self.database.query(sql).first.map { try Entry($0, withCoordinates: true) }
    }

    private func filter(_ query: TimelineQuery, _ sql: inout SQL) {
        if let actor = query.restrictedTo { sql.append(" AND e.actor_id = \(actor)") }
        if let actor = query.actor { sql.append(" AND e.actor_id = \(actor)") }
        if let action = query.action {
            if action.hasSuffix("*") {
                let prefix = action.dropLast().replacing("\\", with: "\\\\").replacing("_", with: "\\_").replacing(
                    "%", with: "\\%")
                sql.append(" AND e.action LIKE \(prefix + "%")")
            } else {
                sql.append(" AND e.action = \(action)")
            }
        }
        if let service = query.service { sql.append(" AND e.service = \(service)") }
        if let type = query.targetType { sql.append(" AND e.target_type = \(type)") }
        if let target = query.target { sql.append(" AND e.target_id = \(target)") }
        if let outcome = query.outcome { sql.append(" AND e.outcome = \(outcome)") }
        if let trace = query.traceID { sql.append(" AND e.trace_id = \(trace)") }
        if let tenant = query.tenant { sql.append(" AND e.tenant = \(tenant)") }
        if let from = query.from { sql.append(" AND e.time >= \(from)") }
        if let to = query.to { sql.append(" AND e.time < \(to)") }
    }

    private func start(at cursor: TimelineCursor, backwards: Bool, _ order: TimelineQuery.Order, _ sql: inout SQL) {
        if order == .log {
            if backwards {
                sql.append(" AND l.log_index < \(cursor.logIndex)")
            } else {
                sql.append(" AND l.log_index > \(cursor.logIndex)")
            }
            return
        }
        guard let time = Timestamp(cursor.time), let id = UUID(uuidString: cursor.id) else { return }
        if (order == .desc) != backwards {
            sql.append(" AND (e.time, e.id) < (\(time), \(id))")
        } else {
            sql.append(" AND (e.time, e.id) > (\(time), \(id))")
        }
    }
}
