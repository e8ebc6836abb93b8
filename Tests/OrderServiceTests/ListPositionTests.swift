import HTTPTypes
import Lantern
import NIOCore
@testable import OrderService
import Testing

@Suite("Paging through a list")
struct ListPositionTests {
    /// A list like those of the service: ordered by id, newest first, read by what ``ListPosition/clause(_:limit:)`` says.
    private struct Store {
        var ids: [String]

        init(count: Int) { self.ids = (0..<count).map { Self.id($0) } }

        static func id(_ number: Int) -> String {
            let digits = String(number)
            return "0190b5a8-7c00-7000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
        }

        func first(limit: Int) throws -> Page<String> { try self.page(at: nil, limit: limit) }

        func page(_ cursor: String, limit: Int) throws -> Page<String> {
            try self.page(at: try Cursor.decode(cursor, as: ListPosition.self), limit: limit)
        }

        private func page(at position: ListPosition?, limit: Int) throws -> Page<String> {
            let ascending = self.ids.sorted()
            let found =
                switch position?.direction {
                case nil: Array(ascending.reversed())
                case .next: ascending.reversed().filter { $0 < position?.id ?? "" }
                case .previous: ascending.filter { $0 > position?.id ?? "" }
                }
            return try ListPosition.page(
                Array(found.prefix(limit + 1)), position: position, limit: limit, list: "things", id: { $0 }
            )
        }

        /// All pages from the first to the last.
        func walk(limit: Int) throws -> [Page<String>] {
            var pages = [try self.first(limit: limit)]
            while let cursor = pages.last?.page.next, pages.count <= self.ids.count + 1 {
                pages.append(try self.page(cursor, limit: limit))
            }
            return pages
        }
    }

    @Test("an empty list is one page without cursors", arguments: [1, 50, 200])
    func empty(limit: Int) throws {
        let page = try Store(count: 0).first(limit: limit)
        #expect(page.data == [])
        #expect(page.page.next == nil)
        #expect(page.page.previous == nil)
    }

    @Test(
        "a walk forward sees every element once, newest first, and ends", arguments: [1, 2, 3, 6, 7, 8, 20],
        [1, 2, 3, 7])
    func forward(count: Int, limit: Int) throws {
        let store = Store(count: count)
        let pages = try store.walk(limit: limit)
        #expect(pages.flatMap(\.data) == Array(store.ids.reversed()))
        #expect(pages.count == (count + limit - 1) / limit)
        #expect(pages.dropLast().allSatisfy { $0.data.count == limit })
        #expect(pages.first?.page.previous == nil)
        #expect(pages.dropFirst().allSatisfy { $0.page.previous != nil })
    }

    @Test("a walk back sees the same pages, to the first", arguments: [2, 3, 6, 7, 20], [1, 2, 3])
    func backward(count: Int, limit: Int) throws {
        let store = Store(count: count)
        let pages = try store.walk(limit: limit)
        var seen = pages.last.map { [$0.data] } ?? []
        var cursor = pages.last?.page.previous
        while let previous = cursor, seen.count <= count {
            let page = try store.page(previous, limit: limit)
            seen.insert(page.data, at: 0)
            #expect(page.page.next != nil)
            cursor = page.page.previous
        }
        #expect(seen == pages.map(\.data))
    }

    @Test("a step forward and back ends where it began")
    func thereAndBack() throws {
        let store = Store(count: 9)
        let first = try store.first(limit: 3)
        let second = try store.page(try #require(first.page.next), limit: 3)
        let back = try store.page(try #require(second.page.previous), limit: 3)
        #expect(back.data == first.data)
        #expect(back.page.previous == nil)
        let again = try store.page(try #require(back.page.next), limit: 3)
        #expect(again.data == second.data)
    }

    @Test("what is added in front shifts nothing, and is found by going back")
    func insertsInFront() throws {
        var store = Store(count: 6)
        let first = try store.first(limit: 3)
        store.ids.append(Store.id(99))
        let second = try store.page(try #require(first.page.next), limit: 3)
        #expect(second.data == [2, 1, 0].map { Store.id($0) })
        let back = try store.page(try #require(second.page.previous), limit: 3)
        #expect(back.data == first.data)
        let front = try store.page(try #require(back.page.previous), limit: 3)
        #expect(front.data == [Store.id(99)])
        #expect(front.page.previous == nil)
    }

    @Test("an element that is gone leaves its cursor good")
    func removed() throws {
        var store = Store(count: 6)
        let first = try store.first(limit: 3)
        store.ids.removeAll { $0 == first.data.last }
        let second = try store.page(try #require(first.page.next), limit: 3)
        #expect(second.data == [2, 1, 0].map { Store.id($0) })
    }

    @Test("the database is asked for one more than the page holds, behind or before the cursor")
    func clauses() {
        let position = ListPosition(id: Store.id(7), direction: .next, list: "things")
        #expect(ListPosition.clause(nil, limit: 50).text == " ORDER BY id DESC LIMIT $1")
        #expect(ListPosition.clause(position, limit: 50).text == " AND id < $1 ORDER BY id DESC LIMIT $2")
        var back = position
        back.direction = .previous
        #expect(ListPosition.clause(back, limit: 50).text == " AND id > $1 ORDER BY id ASC LIMIT $2")
    }

    // MARK: - Reading the query

    @Test("without a cursor the list begins at its newest element")
    func noCursor() throws {
        let (position, limit) = try Self.read("", list: "things")
        #expect(position == nil)
        #expect(limit == 50)
    }

    @Test("a cursor is read back with its place and direction")
    func cursor() throws {
        let page = try Store(count: 5).first(limit: 2)
        let cursor = try #require(page.page.next)
        let (position, limit) = try Self.read("cursor=\(cursor)&limit=2", list: "things")
        #expect(position?.id == Store.id(3))
        #expect(position?.direction == .next)
        #expect(limit == 2)
    }

    @Test("a cursor can stand in a URL as it is")
    func urlSafe() throws {
        for number in 0..<64 {
            let cursor = try Cursor.encode(
                ListPosition(id: Store.id(number), direction: .previous, list: "products\u{1F}ü?>~\u{1F}"))
            #expect(
                cursor.utf8.allSatisfy {
                    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8.contains($0)
                })
        }
    }

    @Test("a cursor of another list is refused: another customer's, another search's")
    func otherList() throws {
        let cursor = try Cursor.encode(ListPosition(id: Store.id(1), direction: .next, list: "orders\u{1F}user-1"))
        for list in ["orders\u{1F}user-2", "orders\u{1F}*", "orders", "products\u{1F}\u{1F}", ""] {
            let problem = try #require(throws: Problem.self) { try Self.read("cursor=\(cursor)", list: list).limit }
            #expect(problem.code == "invalid_cursor")
            #expect(problem.status.code == 400)
        }
    }

    @Test(
        "text that this list never gave is refused",
        arguments: [
            "x", "e30", "bnVsbA", "W10", "....", "eyJpZCI6IjEifQ",
            // {"direction":"sideways","id":"0190b5a8-7c00-7000-8000-000000000001","list":"things"}
            "eyJkaXJlY3Rpb24iOiJzaWRld2F5cyIsImlkIjoiMDE5MGI1YTgtN2MwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAxIiwibGlzdCI6InRoaW5ncyJ9",
            // {"direction":"next","id":"1 OR true","list":"things"}
            "eyJkaXJlY3Rpb24iOiJuZXh0IiwiaWQiOiIxIE9SIHRydWUiLCJsaXN0IjoidGhpbmdzIn0",
        ]
    )
    func invalidCursor(cursor: String) throws {
        let problem = try #require(throws: Problem.self) { try Self.read("cursor=\(cursor)", list: "things").limit }
        #expect(problem.code == "invalid_cursor")
    }

    private static func read(_ query: String, list: String) throws -> (position: ListPosition?, limit: Int) {
        let head = HTTPRequest(method: .get, scheme: "http", authority: "order.test", path: "/v1/things?\(query)")
        var fields = QueryFields(Request(head: head, body: RequestBody(buffer: ByteBuffer())))
        let found = try ListPosition.read(&fields, list: list)
        try fields.check()
        return found
    }
}
