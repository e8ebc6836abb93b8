import Foundation
@testable import LanternPostgres
import Testing

@Suite("Identifiers")
struct IdentifierTests {
    private enum Thing {}

    @Test("a new one is a UUID of version 7, variant 2, and like no other")
    func version() {
        let uuids = (0..<2_000).map { _ in Identifier<Thing>().uuid }
        #expect(uuids.allSatisfy { $0.uuid.6 >> 4 == 7 })
        #expect(uuids.allSatisfy { $0.uuid.8 >> 6 == 0b10 })
        #expect(Set(uuids).count == uuids.count)
    }

    @Test("its first 48 bits are the time in milliseconds")
    func time() {
        func milliseconds() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000) }
        let before = milliseconds()
        let bytes = Identifier<Thing>().uuid.uuid
        let after = milliseconds()
        let time = [bytes.0, bytes.1, bytes.2, bytes.3, bytes.4, bytes.5].reduce(Int64(0)) { $0 << 8 | Int64($1) }
        // One more on each side: a Double of so many nanoseconds is rounded.
        #expect((before - 1...after + 1).contains(time))
    }

    @Test("one that is made later sorts behind, as text and in an index")
    func sorts() {
        let first = Identifier<Thing>()
        var later = Identifier<Thing>()
        // Its clock ticks four times in a microsecond: until then chance orders them.
        let deadline = ContinuousClock.now + .seconds(5)
        while later.description.prefix(18) == first.description.prefix(18), ContinuousClock.now < deadline {
            later = Identifier<Thing>()
        }
        #expect(first.description < later.description)
    }

    @Test("the moments of creation never run backwards")
    func monotonic() {
        let moments = (0..<5_000).map { _ in String(Identifier<Thing>().description.prefix(18)) }
        #expect(moments == moments.sorted())
    }

    @Test("it is written in lower case, in JSON and as a parameter too")
    func lowerCase() throws {
        let id = try #require(Identifier<Thing>("0190B5A8-7C00-7ABC-8DEF-0123456789AB"))
        #expect(id.description == "0190b5a8-7c00-7abc-8def-0123456789ab")
        #expect(id.postgresText == "0190b5a8-7c00-7abc-8def-0123456789ab")
        let json = String(decoding: try JSONEncoder().encode(["id": id]), as: UTF8.self)
        #expect(json == #"{"id":"0190b5a8-7c00-7abc-8def-0123456789ab"}"#)
    }

    @Test("it is read in either case, and is the same then")
    func eitherCase() throws {
        let lower = try JSONDecoder().decode(
            Identifier<Thing>.self, from: Data(#""0190b5a8-7c00-7abc-8def-0123456789ab""#.utf8))
        let upper = try JSONDecoder().decode(
            Identifier<Thing>.self, from: Data(#""0190B5A8-7C00-7ABC-8DEF-0123456789AB""#.utf8))
        #expect(lower == upper)
        #expect(Set([lower, upper]).count == 1)
    }

    @Test("a column gives it back")
    func column() throws {
        let id = Identifier<Thing>()
        #expect(try Identifier<Thing>(PostgresCell(text: id.postgresText, column: "id")) == id)
        let error = try #require(throws: PostgresError.self) {
            try Identifier<Thing>(PostgresCell(text: "s3cret", column: "order_id"))
        }
        #expect(error.code == .decoding)
        #expect(error.message.contains("order_id") && !error.message.contains("s3cret"))
    }

    @Test(
        "any other text is none",
        arguments: [
            "", " ", "null", "1", "0190b5a87c007abc8def0123456789ab", "{0190b5a8-7c00-7abc-8def-0123456789ab}",
            "0190b5a8-7c00-7abc-8def-0123456789a", "0190b5a8-7c00-7abc-8def-0123456789abc",
            "0190b5a8-7c00-7abc-8def-0123456789ag", "0190b5a8-7c00-7abc-8def-0123456789ab ",
            "0190b5a8_7c00_7abc_8def_0123456789ab", "urn:uuid:0190b5a8-7c00-7abc-8def-0123456789ab",
            "0190b5a8-7c00-7abc-8def-0123456789ａ", "' OR true --",
        ]
    )
    func invalid(text: String) {
        #expect(Identifier<Thing>(text) == nil)
    }

    @Test(
        "36 characters that hold something else than digits are none, and nothing may follow them",
        arguments: [
            " 190b5a8-7c00-7abc-8def-0123456789ab", "+190b5a8-7c00-7abc-8def-0123456789ab",
            "0x90b5a8-7c00-7abc-8def-0123456789ab", "0190b5a8-7c00-7abc-8def-0123456789ab\0' OR true --",
        ]
    )
    func lenient(text: String) {
        #expect(Identifier<Thing>(text) == nil)
    }

    @Test("JSON that holds none is refused", arguments: ["\"\"", "\"1\"", "1", "null", "{}", "\"0190b5a8\""])
    func invalidJSON(text: String) {
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(Identifier<Thing>.self, from: Data(text.utf8)) }
    }
}
