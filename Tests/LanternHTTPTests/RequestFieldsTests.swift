import HTTPTypes
import Testing

@testable import LanternHTTP

@Suite("The fields of a request")
struct RequestFieldsTests {
    @Test("valid values are given back, all of them at once")
    func valid() throws {
        var fields = RequestFields(["name": .string("Lamp"), "stock": .integer(7)])
        let name = fields.string("name", length: 1...200)
        let stock = fields.integer("stock", in: 0...10)
        let values = try fields.valid(name, stock)
        #expect(values.0 == "Lamp")
        #expect(values.1 == 7)
        #expect(fields.faults.isEmpty)
        #expect(throws: Never.self) { try fields.check() }
    }

    @Test("all faults are told at once, in the order of reading")
    func allFaults() throws {
        var fields = RequestFields([
            "name": .string(""), "stock": .integer(-1), "price": .array([]), "currency": .string("XXX"),
            "roles": .bool(true),
        ])
        let name = fields.string("name", length: 1...5)
        let stock = fields.integer("stock", in: 0...10)
        let price = fields.object("price") { price in price.integer("amount", in: 0...10) }
        let currency = fields.parsed("currency", "a currency") { $0 == "EUR" ? $0 : nil }
        let roles = fields.strings("roles", count: 0...2, oneOf: ["admin", "vendor"])
        let category = fields.string("category", length: 1...5)
        #expect(name == nil)
        #expect(stock == nil)
        #expect(price == nil)
        #expect(currency == nil)
        #expect(roles == nil)
        #expect(category == nil)

        let problem = try #require(throws: Problem.self) { _ = try fields.valid(name, stock) }
        #expect(problem.status == .unprocessableContent)
        #expect(problem.code == "validation_failed")
        #expect(
            problem.fields == [
                Problem.Field("name", "must have 1 to 5 characters"),
                Problem.Field("stock", "must be from 0 to 10"),
                Problem.Field("price", "must be an object"),
                Problem.Field("currency", "must be a currency"),
                Problem.Field("roles", "must be a list of 0 to 2 strings"),
                Problem.Field("category", "is required"),
            ]
        )
        let checked = try #require(throws: Problem.self) { try fields.check() }
        #expect(checked.fields == problem.fields)
    }

    @Test("a fault that the caller finds joins the others")
    func callersFault() throws {
        var fields = RequestFields(["from": .integer(2), "to": .integer(1)])
        let from = fields.integer("from", in: 0...10)
        let to = fields.integer("to", in: 0...10)
        fields.fault("to", "must not be before from")
        let problem = try #require(throws: Problem.self) { _ = try fields.valid(from, to) }
        #expect(problem.fields == [Problem.Field("to", "must not be before from")])
    }

    @Test("a value that is missing without a fault is never given as if it were there")
    func incomplete() throws {
        let fields = RequestFields([:])
        let problem = try #require(throws: Problem.self) { _ = try fields.valid(1 as Int?, nil as String?) }
        #expect(problem.status == .unprocessableContent)
    }

    @Test("null is as good as missing", arguments: [[:], ["name": .null]] as [[String: JSONValue]])
    func missing(members: [String: JSONValue]) {
        var fields = RequestFields(members)
        #expect(!fields.has("name"))
        let optional = fields.optionalString("name", length: 1...5)
        #expect(optional == nil)
        #expect(fields.faults.isEmpty)
        let required = fields.string("name", length: 1...5)
        #expect(required == nil)
        #expect(fields.faults == [Problem.Field("name", "is required")])
    }

    @Test("an optional text that is there must be valid")
    func optional() {
        var fields = RequestFields(["name": .string("Lamp"), "note": .integer(1)])
        let name = fields.optionalString("name", length: 1...5)
        #expect(name == "Lamp")
        #expect(fields.faults.isEmpty)
        let note = fields.optionalString("note", length: 1...5)
        #expect(note == nil)
        #expect(fields.faults.map(\.field) == ["note"])
    }

    @Test(
        "the length of a text is that of its code points, bounds included",
        arguments: [
            ("", false), ("a", false), ("ab", true), ("abcd", true), ("abcde", false), ("🏮🏮🏮🏮", true),
            ("e\u{301}", true),
        ]
    )
    func length(text: String, accepted: Bool) {
        var fields = RequestFields(["name": .string(text)])
        let name = fields.string("name", length: 2...4)
        #expect(name == (accepted ? text : nil))
        #expect(fields.faults.isEmpty == accepted)
    }

    @Test("a text with a NUL character is refused", arguments: ["\u{0}", "a\u{0}b", "ab\u{0}"])
    func nul(text: String) {
        var fields = RequestFields(["name": .string(text)])
        let name = fields.string("name", length: 0...10)
        #expect(name == nil)
        #expect(fields.faults == [Problem.Field("name", "must not hold a NUL character")])
    }

    @Test(
        "the bounds of a number are included",
        arguments: [(-1, false), (0, true), (5, true), (10, true), (11, false), (.max, false), (.min, false)]
            as [(Int64, Bool)]
    )
    func range(number: Int64, accepted: Bool) {
        var fields = RequestFields(["stock": .integer(number)])
        let stock = fields.integer("stock", in: 0...10)
        #expect(stock == (accepted ? number : nil))
        #expect(fields.faults.isEmpty == accepted)
    }

    @Test(
        "a number is not made of something else",
        arguments: [
            .string("1"), .bool(true), .number(1.5), .array([.integer(1)]), .object([:]), .unrepresentable,
        ] as [JSONValue]
    )
    func notANumber(value: JSONValue) {
        var fields = RequestFields(["stock": value])
        let stock = fields.integer("stock", in: 0...10)
        #expect(stock == nil)
        #expect(fields.faults.map(\.field) == ["stock"])
    }

    @Test(
        "a text is not made of something else",
        arguments: [
            .integer(1), .bool(true), .number(1.5), .array([.string("a")]), .object([:]), .unrepresentable,
        ] as [JSONValue]
    )
    func notAText(value: JSONValue) {
        var fields = RequestFields(["name": value])
        let name = fields.string("name", length: 0...10)
        let parsed = fields.parsed("name", "a name") { $0 }
        #expect(name == nil)
        #expect(parsed == nil)
        #expect(fields.faults.map(\.field) == ["name", "name"])
    }

    @Test("faults within an object name the path")
    func object() throws {
        var fields = RequestFields(["price": .object(["amount": .integer(-1), "tax": .object(["rate": .string("x")])])])
        let price = fields.object("price") { price in
            let amount = price.integer("amount", in: 0...10)
            let rate = price.object("tax") { tax in tax.integer("rate", in: 0...100) }
            _ = price.string("currency", length: 3...3)
            return rate == nil ? nil : amount
        }
        #expect(price == nil)
        #expect(fields.faults.map(\.field) == ["price.amount", "price.tax.rate", "price.currency"])
    }

    @Test("a valid object is given as what was read of it")
    func validObject() {
        var fields = RequestFields(["price": .object(["amount": .integer(5)])])
        let amount = fields.object("price") { price in price.integer("amount", in: 0...10) }
        #expect(amount == 5)
        #expect(fields.faults.isEmpty)
    }

    @Test("faults within a list name the index, and those of all elements are told")
    func objects() {
        var fields = RequestFields([
            "lines": .array([
                .object(["quantity": .integer(0)]), .integer(5), .object(["quantity": .integer(3)]), .object([:]),
                .object(["price": .object(["amount": .string("1")]), "quantity": .integer(1)]),
            ])
        ])
        let lines = fields.objects("lines", count: 1...10) { line in
            let quantity = line.integer("quantity", in: 1...10)
            if line.has("price") { _ = line.object("price") { price in price.integer("amount", in: 1...10) } }
            return quantity
        }
        #expect(lines == nil)
        #expect(
            fields.faults.map(\.field) == [
                "lines[0].quantity", "lines[1]", "lines[3].quantity", "lines[4].price.amount",
            ]
        )
    }

    @Test("a valid list is given in its order")
    func validObjects() {
        var fields = RequestFields([
            "lines": .array([.object(["quantity": .integer(2)]), .object(["quantity": .integer(1)])])
        ])
        let lines = fields.objects("lines", count: 1...2) { line in line.integer("quantity", in: 1...10) }
        #expect(lines == [2, 1])
        #expect(fields.faults.isEmpty)
    }

    @Test("the size of a list has bounds, included", arguments: [(0, false), (1, true), (3, true), (4, false)])
    func listSize(count: Int, accepted: Bool) {
        let line = JSONValue.object(["quantity": .integer(1)])
        var fields = RequestFields(["lines": .array(Array(repeating: line, count: count))])
        let lines = fields.objects("lines", count: 1...3) { line in line.integer("quantity", in: 1...10) }
        #expect((lines != nil) == accepted)
        #expect(fields.faults.isEmpty == accepted)
    }

    @Test("a list of a closed set names the elements that are not of it")
    func strings() {
        var fields = RequestFields([
            "roles": .array([.string("admin"), .string("root"), .integer(1)]), "fine": .array([.string("vendor")]),
        ])
        let roles = fields.strings("roles", count: 1...3, oneOf: ["admin", "vendor"])
        let fine = fields.strings("fine", count: 1...3, oneOf: ["admin", "vendor"])
        #expect(roles == nil)
        #expect(fine == ["vendor"])
        #expect(fields.faults.map(\.field) == ["roles[1]", "roles[2]"])
        #expect(fields.faults.first?.message == "must be one of admin, vendor")
    }
}
