import Foundation
import HTTPTypes
import Testing

@testable import LanternHTTP

@Suite("A cursor")
struct CursorTests {
    struct Position: Codable, Equatable, Sendable {
        var time: String
        var id: Int64
    }

    @Test(
        "what is encoded is decoded",
        arguments: [
            Position(time: "2024-02-29T23:59:59.999999Z", id: 0), Position(time: "", id: .min),
            Position(time: "a", id: .max),
            // Some have a plus sign, a slash or padding in plain Base64.
            Position(time: "~~>>??", id: 1), Position(time: "ÿþ🏮🏮", id: 12), Position(time: "\"\\\n\u{0}", id: 123),
        ]
    )
    func roundTrip(position: Position) throws {
        let cursor = try Cursor.encode(position)
        #expect(try Cursor.decode(cursor, as: Position.self) == position)
    }

    @Test("it needs no escaping in a query, whatever it holds")
    func urlSafe() throws {
        let safe = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        for length in 0..<64 {
            for text in ["~", "ÿ", "?>", "🏮"] {
                let cursor = try Cursor.encode(String(repeating: text, count: length))
                #expect(safe.isSuperset(of: cursor))
            }
        }
    }

    @Test(
        "one that this list did not give is a problem",
        arguments: [
            "", "!", "a", "abc", "====", "not a cursor", "AAAA", "%20", "e30", "bnVsbA", "W10",
            "eyJ0aW1lIjoxLCJpZCI6MX0",
            "eyJ0aW1lIjoiYSJ9", "eyJ0aW1lIjoiYSIsImlkIjoxLjV9", "é", "\u{0}", "eyJ0aW1lIjoiYSIsImlkIjox",
        ]
    )
    func garbage(text: String) throws {
        let problem = try #require(throws: Problem.self) { try Cursor.decode(text, as: Position.self) }
        #expect(problem.status == .badRequest)
        #expect(problem.code == "invalid_cursor")
    }

    @Test("one of another list is a problem")
    func otherList() throws {
        let cursor = try Cursor.encode(["name": "Lamp"])
        let problem = try #require(throws: Problem.self) { try Cursor.decode(cursor, as: Position.self) }
        #expect(problem.code == "invalid_cursor")
    }

    @Test("one that is longer than any we give is not even decoded")
    func tooLong() throws {
        let cursor = try Cursor.encode(Position(time: String(repeating: "a", count: 2_048), id: 1))
        let problem = try #require(throws: Problem.self) { try Cursor.decode(cursor, as: Position.self) }
        #expect(problem.code == "invalid_cursor")
    }
}

@Suite("A page")
struct PageTests {
    private func text(_ page: Page<Int>) throws -> String {
        try String(decoding: JSON.encoder().encode(page), as: UTF8.self)
    }

    @Test("its cursors are there at the ends too, as null")
    func ends() throws {
        #expect(
            try self.text(Page([1, 2], next: nil, previous: nil))
                == #"{"data":[1,2],"page":{"next_cursor":null,"prev_cursor":null}}"#
        )
    }

    @Test("its cursors are what was given")
    func cursors() throws {
        #expect(
            try self.text(Page([], next: "a", previous: "b"))
                == #"{"data":[],"page":{"next_cursor":"a","prev_cursor":"b"}}"#
        )
    }
}
